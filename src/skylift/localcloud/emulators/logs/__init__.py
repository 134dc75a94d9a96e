"""CloudWatch Logs: the journal, retention, sizes, what FilterLogEvents lacks."""
