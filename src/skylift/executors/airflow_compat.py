"""Everything that differs, or may differ, between Airflow versions: workloads, their keys, tokens and ids, adoption.

Tested with 3.1.8, 3.2.2 and 3.3.2 (docs/compatibility.md lists the differences). This module looks for features of
Airflow's classes and never at the version number. Airflow's objects are untyped here (``Any``). Differences inside the
container, where nothing of ours is installed, are in ``main.py``.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from functools import cache
from typing import Any

from airflow.configuration import conf
from airflow.exceptions import AirflowNotFoundException
from airflow.executors import base_executor, workloads
from airflow.executors.executor_constants import CORE_EXECUTOR_NAMES
from airflow.executors.executor_loader import ExecutorLoader
from airflow.executors.workloads import ExecuteTask
from airflow.models.connection import Connection
from airflow.models.taskinstancekey import TaskInstanceKey
from sqlalchemy import select, update

from skylift.executors.fleet.settle import WorkloadKind

ExecuteCallback: type | None = getattr(workloads, "ExecuteCallback", None)
"""Since 3.2."""

TestConnection: type | None = getattr(workloads, "TestConnection", None)
"""Since 3.3."""

SCHEDULER_PRE_ASSIGNS = hasattr(base_executor.BaseExecutor, "pre_assigns_external_executor_id")
"""Since 3.2.2 the scheduler writes a new ``external_executor_id`` together with QUEUED, when executors ask for it."""

stats: Any = base_executor.stats if hasattr(base_executor, "stats") else base_executor.Stats
"""``incr``, ``gauge``, ``timing``, ``timer``: the ones that this process has set up. A module since 3.3, a class
before, at another place in each version, and Airflow's SDK has a second set, which in a scheduler goes nowhere."""

LABELS = ("dag_id", "task_id", "run_id", "map_index", "try_number")
"""What people look for in a list of containers."""

TOKEN_STAYS_FRESH = 60.0
"""Seconds for which a token made at queuing is used as it is. It lives ``[scheduler] task_queued_timeout`` (600)."""


class Delivered(dict[Any, Any]):
    """Events for the scheduler, in a dict whose length says how much happened.

    The scheduler (3.1 to 3.3, ``process_executor_events``) pops the events that concern it, and uses the length of the
    rest as their number. If that is 0, it considers itself idle and sleeps for a second, whatever slots have become
    free.

    Args:
        more: slots that became free without an event.
    """

    def __init__(self, events: Mapping[Any, Any], more: int) -> None:
        super().__init__(events)
        self._heard = len(events) + more

    def __len__(self) -> int:
        return self._heard


def kind_of(workload: Any) -> WorkloadKind | None:
    """Task, callback or connection test; ``None`` for what we do not run."""
    if isinstance(workload, ExecuteTask):
        return WorkloadKind.TASK
    if TestConnection and isinstance(workload, TestConnection):
        return WorkloadKind.CONNECTION_TEST
    return WorkloadKind.CALLBACK if ExecuteCallback and isinstance(workload, ExecuteCallback) else None


def key_of(workload: Any) -> Any:
    """Airflow's key of a workload. Since 3.3 the workload has it; before, a callback's key was a ``str``."""
    if hasattr(workload, "key"):
        return workload.key
    return workload.ti.key if isinstance(workload, ExecuteTask) else workload.callback.key


def has_event_log(key: Any) -> bool:
    """Whether this key has an event log: only task instances do. 3.2 tries it for callbacks, and fails."""
    return isinstance(key, TaskInstanceKey)


def unqueue(executor: Any, key: Any) -> None:
    """Removes a key from all queues of this Airflow's ``BaseExecutor``."""
    for name in ("queued_tasks", "queued_callbacks", "queued_connection_tests"):
        getattr(executor, name, {}).pop(key, None)


@cache
def scheduler_assigns_all() -> bool:
    """Whether this scheduler writes a new external id for every task instance that it queues.

    It does so if all its executors ask for it. Beside another executor (3.3.2,
    ``_executable_task_instances_to_queued``) it skips those that name ours by its class alone, and those for
    which ours is a team's default.
    """
    if not SCHEDULER_PRE_ASSIGNS:
        return False
    try:
        classes = [ExecutorLoader.import_executor_cls(name)[0] for name in ExecutorLoader.get_executor_names()]
    except Exception:  # noqa: BLE001  whatever is wrong with another executor: then we assign
        return False
    return all(getattr(one, "pre_assigns_external_executor_id", False) for one in classes)


def pre_assigned(workload: Any, session: Any, *, assigned: bool) -> Any:
    """The workload with an external id that is committed together with QUEUED.

    The scheduler of 3.1, 3.2.0 and 3.2.1 does not assign one, and later ones not always. A deferred or rescheduled task
    instance keeps its id, its try, and the external id of its last launch. So a new id is written here, in the session
    in which the scheduler has just set QUEUED (``_critical_section_enqueue_task_instances`` has already locked the
    row), and travels with the workload. It is not part of the JSON: pydantic writes the fields of the declared
    class, not of ours.

    Args:
        workload: as the scheduler queues it.
        session: the one that ``queue_workload`` got; without one, nothing is assigned.
        assigned: the scheduler has already done it (``scheduler_assigns_all``).
    """
    if assigned or session is None or not isinstance(workload, ExecuteTask):
        return workload
    from airflow.models.taskinstance import TaskInstance  # lazy: slow, and few need it

    external_id = str(uuid.uuid4())
    # By its natural key: the type of its id differs between versions.
    same = [
        getattr(TaskInstance, name) == getattr(workload.ti, name)
        for name in ("dag_id", "task_id", "run_id", "map_index")
    ]
    session.execute(
        update(TaskInstance)
        .where(*same)
        .values(external_executor_id=external_id)
        .execution_options(synchronize_session=False)
    )
    return with_external_id(workload, external_id)


def with_external_id(workload: Any, external_id: str) -> Any:
    """A copy of a task instance's workload with the id, in every version."""
    fields = dict(workload.ti) | {"external_executor_id": external_id}
    return workload.model_copy(update={"ti": _Carrier(**fields)})


class _Carrier(ExecuteTask.model_fields["ti"].annotation):  # type: ignore[misc]
    """A workload's task instance with the field that it has itself since 3.2."""

    external_executor_id: str | None = None


def external_id_of(workload: Any) -> str:
    """The id of this launch that survives us: assigned by the scheduler for tasks, otherwise the callback's own.

    A workload that was queued without ``pre_assigned`` has none and gets a new one. The task instance's id is not
    enough, because a deferred or rescheduled task instance keeps it, and its try, over several launches.
    """
    if isinstance(workload, ExecuteTask):
        return getattr(workload.ti, "external_executor_id", None) or str(uuid.uuid4())
    return subject_of(workload)


def subject_of(workload: Any) -> str:
    """Airflow's own id of what is run; its token is made for this id."""
    if isinstance(workload, ExecuteTask):
        return str(workload.ti.id)
    return str(workload.connection_test_id if hasattr(workload, "connection_test_id") else workload.callback.id)


def labels_of(workload: Any) -> dict[str, str]:
    """What people search for in a list of containers."""
    if isinstance(workload, ExecuteTask):
        return labels_of_instance(workload.ti)
    word = "connection_test_id" if hasattr(workload, "connection_test_id") else "callback_id"
    return {word: subject_of(workload)}


def labels_of_instance(ti: Any) -> dict[str, str]:
    """The labels of a task instance's workload."""
    return {name: str(getattr(ti, name)) for name in LABELS}


def queue_of(workload: Any) -> str:
    """Airflow's queue; callbacks have none."""
    return str(getattr(getattr(workload, "ti", workload), "queue", None) or "")


def executor_config_of(workload: Any) -> dict[str, Any]:
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
            renewed = workload.model_copy(update={"token": _token(subject_of(workload), generator())})
        return str(renewed.model_dump_json())

    return document


def _token(subject: str, generator: Any) -> str:
    """A token like that of ``ExecuteTask.make``: since 3.2 it is valid only for the start of this workload."""
    if hasattr(ExecuteTask, "generate_token"):
        return str(ExecuteTask.generate_token(subject, generator))
    return str(generator.generate({"sub": subject}))


def token_seconds(conf: Any) -> float:
    """How long a workload's token is valid: since 3.2 as long as a task instance may be queued; before, like any
    token."""
    section, option = ("execution_api", "jwt_expiration_time")
    if hasattr(ExecuteTask, "generate_token"):
        section, option = ("scheduler", "task_queued_timeout")
    return float(conf.get(section, option, fallback=None) or 600.0)


def still_wanted(external_ids: Mapping[str, str]) -> dict[str, str]:
    """The task instances whose container may still begin: queued or running, by the same launch. Asks the
    database.

    The values are the states; "" if the database does not say which launch it was.

    Args:
        external_ids: of the launches, by the task instances' ids.
    """
    from airflow.models.taskinstance import TaskInstance  # lazy: slow to import
    from airflow.utils.session import create_session  # lazy: as above

    # A UUID since 3.3, text before.
    typed = TaskInstance.id.type.python_type
    states = ("queued", "running", "restarting")
    query = select(TaskInstance.id, TaskInstance.external_executor_id, TaskInstance.state).where(
        TaskInstance.id.in_([typed(one) for one in external_ids]), TaskInstance.state.in_(states)
    )
    with create_session() as session:
        found = {(str(one), external_id): str(state) for one, external_id, state in session.execute(query)}
    ours = {one: found[one, mine] for one, mine in external_ids.items() if (one, mine) in found}
    return {one: "" for one in external_ids if (one, None) in found} | ours


def workload_of(ti: Any, generator: Any) -> Any:
    """The workload of a task instance that another scheduler had queued. Reads the database (its session is open)."""
    return ExecuteTask.make(ti, generator=generator)


def is_queued(ti: Any) -> bool:
    """Whether no container has taken the task instance yet."""
    return str(ti.state) == "queued"


def log_path_of(workload: Any) -> str:
    """Airflow's own log of this try, relative to the log folder and to the remote log; "" if the workload does not
    say."""
    return str(getattr(workload, "log_path", None) or "")


def remote_task_log() -> Any:
    """The ``RemoteLogIO`` of ``[logging] remote_logging``; ``None`` without one. 3.1 keeps it in the module itself."""
    from airflow import logging_config  # lazy: loads providers' code, needed only to write or read a log

    # Not hasattr: 3.1's module returns None for every unknown name.
    ask = getattr(logging_config, "get_remote_task_log", None)
    return ask() if ask else logging_config.REMOTE_TASK_LOG


def executor_names() -> str:
    """``[core] executor`` for a container: all executors that this Airflow knows, without teams.

    A DAG file is parsed in the container, and each executor that it names must be known there; none is loaded.
    A container need not be configured for teams, so the teams' executors are listed as common ones: who may use which
    was decided where the file was parsed first. The default executor stays the first.
    """
    words: list[str] = []
    paths: set[str] = set()
    for one in ExecutorLoader.get_executor_names():
        path = one.module_path
        if path in paths and one.alias:
            # A class may be in the list only once. Its second name gets its own path, which nothing imports.
            path = f"{path}.{one.alias}"
        if path not in paths:
            paths.add(path)
            core = one.alias in CORE_EXECUTOR_NAMES and path == one.module_path
            words.append(str(one.alias) if core else f"{one.alias}:{path}" if one.alias else path)
    return ",".join(words)


def connection_of(connection: str, team: str | None) -> Any:
    """The Airflow connection as its backend has it now; ``None`` if no backend has it. Raises whatever a backend
    raises."""
    try:
        # Airflow has teams since 3.2; before, the argument does not exist.
        return Connection.get_connection_from_secrets(connection, **({"team_name": team} if team else {}))
    except AirflowNotFoundException:
        return None


def conf_of(team: str | None) -> Any:
    """Airflow's configuration as a team sees it; ``None``: the common one. It has ``get``."""
    return base_executor.ExecutorConf(team) if team else conf


def team_sets(team: str, section: str, option: str) -> bool:
    """Whether a team itself sets an option, by an environment variable or in the file.

    Teams have no ``_CMD`` and no ``_SECRET``. Airflow only tells the team's effective value, which may be a default.
    """
    variable = f"AIRFLOW__{team.upper()}___{section.upper()}__{option.upper()}"
    return variable in os.environ or ConfigParser.has_option(conf, f"{team}={section}", option)
