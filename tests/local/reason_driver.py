"""A scheduler's loop around the real executor for Airflow tasks whose containers die, run as a separate process;
prints JSON.

For each it prints the event's info, the task instance's event log, and its log from Airflow's API.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from airflow.api_fastapi.app import cached_app
from airflow.executors.workloads import ExecuteTask
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dagbag import DBDagBag
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from skylift.aws import signed
from skylift.executors.ecs import AwsEcsExecutor

JOB = 7
REGION = os.environ["AWS_REGION"]


class Loop:
    """The scheduler's part, and a person who stops containers and takes capacity away."""

    def __init__(self, executor: AwsEcsExecutor) -> None:
        self.executor = executor
        self.ecs = boto3.client("ecs", region_name=REGION)
        self.infos: dict[str, str] = {}
        self.watched: dict[str, Any] = {}

    def run(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        struck: set[str] = set()
        while self.executor.running or self.executor.queued_tasks:
            assert time.monotonic() < deadline, f"still running: {self.executor.running}"
            self.executor.heartbeat()
            self._events()
            self._watch()
            for task_id in {"stopped", "polite", "spot"} - struck:
                if self._ready(task_id) and self.watched:
                    self._strike(task_id)
                    struck.add(task_id)
            time.sleep(0.2)
        self.executor.heartbeat()
        self._events()

    def _events(self) -> None:
        for key, (_, told) in self.executor.event_buffer.items():
            self.infos[key.task_id] = str(told)
        with create_session() as session:
            SchedulerJobRunner.process_executor_events(
                executor=self.executor, job_id=JOB, scheduler_dag_bag=DBDagBag(), session=session
            )
        with create_session() as session:
            SchedulerJobRunner._process_task_event_logs(self.executor._task_event_logs, session)

    def _ready(self, task_id: str) -> bool:
        """Whether the Airflow task itself is running: it creates a file."""
        return Path(os.environ["READY"], task_id).exists()

    def _strike(self, task_id: str) -> None:
        arn = self._arn(task_id)
        if task_id != "spot":
            self.ecs.stop_task(task=arn, reason="somebody was at the console")
        else:
            body = {"kind": "spot", "name": "", "values": {"warning": 1, "task": arn}}
            signed.call("POST", "/_skylift/faults", body, region=REGION)

    def _arn(self, task_id: str) -> str:
        arns = self.ecs.list_tasks()["taskArns"]
        for task in self.ecs.describe_tasks(tasks=arns, include=["TAGS"])["tasks"]:
            if {"key": "task_id", "value": task_id} in task["tags"]:
                return str(task["taskArn"])
        raise LookupError(task_id)

    def _watch(self) -> None:
        """What Airflow's UI gets while ``spot`` runs."""
        if self.watched or not self._ready("spot"):
            return
        with create_session() as session:
            ti = instance(session, "spot")
            if str(ti.state) == "running":
                messages, lines = self.executor.get_task_log(ti, 1)
                self.watched = {"messages": messages, "lines": lines}


def instance(session: Any, task_id: str) -> Any:
    return session.scalar(select(TaskInstance).where(TaskInstance.task_id == task_id))


def shown(client: TestClient, run_id: str, task_id: str) -> str:
    """The log of the first try, as the UI gets it from Airflow's API."""
    path = f"/api/v2/dags/d/dagRuns/{run_id}/taskInstances/{task_id}/logs/1"
    answer = client.get(path, params={"full_content": "true"}, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return "\n".join(f"{one.get('level', '')} {one['event']}" for one in answer.json()["content"])


def main() -> dict[str, Any]:
    executor = AwsEcsExecutor(parallelism=16)
    executor.job_id = JOB
    executor.start()
    with create_session() as session:
        session.execute(update(TaskInstance).values(queued_by_job_id=JOB))
        instances = list(session.scalars(select(TaskInstance)))
        run_id = instances[0].run_id
        task_ids = [ti.task_id for ti in instances]
        for ti in instances:
            workload = ExecuteTask.make(ti, generator=executor.jwt_generator)
            executor.queue_workload(workload, session=session)
    loop = Loop(executor)
    loop.run(240)
    executor.end()
    answer: dict[str, Any] = {"infos": loop.infos, "watched": loop.watched}
    with create_session() as session:
        answer["states"] = {task_id: str(instance(session, task_id).state) for task_id in task_ids}
        found = [(line.task_id, f"{line.event}: {line.extra}") for line in session.scalars(select(Log))]
    answer["events"] = {task_id: [text for one, text in found if one == task_id] for task_id in task_ids}
    with TestClient(cached_app(apps="core"), base_url="http://testserver") as client:
        token = client.get("/auth/token").json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        answer["logs"] = {task_id: shown(client, run_id, task_id) for task_id in task_ids}
    return answer


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(main()))
    # Airflow's own threads must not delay the end of a test.
    sys.stdout.flush()
    os._exit(0)
