"""What runs in environments: their parts, the ECS tasks of Airflow tasks, Batch jobs."""
