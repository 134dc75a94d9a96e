SELECT filename FROM log_template ORDER BY id DESC LIMIT 1
