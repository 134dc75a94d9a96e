"""Runs a Ray job at Anyscale, waits for it without holding a worker, and shows its log."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from skylift.anyscale import SubmitAnyscaleJob

ANYSCALE_CONN_ID = "anyscale"
"""Admin, Connections, +: type Anyscale, with the API key. ``skylift up --with-anyscale`` makes it for you."""

with DAG(dag_id="anyscale_job", schedule=None, is_paused_upon_creation=False, tags=["example"], doc_md=__doc__):
    SubmitAnyscaleJob(
        task_id="count_primes",
        conn_id=ANYSCALE_CONN_ID,
        name="count-primes",
        entrypoint="python count_primes.py 200000",
        # The folder beside this file. It is uploaded with the job, once for each content.
        working_dir=str(Path(__file__).parent / "ray_scripts"),
        max_retries=0,
        job_timeout_seconds=900,
        poll_interval=2,
        retries=1,
    )
