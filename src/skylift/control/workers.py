"""Celery workers of all environments: how many there are, which are replaced, and what became of those that ended.

A loop of its own beside the reconciler, because it looks every second: an Airflow task that is queued waits for it.
While nothing changes it costs one question to Airflow's database a second, and two calls to ECS and one to SQS each few
seconds; environments without workers cost nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skylift.aws.ecs.services import DescribedService
from skylift.aws.ecs.tasks import DescribedTask
from skylift.aws.s3 import S3
from skylift.control.airflow_database import MetadataDatabase
from skylift.control.blueprint import executors, has_workers
from skylift.control.definitions import family
from skylift.control.part_context import broker_queue
from skylift.control.scaling import Calm, Work, bounds, needed, scaled
from skylift.control.settings import ControlSettings
from skylift.control.store import Row
from skylift.control.worker_ends import WorkerEnds
from skylift.core.clock import Clock
from skylift.core.containers import Command
from skylift.core.environment import CELERY_EXECUTOR, Status
from skylift.core.errors import SkyliftError
from skylift.core.names import current_worker_key

log = logging.getLogger(__name__)

SLOW_SECONDS = 5.0
"""Pause between two looks at ECS and SQS."""

PRUNE_SECONDS = 3600.0
RESULT_DAYS = 1

GRACEFUL = "GRACEFUL"


class WorkerServices(Protocol):
    """The calls to ECS about services (``aws.ecs.services``)."""

    def describe(self, names: Sequence[str]) -> dict[str, DescribedService]: ...

    def scale(self, name: str, desired: int) -> None: ...

    def service_tasks(self, name: str) -> list[str]: ...

    def stopped_tasks(self, name: str) -> list[str]: ...

    def unprotect(self, arns: Sequence[str]) -> None: ...

    def delete(self, name: str) -> None: ...


class WorkerTasks(Protocol):
    """The calls to ECS about ECS tasks (``aws.ecs.tasks``)."""

    def describe(self, arns: Sequence[str]) -> dict[str, DescribedTask]: ...


class CountedQueues(Protocol):
    """The calls to SQS (``aws.queues``)."""

    def count(self, name: str) -> tuple[int, int]: ...


class Announcing(Protocol):
    """Where running workers read which task definition is the current one."""

    def announce(self, environment: str, definition: str) -> None: ...


class Announcements:
    """``Announcing`` by an S3 object, which the environment's role may read."""

    def __init__(self, s3: S3, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def announce(self, environment: str, definition: str) -> None:
        """Writes it."""
        self._s3.write_json(self._bucket, current_worker_key(environment), {"definition": definition})


@dataclass
class WorkerFleet:
    """What is remembered of one environment's workers between two looks."""

    database: MetadataDatabase
    ends: WorkerEnds
    service: DescribedService | None = None
    queue: Work = field(default_factory=Work)
    work: Work = field(default_factory=Work)
    calm: Calm = field(default_factory=Calm)
    looked: float = float("-inf")
    pruned: float = float("-inf")
    announced: str = ""


class WorkerScaler:
    """Looks at the workers of all environments.

    Args:
        rows: the environments.
        fleet_of: makes what is remembered of one.
    """

    def __init__(
        self,
        rows: Callable[[], Sequence[Row]],
        services: WorkerServices,
        tasks: WorkerTasks,
        queues: CountedQueues,
        announcing: Announcing,
        fleet_of: Callable[[Row], WorkerFleet],
        settings: ControlSettings,
        clock: Clock,
    ) -> None:
        self._rows = rows
        self._services = services
        self._tasks = tasks
        self._queues = queues
        self._announcing = announcing
        self._fleet_of = fleet_of
        self._settings = settings
        self._clock = clock
        self._fleets: dict[str, WorkerFleet] = {}
        self._removed: set[str] = set()
        self._failing: set[str] = set()

    def run(self, stopping: threading.Event) -> None:
        """Until it is told to stop."""
        while not stopping.wait(self._settings.worker_look_milliseconds / 1000):
            self.look()

    def look(self) -> None:
        """One look at each environment. Never raises."""
        rows = {row.name: row for row in self._rows() if row.status not in {Status.DELETING, Status.CREATE_FAILED}}
        for name in [name for name in self._fleets if name not in rows or not has_workers(rows[name].spec)]:
            self._fleets.pop(name).database.close()
        for row in rows.values():
            if f"definition.{Command.WORKER}" not in row.facts:
                continue
            if not has_workers(row.spec):
                self._remove(row)
                continue
            self._removed.discard(row.name)
            self._attend(row)

    def work(self, name: str) -> tuple[int, int] | None:
        """Airflow tasks that wait for a worker, and that run on one, as last counted; ``None`` without workers."""
        fleet = self._fleets.get(name)
        return (fleet.work.queued, fleet.work.running) if fleet is not None else None

    def _attend(self, row: Row) -> None:
        try:
            if row.name not in self._fleets:
                self._fleets[row.name] = self._fleet_of(row)
            self._look_at(row, self._fleets[row.name])
            self._failing.discard(row.name)
        except SkyliftError as error:
            if row.name not in self._failing:
                log.warning("environment %s: its workers are not looked after now: %s", row.name, error)
            self._failing.add(row.name)
        except Exception:  # our bug: without this thread no environment would get workers
            if row.name not in self._failing:
                log.exception("environment %s: a look at its workers broke; the next ones go on", row.name)
            self._failing.add(row.name)

    def _look_at(self, row: Row, fleet: WorkerFleet) -> None:
        now = self._clock()
        slowly = now - fleet.looked >= SLOW_SECONDS
        if slowly:
            fleet.looked = now
            self._look_slowly(row, fleet)
        self._scale(row, fleet, now)
        if slowly and fleet.service is not None:
            self._look_back(row, fleet, fleet.service)
        if now - fleet.pruned >= PRUNE_SECONDS:
            fleet.pruned = now
            fleet.database.prune(RESULT_DAYS)

    def _look_slowly(self, row: Row, fleet: WorkerFleet) -> None:
        name = family(row.name, Command.WORKER)
        fleet.service = self._services.describe([name]).get(name)
        fleet.queue = Work(*self._queues.count(broker_queue(row.name)))
        if fleet.service is None:
            return
        if fleet.service.definition != fleet.announced:
            self._announcing.announce(row.name, fleet.service.definition)
            fleet.announced = fleet.service.definition

    def _look_back(self, row: Row, fleet: WorkerFleet, service: DescribedService) -> None:
        self._replace(row, service)
        stopped = fleet.ends.unknown(self._services.stopped_tasks(service.name))
        for task in (self._tasks.describe(stopped) if stopped else {}).values():
            fleet.ends.ended(row, fleet.database, task)

    def _scale(self, row: Row, fleet: WorkerFleet, now: float) -> None:
        service = fleet.service
        if service is None or service.status != "ACTIVE":
            return
        work = fleet.work = fleet.database.work(executors(row.spec)[0] == CELERY_EXECUTOR)
        least, most = bounds(row.spec)
        enough = needed(row.spec, work, fleet.queue)
        wanted, fleet.calm = scaled(service.desired, enough, fleet.calm, now, self._settings.worker_idle_seconds)
        wanted = max(least, min(most, wanted))
        if wanted != service.desired:
            log.info(
                "environment %s: %d workers become %d (%d Airflow tasks queued, %d running; queue: %d and %d)",
                *(row.name, service.desired, wanted, work.queued, work.running),
                *(fleet.queue.queued, fleet.queue.running),
            )
            self._services.scale(service.name, wanted)
            fleet.looked = float("-inf")  # ECS is asked again at once

    def _replace(self, row: Row, service: DescribedService) -> None:
        """Forced replacement: what still works on an old definition may be ended once the new workers run. (Graceful:
        old workers see that they are old, take no more messages, and end when they are done.)"""
        old_run = service.running > service.current and service.current >= service.desired
        if row.last_update.replacement == GRACEFUL or not old_run or service.settled:
            return
        tasks = self._tasks.describe(self._services.service_tasks(service.name)[:100]).values()
        old = [task.arn for task in tasks if task.started_by != service.deployment]
        for begin in range(0, len(old), 10):
            self._services.unprotect(old[begin : begin + 10])

    def _remove(self, row: Row) -> None:
        """Workers of an environment that has no Celery executor any more."""
        if row.name in self._removed or row.status in {Status.UPDATING, Status.ROLLING_BACK}:
            return
        try:
            self._services.delete(family(row.name, Command.WORKER))
            self._removed.add(row.name)
        except SkyliftError as error:
            log.warning("environment %s: its workers cannot be removed yet: %s", row.name, error)
