"""All that differs, or may differ, between Airflow versions: workloads, their keys and tokens, adoption.

Written against 3.3.2. Airflow's objects are untyped here (``Any``).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from airflow.executors.workloads import ExecuteCallback, ExecuteTask

from skylift.executors.settle import Kind

TOKEN_STAYS_FRESH = 60.0
"""Seconds for which a token made at queuing is used as it is. It lives ``[scheduler] task_queued_timeout`` (600)."""


def kind_of(workload: Any) -> Kind | None:
    """Task or callback; ``None`` for what we do not run."""
    if isinstance(workload, ExecuteTask):
        return Kind.TASK
    return Kind.CALLBACK if isinstance(workload, ExecuteCallback) else None


def external_id_of(workload: Any) -> str:
    """The id of this launch that survives us: pre-assigned by the scheduler for tasks, the callback's own otherwise.

    An older scheduler, or ``dag.test()``, assigns none: then a new one. The task instance's id will not do, as a
    deferred task instance keeps it over several launches.
    """
    if isinstance(workload, ExecuteTask):
        return workload.ti.external_executor_id or str(uuid.uuid4())
    return str(workload.callback.id)


def labels_of(workload: Any) -> dict[str, str]:
    """What people look for in a list of containers."""
    if isinstance(workload, ExecuteTask):
        return labels_of_instance(workload.ti)
    return {"callback_id": str(workload.callback.id)}


def labels_of_instance(ti: Any) -> dict[str, str]:
    """The labels of a task instance's workload."""
    names = ("dag_id", "task_id", "run_id", "map_index", "try_number")
    return {name: str(getattr(ti, name)) for name in names}


def wishes_of(workload: Any) -> dict[str, Any]:
    """The author's ``executor_config``; callbacks have none."""
    return getattr(getattr(workload, "ti", None), "executor_config", None) or {}


def document_of(workload: Any, generator: Callable[[], Any]) -> Callable[[], str]:
    """Makes the workload's JSON with a token that is fresh at the time of the call.

    Args:
        workload: as Airflow queued it.
        generator: gives the executor's ``jwt_generator``.
    """
    made = time.monotonic()

    def document() -> str:
        renewed = workload
        if time.monotonic() - made > TOKEN_STAYS_FRESH or not workload.token:
            subject = workload.ti.id if isinstance(workload, ExecuteTask) else workload.callback.id
            token = workload.generate_token(str(subject), generator())
            renewed = workload.model_copy(update={"token": token})
        return str(renewed.model_dump_json())

    return document


def workload_of(ti: Any, generator: Any) -> Any:
    """The workload of a task instance that another scheduler had queued. Reads the database (its session is open)."""
    return ExecuteTask.make(ti, generator=generator)


def is_queued(ti: Any) -> bool:
    """Whether no container has taken the task instance yet."""
    return str(ti.state) == "queued"
