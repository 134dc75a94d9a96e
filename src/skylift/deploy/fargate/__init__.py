"""The smallest Airflow on Fargate: one container, and all that it needs, found again by tags."""
