"""A DAG run from the command line: started, followed, told."""
