"""In place of Airflow, whose four starts need half a minute of CPU: what our program in the container needs of it."""
