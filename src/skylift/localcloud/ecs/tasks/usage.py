"""CPU time and memory of ECS tasks, as the metrics that ECS sends to CloudWatch.

``AWS/ECS`` has percentages of each service, always. ``ECS/ContainerInsights`` has amounts for each cluster, service and
family of task definitions where the cluster's setting ``containerInsights`` is ``enabled``, and percentages of each
single ECS task where it is ``enhanced``, as on AWS. The watch over memory limits reads all processes about once a
second anyway, so ECS tasks that live for only a few seconds are measured too.

Memory is the proportional share (PSS): pages that containers share, as forks of one template do, are divided among
them. For an ECS task that ended before its share was read, it is the most memory that was resident.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from skylift.core.clock import Clock
from skylift.localcloud.containers.memory import Used, proportional_share
from skylift.localcloud.ecs.model.shapes import last_word
from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ports import Measured, Metrics

USAGE_SECONDS = 30.0
"""Between two reports (ECS: a minute)."""

ECS, INSIGHTS = "AWS/ECS", "ECS/ContainerInsights"
MEBIBYTE = 1024 * 1024
CPU_UNITS = 1024

_log = logging.getLogger(__name__)


@dataclass
class ContainerUse:
    """One container since the last report.

    Attributes:
        used: what was seen last.
        reported: seconds of CPU time that were reported already.
        since: when the time that is to be reported began.
        seen: when it was last seen.
        peak: most bytes that were resident.
    """

    used: Used
    reported: float
    since: float
    seen: float
    peak: int


@dataclass(frozen=True)
class TaskUse:
    """One ECS task since the last report: processors, and bytes."""

    processors: float
    memory: int


class UsageMeter:
    """Collects what containers use, and reports it again and again.

    Args:
        proportional: a process's share of memory; ``None``: not told.
    """

    def __init__(
        self,
        store: EcsStore,
        metrics: Metrics,
        clock: Clock,
        proportional: Callable[[int], int | None] = proportional_share,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._proportional = proportional
        self._containers: dict[str, dict[int, ContainerUse]] = {}

    def seen(self, task: str, pid: int, used: Used) -> None:
        """A container was looked at (``memory.Tell``)."""
        now = self._clock()
        known = self._containers.setdefault(task, {}).get(pid)
        if known is None:
            found = self._store.tasks.get(task)
            began = float(found.document.get("startedAt") or now) if found is not None else now
            self._containers[task][pid] = ContainerUse(used, 0.0, began, now, used.resident)
        else:
            known.used, known.seen, known.peak = used, now, max(known.peak, used.resident)

    async def now(self) -> dict[str, TaskUse]:
        """What each ECS task that runs uses: CPU since the last report, memory at this moment."""
        running = {
            name: list(containers.values())
            for name, containers in self._containers.items()
            if name in self._store.alive
        }
        shares = await asyncio.to_thread(
            self._shares, {number: one.used.pids for number, one in _numbered(running.values())}
        )
        memory = {id(one): shares.get(number, one.used.resident) for number, one in _numbered(running.values())}
        return {
            name: TaskUse(
                sum(max(0.0, one.used.cpu - one.reported) / max(one.seen - one.since, 1.0) for one in containers),
                sum(memory[id(one)] for one in containers),
            )
            for name, containers in running.items()
        }

    async def run(self, seconds: float = USAGE_SECONDS) -> None:
        """Reports until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.report()

    async def report(self) -> None:
        """Sends what there is. What cannot be written is dropped."""
        running = {
            pid: one.used.pids
            for task, containers in self._containers.items()
            if task in self._store.alive
            for pid, one in containers.items()
        }
        try:
            shares = await asyncio.to_thread(self._shares, running)
            uses = self._taken(shares)
            measured = [one for name, use in uses.items() for one in self._measured(name, use)]
            if measured:
                self._metrics.put(measured)
        except OSError as error:  # a full disk, or too many open files: limits and containers go on
            _log.warning("the use of CPU and memory cannot be reported now: %s", error)

    def _shares(self, running: Mapping[int, tuple[int, ...]]) -> dict[int, int]:
        """In a thread: each takes a millisecond or more."""
        found = {pid: [self._proportional(one) for one in pids] for pid, pids in running.items()}
        return {
            pid: sum(one for one in shares if one is not None)
            for pid, shares in found.items()
            if None not in shares and any(shares)
        }

    def _taken(self, shares: Mapping[int, int]) -> dict[str, TaskUse]:
        """What each ECS task has used since the last time; those that are over are forgotten."""
        uses = {}
        for name, containers in list(self._containers.items()):
            spent = sum(one.used.cpu - one.reported for one in containers.values())
            lasted = max(one.seen for one in containers.values()) - min(one.since for one in containers.values())
            memory = sum(shares.get(pid, one.peak) for pid, one in containers.items())
            uses[name] = TaskUse(max(0.0, spent) / max(lasted, 1.0), memory)
            for one in containers.values():
                one.reported, one.since, one.peak = one.used.cpu, one.seen, one.used.resident
            if name not in self._store.alive:
                del self._containers[name]
        return uses

    def _measured(self, name: str, use: TaskUse) -> Iterator[Measured]:
        task = self._store.tasks.get(name)
        if task is None:
            return
        cpu, memory = int(task.document["cpu"] or 0), int(task.document["memory"] or 0)
        units, mebibytes = use.processors * CPU_UNITS, use.memory / MEBIBYTE
        percent = {
            "Cpu": 100.0 * units / cpu if cpu else None,
            "Memory": 100.0 * mebibytes / memory if memory else None,
        }
        cluster = {"ClusterName": last_word(task.document["clusterArn"])}
        owner = _owner(task)
        if "ServiceName" in owner:
            for word, value in percent.items():
                if value is not None:
                    metric = "CPUUtilization" if word == "Cpu" else "MemoryUtilization"
                    yield Measured(ECS, metric, value, "Percent", cluster | owner)
        insights = self._insights(task)
        if insights == "disabled":
            return
        amounts = {
            "CpuUtilized": (units, "None"),
            "CpuReserved": (float(cpu), "None"),
            "MemoryUtilized": (mebibytes, "Megabytes"),
            "MemoryReserved": (float(memory), "Megabytes"),
        }
        for dimensions in (cluster, cluster | _family(task), *([cluster | owner] if "ServiceName" in owner else [])):
            for metric, (value, unit) in amounts.items():
                yield Measured(INSIGHTS, metric, value, unit, dimensions)
        if insights == "enhanced":
            for word, found in percent.items():
                if found is not None:
                    single = cluster | owner | {"TaskId": task.id}
                    yield Measured(INSIGHTS, f"Task{word}Utilization", found, "Percent", single)

    def _insights(self, task: EcsTask) -> str:
        cluster = self._store.clusters.get(last_word(task.document["clusterArn"]))
        settings = cluster["settings"] if cluster is not None else ()
        return next((str(one["value"]) for one in settings if one["name"] == "containerInsights"), "disabled")


def _numbered(containers: Iterable[Iterable[ContainerUse]]) -> Iterator[tuple[int, ContainerUse]]:
    return enumerate(one for some in containers for one in some)


def _family(task: EcsTask) -> dict[str, str]:
    return {"TaskDefinitionFamily": last_word(task.document["taskDefinitionArn"]).partition(":")[0]}


def _owner(task: EcsTask) -> dict[str, str]:
    """The service of an ECS task; of one without, its family."""
    kind, _, name = str(task.document.get("group") or "").partition(":")
    return {"ServiceName": name} if kind == "service" else _family(task)
