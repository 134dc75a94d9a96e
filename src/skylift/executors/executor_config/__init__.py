"""What an author wishes in ``executor_config``: checked, made into requests, and explained when AWS refuses it."""
