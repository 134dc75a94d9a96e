"""The ECS tasks under way: begun, stopped, adopted after a restart, forgotten an hour after their
end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from skylift.core.clock import Clock
from skylift.localcloud.containers.log_tail import LogTails
from skylift.localcloud.containers.memory import MemoryWatch
from skylift.localcloud.containers.runner import Runner
from skylift.localcloud.ecs.model.health import HEALTHY, UNHEALTHY
from skylift.localcloud.ecs.model.lifecycle import StopCode, TaskState
from skylift.localcloud.ecs.model.registry_checks import check_registries
from skylift.localcloud.ecs.model.store import STOPPED_SECONDS, EcsStore, EcsTask
from skylift.localcloud.ecs.tasks.balancing import Balancing
from skylift.localcloud.ecs.tasks.changes import TaskChanges
from skylift.localcloud.ecs.tasks.discovery import Discovery, is_checked
from skylift.localcloud.ecs.tasks.leftovers import Leftovers
from skylift.localcloud.ecs.tasks.life import TaskContext, TaskRun
from skylift.localcloud.ecs.tasks.pulls import Pulls
from skylift.localcloud.ecs.tasks.slots import Slots, machine_slots
from skylift.localcloud.ecs.tasks.usage import UsageMeter
from skylift.localcloud.ecs.tasks.volumes import remove_folders
from skylift.localcloud.events import Events
from skylift.localcloud.ports import (
    AlwaysRoom,
    AnyRole,
    Capacity,
    Change,
    CloudContext,
    Document,
    Images,
    Logs,
    Metrics,
    NoMetrics,
    NoRegistries,
    Registries,
    Roles,
    Secrets,
    Targets,
)
from skylift.wire.errors import AwsError

CLOSING_SECONDS = 13.0
"""At shutdown a container gets at most this many seconds between SIGTERM and SIGKILL. Airflow's triggerer may need 12:
``docs/decisions/0004``."""
_PRUNE_SECONDS = 600.0


@dataclass(frozen=True)
class Neighbours:
    """What ECS needs from the rest of the local cloud."""

    images: Images
    logs: Logs
    secrets: Secrets
    targets: Targets
    metrics: Metrics = field(default_factory=NoMetrics)
    roles: Roles = field(default_factory=AnyRole)
    capacity: Capacity = field(default_factory=AlwaysRoom)
    registries: Registries = field(default_factory=NoRegistries)


class Engine:
    """Keeps one ``TaskRun`` for every ECS task that has not ended."""

    def __init__(
        self,
        cloud: CloudContext,
        store: EcsStore,
        runner: Runner,
        neighbours: Neighbours,
        clock: Clock,
        on_change: Change,
        events: Events,
        slots: Slots | None = None,
    ) -> None:
        self.cloud = cloud
        self.events = events
        self.store = store
        self.clock = clock
        self.closing = False
        self.slots = slots or Slots(machine_slots())
        self.changes = TaskChanges(store, events, on_change)
        self._runner = runner
        self._neighbours = neighbours
        self._pulls = Pulls(neighbours.images)
        discovery = Discovery(cloud, store, neighbours.registries, self.changes)
        self._balancing = Balancing(store, neighbours.targets, discovery, clock, self.changes)
        self._runs: dict[str, tuple[TaskRun, asyncio.Task[None]]] = {}
        self._tails: LogTails | None = None
        self.usage = UsageMeter(store, neighbours.metrics, clock)
        self._memory = MemoryWatch(tell=self.usage.seen)
        self._reporting: asyncio.Task[None] | None = None
        self._pruning: asyncio.TimerHandle | None = None
        self._leftovers = Leftovers(store)

    async def start(self) -> None:
        """Adopts earlier ECS tasks: their containers go on, and those that ended meanwhile are reported."""
        self.closing = False
        self._tails = LogTails(self.clock)
        self._prune()
        self._reporting = asyncio.create_task(self.usage.run(), name="ecs-usage")
        for task in self.store.alive.values():
            if task.state is not TaskState.PROVISIONING and not task.deployment:
                self.slots.hold(task.id)
        for task in list(self.store.alive.values()):
            self._run(task, again=True)

    async def close(self) -> None:
        """Ends all containers in parallel; every ECS task is recorded as STOPPED."""
        self.closing = True
        if self._reporting is not None:
            self._reporting.cancel()
        if self._pruning is not None:
            self._pruning.cancel()
        self._leftovers.close()
        for run, _ in self._runs.values():
            run.cap_stop_timeout(CLOSING_SECONDS)
            self.stop(run.task, StopCode.TERMINATION, "The local cloud is shutting down.")
        while self._runs:
            await asyncio.wait([future for _, future in self._runs.values()])
        if self._tails is not None:
            await self._tails.close()

    def launch(self, tasks: Sequence[EcsTask]) -> None:
        """Accepts ECS tasks: when this returns, they are on disk. Their containers start in the background.

        Raises:
            AwsError: ``ServerException`` while the local cloud shuts down.
        """
        if self.closing:
            raise AwsError("ServerException", "The local cloud is shutting down.", 500)
        self.changes.accept(tasks)
        for task in tasks:
            self._run(task, again=False)

    def stop(self, task: EcsTask, code: StopCode, reason: str) -> None:
        """Asks an ECS task to end; returns at once. Harmless if it is ending already; the first reason stays."""
        if task.stopped or not task.wanted:
            return
        task.document |= {"desiredStatus": TaskState.STOPPED, "stopCode": code, "stoppingAt": self.clock()}
        if reason:
            task.document["stoppedReason"] = reason
        self.changes.changed(task)
        self._runs[task.id][0].stop_wanted.set()

    def reclaim_spot(self, task: EcsTask, warning: float) -> None:
        """Reclaims an ECS task's Spot capacity: SIGTERM now, SIGKILL after ``warning`` seconds, or after its
        stopTimeout if that is shorter."""
        if task.wanted and (running := self._runs.get(task.id)):
            running[0].cap_stop_timeout(warning)
            self.stop(task, StopCode.SPOT, "Your Spot Task was interrupted.")

    def run(self, task: EcsTask) -> TaskRun | None:
        """Its run, while it has not ended."""
        running = self._runs.get(task.id)
        return running[0] if running else None

    def kill(self, task: EcsTask, container: str = "") -> int:
        """SIGKILL to containers of an ECS task: the named one, or all. Returns how many there were."""
        running = self._runs.get(task.id)
        return running[0].kill(container) if running else 0

    def healthy(self, task: EcsTask) -> bool:
        """Whether it runs, its own health checks (if any) succeed, and so do those of its service's load balancers."""
        return (
            task.state is TaskState.RUNNING
            and self._balancing.health(task) == "healthy"
            and (task.document["healthStatus"] == HEALTHY or not is_checked(self.store, task))
        )

    def sickness(self, task: EcsTask) -> str:
        """Why a service must replace it, in ECS's words; empty if it need not."""
        if task.state is not TaskState.RUNNING:
            return ""
        if task.document["healthStatus"] == UNHEALTHY:
            return "Task failed container health checks"
        found = self._balancing.health(task)
        return f"Task failed ELB health checks in (target-group {found})" if found.startswith("arn:") else ""

    def check_registries(self, request: Document, definition: Document) -> None:
        """Refuses ``serviceRegistries`` that do not exist or do not fit the task definition (``AwsError``)."""
        check_registries(request.get("serviceRegistries") or (), definition, self._neighbours.registries.records)

    def pulling(self) -> list[str]:
        """References of the images that are being built."""
        return self._pulls.progress()

    def _run(self, task: EcsTask, again: bool) -> None:
        assert self._tails is not None, "start() comes first"
        context = TaskContext(
            self.cloud,
            self.store,
            self._runner,
            self._pulls,
            self._neighbours.logs,
            self._neighbours.secrets,
            self._neighbours.roles,
            self._balancing,
            self._tails,
            self.slots,
            self._memory,
            self.clock,
            self.changes,
            self._leftovers,
        )
        run = TaskRun(context, task, again)
        future = asyncio.create_task(run.run(), name=f"ecs-{task.id}")
        self._runs[task.id] = run, future
        future.add_done_callback(lambda _: self._runs.pop(task.id, None))

    def _prune(self) -> None:
        """Forgets what stopped more than an hour ago, including its folders."""
        oldest = self.clock() - STOPPED_SECONDS
        old = self.store.ended_before(oldest)
        if old:
            self.store.forget(old)
            folders = [self.cloud.folder / "containers" / name for task in old for name in task.folders.values()]
            asyncio.get_running_loop().run_in_executor(None, remove_folders, folders)
        self._pruning = asyncio.get_running_loop().call_later(_PRUNE_SECONDS, self._prune)
