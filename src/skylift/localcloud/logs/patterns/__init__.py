"""CloudWatch Logs' filter-pattern language: pure functions, from a pattern's text to what it matches."""
