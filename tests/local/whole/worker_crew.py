"""A crew of Celery workers for tests: DAGs whose tries leave marks, and what a test asks and does to the workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from tests.stack import Stack

from skylift.cli.runs.airflow_api import TaskLine
from skylift.core.environment import BATCH_EXECUTOR, CELERY_EXECUTOR, ECS_EXECUTOR
from skylift.core.errors import Unavailable

NAME = "crew"
SERVICE = f"skylift-{NAME}-worker"
EXECUTORS = f"core.executor={CELERY_EXECUTOR},{ECS_EXECUTOR},{BATCH_EXECUTOR}"
OPTIONS = ("--option", EXECUTORS, "--option", "skylift.min_workers=0", "--option", "celery.worker_autoscale=4,4")

DAGS = """
import os, time
from datetime import datetime, timedelta
from pathlib import Path
from airflow.sdk import dag, get_current_context, task

CELERY = "CeleryExecutor"
ECS = "skylift.executors.ecs.AwsEcsExecutor"
BATCH = "skylift.executors.batch.AwsBatchExecutor"


def work(where, seconds):
    context = get_current_context()
    ti = context["ti"]
    folder = Path(context["params"]["marks"])
    name = f"{where}.{ti.map_index}.{ti.try_number}"
    (folder / f"{name}.begin").write_text(str(time.time()))
    print(f"works on {where}")
    time.sleep(seconds)
    (folder / f"{name}.end").write_text(str(time.time()))


@dag(schedule=None, params={"marks": "/tmp"})
def side_by_side():
    @task(executor=CELERY)
    def on_celery():
        work("celery", 0)

    @task(executor=CELERY, queue="skylift-crew-celery")
    def on_celery_by_its_queue():
        work("celery-queue", 0)

    @task(executor=ECS)
    def on_ecs():
        work("ecs", 0)

    @task(executor=BATCH)
    def on_batch():
        work("batch", 0)

    on_celery(), on_celery_by_its_queue(), on_ecs(), on_batch()


@dag(schedule=None, params={"marks": "/tmp", "number": 8, "seconds": 4, "first": 0}, max_active_tasks=64)
def crowd():
    @task
    def numbers():
        return list(range(get_current_context()["params"]["number"]))

    @task(executor=CELERY, retries=1, retry_delay=timedelta(seconds=1))
    def nap(n):
        context = get_current_context()
        first = context["params"]["first"] if context["ti"].try_number == 1 else 0
        work("nap", first or context["params"]["seconds"])

    nap.expand(n=numbers())


@dag(schedule=None, params={"marks": "/tmp", "celery": 300, "others": 100}, max_active_tasks=500)
def chaos():
    def of(where):
        @task(task_id=f"numbers_{where}")
        def numbers():
            params = get_current_context()["params"]
            return list(range(params["celery" if where == "celery" else "others"]))

        @task(task_id=where, executor={"celery": CELERY, "ecs": ECS, "batch": BATCH}[where], retries=1,
              retry_delay=timedelta(seconds=1))
        def nap(n):
            work(where, 0.5 + n % 7)

        nap.expand(n=numbers())

    for where in ("celery", "ecs", "batch"):
        of(where)


side_by_side(), crowd(), chaos()
"""


@contextmanager
def crew_of(stack: Stack, folder: Path) -> Iterator[Stack]:
    """An environment with all three executors, and no worker while nobody needs one."""
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "workers.py").write_text(DAGS)
    stack.must("up", seconds=600)
    stack.must("env", "create", NAME, str(folder), *OPTIONS, seconds=900)
    yield stack
    stack.must("env", "delete", NAME)


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """What it finds, once it finds something. On a busy machine Airflow may not answer for a while."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := look():
                return found
        except Unavailable:
            pass
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def workers(stack: Stack) -> dict[str, int]:
    """First processes of the workers that run, by the ARNs of their ECS tasks."""
    ecs = stack.client("ecs")
    arns = ecs.list_tasks(cluster="skylift", serviceName=SERVICE)["taskArns"]
    found = {}
    for task in ecs.describe_tasks(cluster="skylift", tasks=arns)["tasks"] if arns else []:
        file = stack.home / "cloud" / "containers" / f"{task['taskArn'].rsplit('/', 1)[-1][:12]}-0" / "pid"
        if task["lastStatus"] == "RUNNING" and file.exists():
            pid = int(file.read_text().split()[2])
            if psutil.pid_exists(pid):
                found[task["taskArn"]] = pid
    return found


def fly(stack: Stack, dag: str, marks: Path, **params: Any) -> Callable[[], list[TaskLine]]:
    """Starts a run; answers with its Airflow tasks when called."""
    marks.mkdir()
    api = stack.airflow(NAME)
    until(lambda: dag in api.dags(), 300, f"no DAG {dag}")
    run = f"run-{marks.name}"
    until(lambda: api.unpause(dag) or api.trigger(dag, run, {"marks": str(marks), **params}), 120, "not triggered")
    return lambda: api.task_lines(dag, run)


def ended(look: Callable[[], list[TaskLine]], seconds: float = 600) -> list[TaskLine]:
    """The run's Airflow tasks once all have ended."""
    final = {"success", "failed", "upstream_failed", "skipped"}
    return until(lambda: (lines := look()) and all(one.state in final for one in lines) and lines, seconds, "not ended")


def begun(marks: Path) -> set[str]:
    return {path.stem for path in marks.glob("*.begin")}


def naps(lines: list[TaskLine]) -> list[TaskLine]:
    return [one for one in lines if one.task_id == "nap"]
