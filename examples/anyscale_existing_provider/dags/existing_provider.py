"""A DAG for ``astro-provider-anyscale``, with nothing of skylift in it: the key in a connection, or in a secret."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG
from anyscale_provider.operators.anyscale import SubmitAnyscaleJob

for dag_id, conn_id in (("existing_provider", "anyscale"), ("existing_provider_secret", "anyscale_secret")):
    with DAG(dag_id=dag_id, schedule=None, tags=["example"]):
        SubmitAnyscaleJob(
            task_id="submit_anyscale_job",
            conn_id=conn_id,
            name="squares",
            working_dir=str(Path(__file__).parent / "ray_scripts"),
            entrypoint="python ray_job.py",
            max_retries=1,
            job_timeout_seconds=3000,
            poll_interval=2,
        )
