"""Why a container died: find out, compose the text, and write it where Airflow's UI shows it."""
