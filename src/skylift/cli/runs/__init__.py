"""A DAG run from the command line: starts it, follows it, reports the result."""
