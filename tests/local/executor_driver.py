"""A scheduler's loop around the real executor, run as a separate process with Airflow's environment; prints JSON.

It has only the parts of Airflow's scheduler that use an executor: queue, heartbeat, events, event log, adoption.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.executors.workloads import ExecuteTask
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dagbag import DBDagBag
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import select, update

from skylift.executors import airflow_compat
from skylift.executors.executor import SkyliftExecutor

JOB = 7


def started() -> SkyliftExecutor:
    module, _, name = sys.argv[2].rpartition(".")
    executor: SkyliftExecutor = getattr(importlib.import_module(module), name)(parallelism=16)
    executor.job_id = JOB
    executor.start()
    return executor


def loop(executor: SkyliftExecutor, until: Callable[[], bool], seconds: float = 400) -> float:
    """Runs the loop until the condition is true; returns the longest heartbeat in seconds."""
    deadline = time.monotonic() + seconds
    longest = 0.0
    while not until():
        assert time.monotonic() < deadline, f"still running: {executor.running}"
        begun = time.perf_counter()
        executor.heartbeat()
        longest = max(longest, time.perf_counter() - begun)
        with create_session() as session:
            SchedulerJobRunner.process_executor_events(
                executor=executor, job_id=JOB, scheduler_dag_bag=DBDagBag(), session=session
            )
        with create_session() as session:
            SchedulerJobRunner._process_task_event_logs(executor._task_event_logs, session)
        time.sleep(0.1)
    return longest


def instance(session: Any, task_id: str) -> Any:
    return session.scalar(select(TaskInstance).where(TaskInstance.task_id == task_id))


def state(task_id: str) -> str:
    with create_session() as session:
        return str(instance(session, task_id).state)


def wanted() -> list[str]:
    """The task instances that should still begin according to Airflow's database, and some that should not."""
    with create_session() as session:
        rows = [(str(ti.id), ti.external_executor_id or "", ti.task_id) for ti in session.scalars(select(TaskInstance))]
    asked = {key: external_id for key, external_id, _ in rows}
    found = airflow_compat.still_wanted(asked)
    relaunched = airflow_compat.still_wanted(dict.fromkeys(asked, "an earlier launch"))
    assert not any(asked[key] for key in relaunched), "a launch that another has followed is not wanted"
    return sorted(name for key, _, name in rows if key in found)


def main() -> dict[str, Any]:
    executor = started()
    with create_session() as session:
        session.execute(update(TaskInstance).values(queued_by_job_id=JOB))
        for task_id in ("good", "bad", "killed", "again", "late"):
            ti = instance(session, task_id)
            workload = ExecuteTask.make(ti, generator=executor.jwt_generator)
            executor.queue_workload(workload, session=session)
    before = wanted()
    late = next(key for key in executor.queued_tasks if key.task_id == "late")
    longest = loop(executor, lambda: executor.running == {late} and state("late") == "running")
    answer: dict[str, Any] = {
        "wanted": [before, wanted()],
        "longest": longest,
        "states": {task_id: state(task_id) for task_id in ("good", "bad", "killed", "again", "late")},
    }
    # Another scheduler takes over what this one leaves; then the container dies under the running task.
    executor.end()
    executor = started()
    with create_session() as session:
        ti = instance(session, "late")
        answer["left"] = len(executor.try_adopt_task_instances([ti]))
        supervisor = int(Path(f"/proc/{ti.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    loop(executor, lambda: not executor.running)
    answer["late"] = state("late")
    with create_session() as session:
        lines = session.scalars(select(Log).where(Log.task_id == "late"))
        answer["log"] = [f"{line.event}: {line.extra}" for line in lines]
    executor.end()
    return answer


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(main()))
    # Airflow's own threads must not delay the end of a test.
    sys.stdout.flush()
    os._exit(0)
