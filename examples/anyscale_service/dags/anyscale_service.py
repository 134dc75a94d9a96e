"""Deploys a Ray Serve application at Anyscale, waits until it serves, and ends it."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task

from skylift.anyscale import AnyscaleHook, AnyscaleServiceSensor, RolloutAnyscaleService

ANYSCALE_CONN_ID = "anyscale"
SERVICE = "hello-from-airflow"

with DAG(dag_id="anyscale_service", schedule=None, is_paused_upon_creation=False, tags=["example"], doc_md=__doc__):
    rollout = RolloutAnyscaleService(
        task_id="rollout",
        conn_id=ANYSCALE_CONN_ID,
        name=SERVICE,
        applications=[{"import_path": "serve_hello:entrypoint"}],
        working_dir="https://github.com/anyscale/docs_examples/archive/refs/heads/main.zip",
        service_rollout_timeout_seconds=600,
        poll_interval=2,
    )
    serves = AnyscaleServiceSensor(
        task_id="serves",
        conn_id=ANYSCALE_CONN_ID,
        service_name=SERVICE,
        mode="reschedule",
        poke_interval=5,
        timeout=600,
    )

    @task(trigger_rule="all_done", retries=2, retry_delay=timedelta(seconds=10))
    def end() -> None:
        """Whatever happened before: a service costs money as long as it is there."""
        AnyscaleHook(ANYSCALE_CONN_ID).terminate_service(SERVICE)

    rollout >> serves >> end()
