"""Airflow's metrics on their way to CloudWatch: their names on MWAA, their sums over a minute, and the client."""
