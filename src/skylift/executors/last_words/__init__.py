"""Why a container died: found out, composed, and written where Airflow's UI shows it."""
