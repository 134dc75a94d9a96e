"""Airflow for a driver of the bench: the executors, real workloads without a database, task instances to adopt.

Imported by drivers only: it needs their environment (``executors_processes.variables``).
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import boto3
from airflow.executors.workloads import BundleInfo, ExecuteCallback, ExecuteTask, TaskInstanceDTO
from airflow.executors.workloads.callback import CallbackDTO, CallbackFetchMethod
from bench.aws_limits import Aws

EXECUTORS = {
    ("ours", "ecs"): ("skylift.executors.ecs", "AwsEcsExecutor"),
    ("ours", "batch"): ("skylift.executors.batch", "AwsBatchExecutor"),
    ("provider", "ecs"): ("airflow.providers.amazon.aws.executors.ecs", "AwsEcsExecutor"),
    ("provider", "batch"): ("airflow.providers.amazon.aws.executors.batch.batch_executor", "AwsBatchExecutor"),
}
PARALLELISM = 100_000
TOKEN = "t" * 405
"""As long as the JWT of a workload."""
RUN = "scheduled__2026-11-20T00:00:00+00:00"
DAG = "bench"


def executor_of(whose: str, kind: str) -> Any:
    """A new executor, not started. Raises ``ImportError`` when there is none yet."""
    module, name = EXECUTORS[whose, kind]
    executor = getattr(importlib.import_module(module), name)(parallelism=PARALLELISM)
    executor.job_id = 1
    return executor


def started(whose: str, kind: str) -> Any:
    """A new executor, as the scheduler starts it."""
    executor = executor_of(whose, kind)
    executor.start()
    return executor


def account(name: str) -> Aws:
    """From now on, new clients call this account. Its desk."""
    os.environ["AWS_ACCESS_KEY_ID"] = name
    boto3.setup_default_session()
    return Aws(os.environ["AWS_ENDPOINT_URL"], name)


def workload(task: str, *, map_index: int = -1, try_number: int = 1) -> ExecuteTask:
    """As the scheduler of 3.3.2 makes it: with an external id of its own."""
    instance = TaskInstanceDTO(
        id=uuid4(),
        dag_version_id=uuid4(),
        dag_id=DAG,
        task_id=task,
        run_id=RUN,
        try_number=try_number,
        map_index=map_index,
        pool_slots=1,
        priority_weight=1,
        queue="default",
        executor_config={},
        external_executor_id=str(uuid4()),
        context_carrier={},
    )
    return ExecuteTask(
        token=TOKEN,
        dag_rel_path=Path("teams/reporting/bench.py"),
        bundle_info=BundleInfo(name="dags-folder", version="4f2c"),
        log_path=f"dag_id={DAG}/run_id={RUN}/task_id={task}/attempt={try_number}.log",
        ti=instance,
    )


def callback(name: str) -> ExecuteCallback:
    """A callback workload of that name."""
    made = CallbackDTO(id=uuid4(), fetch_method=CallbackFetchMethod.IMPORT_PATH, data={"path": name})
    return ExecuteCallback(
        callback=made, dag_rel_path=Path("bench.py"), token=TOKEN, bundle_info=BundleInfo(name="d"), log_path="l"
    )


def task_instance(of: ExecuteTask, external_id: str | None, state: str) -> Any:
    """The task instance of a workload as the next scheduler reads it from the database."""
    fields = of.ti.model_dump() | {"external_executor_id": external_id, "executor_config": {}}
    return SimpleNamespace(
        **fields,
        key=of.ti.key,
        state=state,
        dag_model=SimpleNamespace(bundle_name="dags-folder", relative_fileloc="bench.py"),
        dag_run=SimpleNamespace(bundle_version="4f2c", run_id=RUN),
    )


def beat(executor: Any) -> float:
    """One heartbeat; its seconds."""
    begun = time.perf_counter()
    executor.heartbeat()
    return time.perf_counter() - begun


def loop(executor: Any, beats: list[float], until: Callable[[], bool], *, seconds: float, pause: float) -> float:
    """Heartbeats as the scheduler's loop makes them, until something holds or time is over; the seconds it took."""
    begun = looked = time.monotonic()
    while time.monotonic() - begun < seconds:
        beats.append(beat(executor))
        executor.get_event_buffer()
        # The bench's own question is no part of the loop: not more often than twice a second.
        if time.monotonic() - looked >= 0.5:
            if until():
                break
            looked = time.monotonic()
        time.sleep(pause)
    return time.monotonic() - begun


class AtOnce(Executor):
    """A pool that does its work in the thread that brings it: with a clock that stands still, everything is in
    order."""

    def submit(self, work: Callable[..., Any], /, *words: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*words, **named))
        return done


def leave() -> None:
    """Ends this process; threads of Airflow or of an executor do not hold it up."""
    sys.stdout.flush()
    os._exit(0)
