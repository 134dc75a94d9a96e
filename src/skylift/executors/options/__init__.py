"""What the user sets: sections of Airflow's configuration, Airflow's queues, the AWS connection."""
