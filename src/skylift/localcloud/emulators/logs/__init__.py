"""CloudWatch Logs: the journal, retention, sizes."""
