"""Airflow on one's own AWS account, made and removed by plain calls; the local cloud is an account like any other."""
