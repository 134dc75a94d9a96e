"""DAGs that end in each way, run by Airflow itself (``dag.test``); writes what became of those that are named as
JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator

from skylift.anyscale import AnyscaleServiceSensor, RolloutAnyscaleService, SubmitAnyscaleJob

FOUND: dict[str, Any] = {}


def succeeded(context: Any) -> None:
    FOUND[context["dag"].dag_id] = "success"


def telling(operator: type[BaseOperator]) -> type[BaseOperator]:
    """The operator, which notes its error. Before Airflow 3.3, ``dag.test`` tells it to no callback."""

    class Telling(operator):  # type: ignore[misc]  # a class that is a value
        def execute(self, context: Any) -> Any:
            return self._noted(context, lambda: super(Telling, self).execute(context))

        def resume_execution(self, next_method: str, next_kwargs: Any, context: Any) -> Any:
            work = super().resume_execution
            return self._noted(context, lambda: work(next_method, next_kwargs, context))

        def _noted(self, context: Any, work: Callable[[], Any]) -> Any:
            try:
                return work()
            except Exception as error:
                FOUND[context["dag"].dag_id] = str(error)
                raise

    return Telling


def dag_of(dag_id: str, operator: type[BaseOperator], **options: Any) -> DAG:
    with DAG(dag_id=dag_id, schedule=None) as dag:
        options = {"conn_id": "mine", **options}
        telling(operator)(task_id="t", on_success_callback=succeeded, **options)
    return dag


def moved() -> DAG:
    """A DAG for the existing provider, of which only the import lines are changed."""
    text = Path(__file__).with_name("guide_dag.txt").read_text().replace("{folder}", os.environ["GUIDE_FOLDER"])
    for module in ("hooks", "operators"):
        text = text.replace(f"from anyscale_provider.{module}.anyscale import", "from skylift.anyscale import")
    place: dict[str, Any] = {}
    exec(compile(text, __file__, "exec"), place)
    dag: DAG = place["dag"]
    dag.get_task("look").on_success_callback = [succeeded]
    return dag


def job(name: str, entrypoint: str, **options: Any) -> DAG:
    given = {"poll_interval": 0.2, "max_retries": 0, "job_timeout_seconds": 120, "name": name, **options}
    return dag_of(name, SubmitAnyscaleJob, entrypoint=entrypoint, **given)


def service(name: str, **options: Any) -> DAG:
    given = {"applications": [{"import_path": "m:app"}], "poll_interval": 0.2, "name": name, **options}
    return dag_of(name, RolloutAnyscaleService, **given)


DAGS = [
    job("good", "echo computed", job_timeout_seconds="120", max_retries="0", wait_for_completion="True"),
    job("in_worker", "echo computed", deferrable=False),
    job("bad_key", "true", conn_id="wrong"),
    job("no_key", "true", conn_id="empty"),
    job("no_permission", "true", conn_id="looker"),
    job("exits", "echo last words; exit 3"),
    job("too_slow", "sleep 600", job_timeout_seconds=1),
    job("containerfile", "echo computed", containerfile=f"{os.environ['GUIDE_FOLDER']}/Containerfile"),
    job("bad_containerfile", "true", containerfile=f"{os.environ['GUIDE_FOLDER']}/Bad"),
    job("inline_compute", "true", compute_config={"head_node": {"instance_type": "m5.large"}}),
    job("no_folder", "true", working_dir="/nowhere"),
    job("no_compute", "true", compute_config="gpu:3"),
    job("ended_elsewhere", "sleep 600", deferrable=False),
    job("bad_number", "true", poll_interval="soon"),
    service("serves"),
    dag_of("sensor", AnyscaleServiceSensor, service_name="serves", poke_interval=0.2, timeout=60),
    service("serves", canary_percent=10),
    service("both", in_place=True, canary_percent=10),
    service("sick", service_rollout_timeout_seconds=3),
    service("broken", deferrable=False),
    moved(),
]

if __name__ == "__main__":
    told = []
    for one in [dag for dag in DAGS if dag.dag_id in sys.argv[2:]]:
        one.test()
        told.append([one.dag_id, FOUND.pop(one.dag_id, "nothing")])
    Path(sys.argv[1]).write_text(json.dumps(told))
