"""CloudWatch Logs Insights: the query language, translated to SQL and run by SQLite."""
