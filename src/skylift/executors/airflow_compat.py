"""All that differs, or may differ, between Airflow versions: workloads, their keys and tokens, their ids, adoption.

Tested with 3.1.8, 3.2.2 and 3.3.2 (docs/compatibility.md says what differs). What an Airflow has is asked of its classes,
never read from its version number. Airflow's objects are untyped here (``Any``). What differs inside the container, where
nothing of ours is installed, stands in ``in_container.py``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from airflow.executors import base_executor, workloads
from airflow.executors.workloads import ExecuteTask
from airflow.models.taskinstancekey import TaskInstanceKey
from sqlalchemy import update

from skylift.executors.settle import Kind

ExecuteCallback: type | None = getattr(workloads, "ExecuteCallback", None)
"""Since 3.2."""

SCHEDULER_PRE_ASSIGNS = hasattr(base_executor.BaseExecutor, "pre_assigns_external_executor_id")
"""Since 3.2 the scheduler writes a new ``external_executor_id`` together with QUEUED, when the executor asks for it."""

stats: Any = base_executor.stats if hasattr(base_executor, "stats") else base_executor.Stats
"""``incr``, ``gauge``, ``timing``, ``timer``: the ones that this process has set up. A module since 3.3, a class before, at
another place in each version, and Airflow's SDK has a second set, which in a scheduler goes nowhere."""

TOKEN_STAYS_FRESH = 60.0
"""Seconds for which a token made at queuing is used as it is. It lives ``[scheduler] task_queued_timeout`` (600)."""


def kind_of(workload: Any) -> Kind | None:
    """Task or callback; ``None`` for what we do not run."""
    if isinstance(workload, ExecuteTask):
        return Kind.TASK
    return Kind.CALLBACK if ExecuteCallback and isinstance(workload, ExecuteCallback) else None


def key_of(workload: Any) -> Any:
    """Airflow's key of a workload. Since 3.3 the workload says it itself; a callback's key was a ``str`` before."""
    if hasattr(workload, "key"):
        return workload.key
    return workload.ti.key if isinstance(workload, ExecuteTask) else workload.callback.key


def has_event_log(key: Any) -> bool:
    """Whether there is an event log under this key: for task instances only. 3.2 tries it for callbacks, and fails."""
    return isinstance(key, TaskInstanceKey)


def unqueue(executor: Any, key: Any) -> None:
    """Takes a key out of all the queues that this Airflow's ``BaseExecutor`` has."""
    for name in ("queued_tasks", "queued_callbacks", "queued_connection_tests"):
        getattr(executor, name, {}).pop(key, None)


def pre_assigned(workload: Any, session: Any) -> Any:
    """The workload with an external id that is committed together with QUEUED.

    3.1's scheduler does not do it, and its workloads have no place for it. So it is written here, in the session in which
    the scheduler has just set QUEUED (``_critical_section_enqueue_task_instances``: the rows are locked by it already), and
    goes along in the workload. It is no part of the JSON: pydantic writes the fields of the declared class, not of ours.

    Args:
        workload: as the scheduler queues it.
        session: the one that ``queue_workload`` was given.
    """
    if (
        SCHEDULER_PRE_ASSIGNS
        or not isinstance(workload, ExecuteTask)
        or getattr(workload.ti, "external_executor_id", "")
    ):
        return workload
    from airflow.models.taskinstance import TaskInstance  # lazy: slow, and only 3.1 needs it

    external_id = str(uuid.uuid4())
    session.execute(
        update(TaskInstance)
        .where(TaskInstance.id == str(workload.ti.id))
        .values(external_executor_id=external_id)
        .execution_options(synchronize_session=False)
    )
    return with_external_id(workload, external_id)


def with_external_id(workload: Any, external_id: str) -> Any:
    """A copy of a task instance's workload that carries the id, in every version."""
    fields = dict(workload.ti) | {"external_executor_id": external_id}
    return workload.model_copy(update={"ti": _Carrier(**fields)})


class _Carrier(ExecuteTask.model_fields["ti"].annotation):  # type: ignore[misc]
    """A workload's task instance with what it has itself since 3.2."""

    external_executor_id: str | None = None


def external_id_of(workload: Any) -> str:
    """The id of this launch that survives us: pre-assigned by the scheduler for tasks, the callback's own otherwise.

    One that was queued past ``pre_assigned`` has none: then a new one. The task instance's id will not do, as a deferred
    or rescheduled task instance keeps it, and its try, over several launches.
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


def queue_of(workload: Any) -> str:
    """Airflow's queue; callbacks have none."""
    return str(getattr(getattr(workload, "ti", workload), "queue", None) or "")


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
            renewed = workload.model_copy(update={"token": _token(str(subject), generator())})
        return str(renewed.model_dump_json())

    return document


def _token(subject: str, generator: Any) -> str:
    """A token as ``ExecuteTask.make`` puts it in: since 3.2 one that is good for the start of this workload only."""
    if hasattr(ExecuteTask, "generate_token"):
        return str(ExecuteTask.generate_token(subject, generator))
    return str(generator.generate({"sub": subject}))


def workload_of(ti: Any, generator: Any) -> Any:
    """The workload of a task instance that another scheduler had queued. Reads the database (its session is open)."""
    return ExecuteTask.make(ti, generator=generator)


def is_queued(ti: Any) -> bool:
    """Whether no container has taken the task instance yet."""
    return str(ti.state) == "queued"


def log_path_of(workload: Any) -> str:
    """Where Airflow's own log of this try is, relative to the log folder and to the remote log; "" when it says none."""
    return str(getattr(workload, "log_path", None) or "")


def remote_task_log() -> Any:
    """The ``RemoteLogIO`` of ``[logging] remote_logging``; ``None`` without one. 3.1 keeps it in the module itself."""
    from airflow import logging_config  # lazy: loads providers' code, and only a log that is written or read needs it

    if hasattr(logging_config, "get_remote_task_log"):
        return logging_config.get_remote_task_log()
    return logging_config.REMOTE_TASK_LOG
