"""CloudWatch Logs of our own, on disk: groups, streams, events, filter patterns, metric filters, live tail, queries."""
