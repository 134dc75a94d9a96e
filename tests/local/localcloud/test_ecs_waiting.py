"""Work waits when the machine is full: in order, stoppable, and without using the processor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.local.ecs_cloud import LOG_GROUP, NETWORK, Cloud, definition, described, run, until, wait_for

pytestmark = pytest.mark.local

MANY = int(os.environ.get("MANY_ECS_TASKS", "200"))


@contextmanager
def small_cloud(home: Path, slots: int) -> Iterator[Any]:
    """Its ECS client."""
    cloud = Cloud(home, slots).start()
    try:
        cloud.client().create_cluster()
        cloud.client("logs").create_log_group(logGroupName=LOG_GROUP)
        yield cloud.client()
    finally:
        cloud.stop()


def test_work_waits_when_the_machine_is_full(tmp_path: Path) -> None:
    """In order; a stop reaches what waits; services do not wait."""
    with small_cloud(tmp_path, slots=2) as ecs:
        ecs.register_task_definition(**definition("sleep", "300"))
        ecs.create_service(serviceName="s", taskDefinition="work", desiredCount=3, networkConfiguration=NETWORK)
        arns = [run(ecs, definition("sh", "-c", "sleep 0.6; exit 3")) for _ in range(6)]
        until(ecs, arns[1], "RUNNING")
        assert [described(ecs, arn)["lastStatus"] for arn in arns[2:]] == ["PROVISIONING"] * 4
        wait_for(lambda: ecs.describe_services(services=["s"])["services"][0]["runningCount"] == 3)
        ecs.stop_task(task=arns[3])
        stopped = until(ecs, arns[3], "STOPPED")
        assert (stopped["stopCode"], "startedAt" in stopped) == ("UserInitiated", False)
        done = [until(ecs, arn, "STOPPED") for arn in (*arns[:3], *arns[4:])]
        assert {one["containers"][0]["exitCode"] for one in done} == {3}
        begun = [one["connectivityAt"] for one in done]
        assert begun == sorted(begun), "places are given in order"
        for number, one in enumerate(done):
            beside = [other for other in done[:number] if other["stoppingAt"] > one["startedAt"]]
            assert len(beside) < 2, "there are two places"


def test_many_end_in_the_order_of_their_acceptance(tmp_path: Path) -> None:
    with small_cloud(tmp_path, slots=16) as ecs:
        ecs.register_task_definition(**definition("true"))  # "work", as the next ones are
        # All slots are filled whatever the machine does: the first ones wait for each other.
        wait = f'touch "{tmp_path}/$$"; until [ $(ls {tmp_path} | grep -c "^[0-9]*$") -ge 16 ]; do sleep 0.2; done'
        first = {"containerOverrides": [{"name": "main", "command": ["sh", "-c", wait]}]}
        arns: list[str] = []
        for count in (10, 6):
            tasks = ecs.run_task(taskDefinition="work", networkConfiguration=NETWORK, count=count, overrides=first)
            arns += [task["taskArn"] for task in tasks["tasks"]]
        while len(arns) < MANY:
            tasks = ecs.run_task(taskDefinition="work", networkConfiguration=NETWORK, count=10)["tasks"]
            arns += [task["taskArn"] for task in tasks]
        until(ecs, arns[-1], "STOPPED", seconds=60)
        wait_for(lambda: not ecs.list_tasks()["taskArns"])
        done = [task for at in range(0, MANY, 100) for task in ecs.describe_tasks(tasks=arns[at : at + 100])["tasks"]]
        assert {task["containers"][0]["exitCode"] for task in done} == {0}
        begun = [task["connectivityAt"] for task in done]
        assert begun == sorted(begun), "places are given in order"
        edges = sorted([(task["connectivityAt"], 1) for task in done] + [(task["stoppedAt"], -1) for task in done])
        running = most = 0
        for _, step in edges:
            running += step
            most = max(most, running)
        assert most == 16
