"""As ``anyscale_job``, with the API key in AWS Secrets Manager instead of a connection in Airflow."""

from __future__ import annotations

from airflow.sdk import DAG

from skylift.anyscale import SubmitAnyscaleJob

ANYSCALE_CONN_ID = "anyscale_secret"
"""The secret is airflow/connections/anyscale_secret, with ``conn_type`` anyscale and the API key as ``key``."""

with DAG(dag_id="anyscale_job_secretsmanager", schedule=None, is_paused_upon_creation=False, tags=["example"]):
    SubmitAnyscaleJob(
        task_id="say_where",
        conn_id=ANYSCALE_CONN_ID,
        name="say-where",
        entrypoint="python -c \"import ray; ray.init(); print('Ray', ray.__version__)\"",
        max_retries=0,
        job_timeout_seconds=900,
        poll_interval=2,
        retries=1,
    )
