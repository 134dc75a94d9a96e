"""Celery workers: what they do beside Airflow's own, so that nothing that runs is killed and no message is lost."""
