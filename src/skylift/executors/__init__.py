"""What is installed in the user's Airflow: executors that run every workload in its own container on AWS.

``Container`` and ``BatchContainer`` are for DAG files; they import nothing of Airflow or AWS.
"""

from skylift.executors.executor_config.container import BatchContainer, Container

__all__ = ["BatchContainer", "Container"]
