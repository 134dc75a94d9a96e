"""Sends Airflow's metrics to CloudWatch: their names on MWAA, their sums over a minute, and the client."""
