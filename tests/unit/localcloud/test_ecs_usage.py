"""The resources that ECS tasks use, as metrics: how CPU time becomes percent, whose memory it is, what is reported."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from skylift.localcloud.containers.memory import Process, Used, Watched, find_over, read_processes
from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ecs.tasks.usage import UsageMeter
from skylift.localcloud.ports import Measured

pytestmark = pytest.mark.unit

MB = 1024 * 1024
CLUSTER = "arn:aws:ecs:us-east-1:000000000000:cluster/c"
FAMILY = "arn:aws:ecs:us-east-1:000000000000:task-definition/f:3"


class Kept:
    """CloudWatch: keeps what comes, or has no room."""

    def __init__(self) -> None:
        self.measured: list[Measured] = []
        self.full = False

    def put(self, measured: Sequence[Measured]) -> None:
        if self.full:
            raise OSError("no room")
        self.measured += measured

    def take(self) -> dict[tuple[str, ...], float]:
        """Values since the last time, by metric and dimensions."""
        found = {(one.namespace, one.name, *one.dimensions.values()): round(one.value, 3) for one in self.measured}
        assert len(found) == len(self.measured)
        self.measured = []
        return found


class World:
    """One ECS task of a service, and one that stands alone; each with a processor and 200 MB."""

    def __init__(self, folder: Path, insights: str) -> None:
        self.now = 1000.0
        self.kept = Kept()
        self.shares: dict[int, int | None] = {}
        self.store = EcsStore(folder / "cloud.db", lambda: None)
        settings = [{"name": "containerInsights", "value": insights}]
        self.store.clusters["c"] = {"clusterArn": CLUSTER, "settings": settings}
        for name, group in (("one", "service:web"), ("two", "family:f")):
            document = {
                "taskArn": f"arn:aws:ecs:us-east-1:000000000000:task/c/{name}",
                "clusterArn": CLUSTER,
                "taskDefinitionArn": FAMILY,
                "group": group,
                "cpu": "1024",
                "memory": "200",
                "startedAt": self.now,
            }
            self.store.tasks[name] = self.store.alive[name] = EcsTask(document)
        self.meter = UsageMeter(self.store, self.kept, lambda: self.now, lambda pid: self.shares.get(pid, 0))

    def report(self) -> dict[tuple[str, ...], float]:
        asyncio.run(self.meter.report())
        return self.kept.take()


def used(cpu: float, resident: int = 100) -> Used:
    return Used(cpu, resident * MB, (7,))


def test_a_services_cpu_and_memory_are_percent_of_what_it_has(tmp_path: Path) -> None:
    world = World(tmp_path, "disabled")
    world.now += 10
    world.shares[7] = 50 * MB
    world.meter.seen("one", 7, used(cpu=5.0))
    assert world.report() == {
        ("AWS/ECS", "CPUUtilization", "c", "web"): 50.0,
        ("AWS/ECS", "MemoryUtilization", "c", "web"): 25.0,
    }
    world.now += 20
    world.meter.seen("one", 7, used(cpu=7.0))
    assert world.report()["AWS/ECS", "CPUUtilization", "c", "web"] == 10.0


def test_an_ecs_task_of_no_service_is_in_container_insights_only(tmp_path: Path) -> None:
    world = World(tmp_path, "enhanced")
    world.now += 10
    world.shares[7] = 50 * MB
    world.meter.seen("two", 7, used(cpu=1.0))
    insights = "ECS/ContainerInsights"
    amounts = {"CpuUtilized": 102.4, "CpuReserved": 1024.0, "MemoryUtilized": 50.0, "MemoryReserved": 200.0}
    assert world.report() == {
        **{(insights, name, "c"): value for name, value in amounts.items()},
        **{(insights, name, "c", "f"): value for name, value in amounts.items()},
        (insights, "TaskCpuUtilization", "c", "f", "two"): 10.0,
        (insights, "TaskMemoryUtilization", "c", "f", "two"): 25.0,
    }


def test_single_ecs_tasks_are_reported_only_where_insights_are_enhanced(tmp_path: Path) -> None:
    world = World(tmp_path, "enabled")
    world.now += 10
    world.meter.seen("one", 7, used(cpu=1.0))
    found = world.report()
    assert ("ECS/ContainerInsights", "CpuUtilized", "c", "web") in found
    assert not [key for key in found if key[1].startswith("Task")]


def test_an_ecs_task_that_ended_meanwhile_is_reported_once_with_its_most_resident_memory(tmp_path: Path) -> None:
    world = World(tmp_path, "enhanced")
    world.now += 2
    world.meter.seen("two", 7, used(cpu=1.0, resident=150))
    world.now += 2
    world.meter.seen("two", 7, used(cpu=2.0, resident=100))
    del world.store.alive["two"]
    world.now += 20
    found = world.report()
    assert found["ECS/ContainerInsights", "TaskCpuUtilization", "c", "f", "two"] == 50.0
    assert found["ECS/ContainerInsights", "TaskMemoryUtilization", "c", "f", "two"] == 75.0
    assert world.report() == {}


def test_a_share_that_may_not_be_read_counts_as_resident(tmp_path: Path) -> None:
    world = World(tmp_path, "disabled")
    world.now += 10
    world.shares[7] = None
    world.meter.seen("one", 7, used(cpu=1.0, resident=100))
    assert world.report()["AWS/ECS", "MemoryUtilization", "c", "web"] == 50.0


def test_a_full_disk_costs_figures_only(tmp_path: Path) -> None:
    world = World(tmp_path, "disabled")
    world.now += 10
    world.meter.seen("one", 7, used(cpu=1.0))
    world.kept.full = True
    assert world.report() == {}
    world.kept.full = False
    world.now += 10
    world.meter.seen("one", 7, used(cpu=3.0))
    assert world.report()["AWS/ECS", "CPUUtilization", "c", "web"] == 20.0


def test_a_pass_tells_what_each_container_uses() -> None:
    found = {
        1: Process(0, MB),
        20: Process(1, MB, 0, 9.0),
        21: Process(20, 5 * MB, 0, 1.5),
        22: Process(21, 3 * MB, 0, 0.5),
    }
    over = find_over([Watched(21, 100 * MB, "t", 0, lambda: None)], found, lambda _: 0)
    assert over.used == {21: Used(2.0, 8 * MB, (21, 22))}


def test_the_kernel_tells_of_cpu_time() -> None:
    before = read_processes()[os.getpid()].cpu
    deadline = time.process_time() + 0.2
    while time.process_time() < deadline:
        pass
    assert read_processes()[os.getpid()].cpu >= before + 0.1
