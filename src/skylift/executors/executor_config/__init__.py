"""What a DAG author asks for in ``executor_config``: checked, made into requests, and explained when AWS refuses it."""
