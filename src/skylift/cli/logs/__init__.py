"""Logs for people: of components and of Airflow tasks."""
