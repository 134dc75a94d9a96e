"""Who may do what in Airflow's UI and API: our auth manager, and the pages by which people sign in and out."""
