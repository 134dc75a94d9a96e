"""MWAA's own metrics of environments (namespace ``AWS/MWAA``): how many of each component run, and what they use.

Once a minute, for every environment: DescribeServices says how many schedulers and web servers run. The executor's ECS
tasks stand for MWAA's queue: those that run, and those that have not begun. CPU and memory are ECS's own metrics under
MWAA's names. Nothing depends on it: whatever fails is tried again a minute later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from skylift.aws.ecs.services import DescribedService
from skylift.aws.ecs.tasks import DescribedTask
from skylift.aws.metrics import Series
from skylift.control.blueprint import EXECUTOR_ROLE
from skylift.control.definitions import family
from skylift.control.part_context import broker_queue
from skylift.core.clock import Clock
from skylift.core.containers import Command
from skylift.core.errors import SkyliftError

log = logging.getLogger(__name__)

SECONDS = 60.0
LOOK_BACK = timedelta(minutes=10)
"""How old ECS's values may be: CloudWatch has them some minutes late."""

CLUSTERS = {
    Command.SCHEDULER: "Scheduler",
    Command.API_SERVER: "WebServer",
    Command.DAG_PROCESSOR: "DagProcessor",
    Command.TRIGGERER: "Triggerer",
}
"""Value of the dimension ``Cluster``. On MWAA the last two are part of the scheduler's container."""

WORKER = "BaseWorker"
"""MWAA's word for where Airflow tasks run: here each has a container of its own."""

COUNTS = {Command.SCHEDULER: "NumSchedulers", Command.API_SERVER: "NumWebServers"}
WORKERS = "NumWorkers"
"""Celery workers that run; only of environments that have some."""

QUEUED = frozenset({"PROVISIONING", "PENDING", "ACTIVATING"})

MOST_DESCRIBED = 100
"""ECS tasks in one call (AWS's limit)."""

Data = list[dict[str, Any]]


class Services(Protocol):
    """The calls to ECS about services (``aws.ecs.services``)."""

    def describe(self, names: Sequence[str]) -> dict[str, DescribedService]: ...

    def family_tasks(self, family: str) -> list[str]: ...


class Tasks(Protocol):
    """The calls to ECS about ECS tasks (``aws.ecs.tasks``)."""

    def describe(self, arns: Sequence[str]) -> dict[str, DescribedTask]: ...


class Values(Protocol):
    """CloudWatch (``aws.metrics``)."""

    def put(self, namespace: str, data: Sequence[Mapping[str, Any]]) -> None: ...

    def newest(self, series: Sequence[Series], since: datetime) -> list[tuple[datetime, float] | None]: ...


class EnvironmentMonitor:
    """Measures all environments once a minute.

    Args:
        environments: names of the existing ones.
        cluster: ECS cluster in which they run.
        namespace: where the metrics go.
        queue: Airflow tasks of an environment that wait for a Celery worker, and that run on one; ``None`` if it has
            none.
    """

    def __init__(
        self,
        environments: Callable[[], Iterable[str]],
        services: Services,
        tasks: Tasks,
        cloudwatch: Values,
        cluster: str,
        namespace: str,
        clock: Clock,
        queue: Callable[[str], tuple[int, int] | None] = lambda _: None,
    ) -> None:
        self._environments = environments
        self._services = services
        self._tasks = tasks
        self._cloudwatch = cloudwatch
        self._cluster = cluster
        self._namespace = namespace
        self._clock = clock
        self._queue = queue
        self._told: dict[tuple[str, str, str], datetime] = {}
        self._failing = False

    def run(self, stopping: threading.Event, seconds: float = SECONDS) -> None:
        """Until it is told to stop."""
        while not stopping.wait(seconds):
            self.look()

    def look(self) -> None:
        """One look at each. Never raises."""
        try:
            for name in self._environments():
                data = [*self._counts(name), *self._uses(name)]
                if data:
                    self._cloudwatch.put(self._namespace, data)
            self._failing = False
        except SkyliftError as error:
            if not self._failing:
                log.warning("environments are not measured now: %s", error)
            self._failing = True

    def _counts(self, name: str) -> Data:
        found = self._services.describe([family(name, role) for role in (*COUNTS, Command.WORKER)])
        if not found:
            return []
        at = datetime.fromtimestamp(self._clock(), UTC)
        data: Data = []
        for role, metric in COUNTS.items():
            service = found.get(family(name, role))
            running = service.running if service is not None else 0
            data.append(_datum(metric, running, "Count", at, Cluster=CLUSTERS[role], Environment=name))
        crew = found.get(family(name, Command.WORKER))
        if crew is not None:
            data.append(_datum(WORKERS, crew.running, "Count", at, Cluster=WORKER, Environment=name))
        if (work := self._queue(name)) is not None:
            for metric, number in zip(("QueuedTasks", "RunningTasks"), work, strict=True):
                data.append(_datum(metric, number, "Count", at, Queue=broker_queue(name), Environment=name))
        executor = family(name, EXECUTOR_ROLE)
        arns = self._services.family_tasks(executor)
        chunks = [arns[begin : begin + MOST_DESCRIBED] for begin in range(0, len(arns), MOST_DESCRIBED)]
        states = [task.last_status for chunk in chunks for task in self._tasks.describe(chunk).values()]
        waiting, running = sum(state in QUEUED for state in states), states.count("RUNNING")
        for metric, number in (("QueuedTasks", waiting), ("RunningTasks", running)):
            data.append(_datum(metric, number, "Count", at, Queue=executor, Environment=name))
        return data

    def _uses(self, name: str) -> Data:
        """CPU and memory: ECS's newest values that were not sent yet."""
        wanted = [
            (cluster, metric, Series("AWS/ECS", metric, self._of(ServiceName=family(name, role))))
            for role, cluster in CLUSTERS.items()
            for metric in ("CPUUtilization", "MemoryUtilization")
        ]
        worker = self._of(TaskDefinitionFamily=family(name, EXECUTOR_ROLE))
        amounts = [
            Series("ECS/ContainerInsights", f"{word}{end}", worker)
            for word in ("Cpu", "Memory")
            for end in ("Utilized", "Reserved")
        ]
        now = datetime.fromtimestamp(self._clock(), UTC)
        found = self._cloudwatch.newest([*(series for _, _, series in wanted), *amounts], now - LOOK_BACK)
        values = {(cluster, metric): value for (cluster, metric, _), value in zip(wanted, found, strict=False)}
        cpu, all_cpu, memory, all_memory = found[len(wanted) :]
        values[WORKER, "CPUUtilization"] = _percent(cpu, all_cpu)
        values[WORKER, "MemoryUtilization"] = _percent(memory, all_memory)
        data: Data = []
        for (cluster, metric), value in values.items():
            key = name, cluster, metric
            if value is not None and self._told.get(key) != value[0]:
                self._told[key] = value[0]
                data.append(_datum(metric, value[1], "Percent", value[0], Cluster=cluster, Environment=name))
        return data

    def _of(self, **dimensions: str) -> dict[str, str]:
        return {"ClusterName": self._cluster, **dimensions}


def _percent(
    used: tuple[datetime, float] | None, reserved: tuple[datetime, float] | None
) -> tuple[datetime, float] | None:
    if used is None or reserved is None or not reserved[1]:
        return None
    return used[0], 100.0 * used[1] / reserved[1]


def _datum(name: str, value: float, unit: str, at: datetime, **dimensions: str) -> dict[str, Any]:
    pairs = [{"Name": dimension, "Value": text} for dimension, text in dimensions.items()]
    return {"MetricName": name, "Value": float(value), "Unit": unit, "Timestamp": at, "Dimensions": pairs}
