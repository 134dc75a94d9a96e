"""Skylift runs Apache Airflow on AWS containers."""
