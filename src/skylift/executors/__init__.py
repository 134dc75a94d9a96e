"""What is installed in the user's Airflow: executors that run every workload in its own container on AWS."""
