"""Airflow for the executor's unit tests: a home of its own, made before the first import of airflow; workloads to
run."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault(
    "AIRFLOW__API_AUTH__JWT_SECRET", "only-for-tests-only-for-tests-only-for-tests-only-for-tests-only"
)

import pytest
from airflow.executors import workloads
from airflow.executors.workloads import BundleInfo, ExecuteTask, TaskInstance

from skylift.executors import airflow_compat


class Conf:
    """Airflow's configuration as an executor sees it, from a dict ``{(section, option): value}``."""

    def __init__(self, values: dict[tuple[str, str], str]) -> None:
        self._values = values

    def get(self, section: str, option: str, fallback: Any = None) -> Any:
        return self._values.get((section, option), fallback)


def ecs_conf(**options: str) -> Conf:
    """A working ``[aws_ecs_executor]``, with changes; options that begin with ``skylift_`` go to ``[skylift]``."""
    values = {
        "cluster": "c",
        "container_name": "airflow",
        "task_definition": "t",
        "region_name": "us-east-1",
        **options,
    }
    return _conf("aws_ecs_executor", values)


def batch_conf(**options: str) -> Conf:
    """The same for ``[aws_batch_executor]``."""
    values = {"job_queue": "jq", "job_definition": "jd", "job_name": "airflow", "region_name": "us-east-1", **options}
    return _conf("aws_batch_executor", values)


def _conf(section: str, values: dict[str, str]) -> Conf:
    own = {("skylift", name.removeprefix("skylift_")): v for name, v in values.items() if name.startswith("skylift_")}
    return Conf({(section, n): v for n, v in values.items() if not n.startswith("skylift_")} | own)


def task_workload(task_id: str = "t", *, executor_config: dict[str, Any] | None = None, **fields: Any) -> ExecuteTask:
    """A workload as this Airflow's scheduler queues it, with an external id also where its scheduler assigns none."""
    ti = TaskInstance(
        id=uuid.uuid4(),
        dag_version_id=uuid.uuid4(),
        task_id=task_id,
        dag_id="d",
        run_id="manual__2026-01-01T00:00:00+00:00",
        try_number=1,
        map_index=-1,
        pool_slots=1,
        queue="default",
        priority_weight=1,
        executor_config=executor_config,
        **fields,
    )
    workload = ExecuteTask(
        ti=ti, dag_rel_path=Path("d.py"), token="secret-token", bundle_info=BundleInfo(name="b"), log_path="l"
    )
    return airflow_compat.with_external_id(workload, str(uuid.uuid4()))


def callback_workload() -> Any:
    """A callback's workload; the test is skipped where Airflow (3.1) gives executors no callbacks."""
    if not airflow_compat.ExecuteCallback:
        pytest.skip("Airflow 3.1 gives executors no callbacks")
    dto = airflow_compat.ExecuteCallback.model_fields["callback"].annotation
    callback = dto(id=uuid.uuid4(), fetch_method=workloads.CallbackFetchMethod.IMPORT_PATH, data={"path": "m.f"})
    return airflow_compat.ExecuteCallback(
        callback=callback, dag_rel_path=Path("d.py"), token="t", bundle_info=BundleInfo(name="b"), log_path="l"
    )
