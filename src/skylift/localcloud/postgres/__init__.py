"""PostgreSQL: starting, watching and adopting the server of a home."""
