"""Reads a project's DAG and plugin files as Airflow would, and starts nothing: what ``skylift check`` runs in the
environment's image."""
