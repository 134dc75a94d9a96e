"""Watches the health of one ECS task's containers: runs their checks and records the results."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from skylift.core.clock import Clock
from skylift.localcloud.containers.program import Program, exit_code
from skylift.localcloud.containers.runner import RunningContainer
from skylift.localcloud.ecs.model.health import HealthCheck, Pulse, check_of, task_health, watch
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.tasks.changes import TaskChanges
from skylift.localcloud.ecs.tasks.launch import Wanted
from skylift.localcloud.ports import Document


class CheckedContainers(Protocol):
    """What health checks need of an ECS task's containers. ``TaskRun`` implements it."""

    async def check_program(self, name: str, words: Sequence[str]) -> Program | None:
        """How to run words in the container of that name; ``None`` if that is impossible."""
        ...


class HealthWatch:
    """One for each ECS task.

    Attributes:
        bell: set at every change of a container's health.
    """

    def __init__(
        self,
        task: EcsTask,
        wanted: Sequence[Wanted],
        containers: CheckedContainers,
        changes: TaskChanges,
        clock: Clock,
    ) -> None:
        self.bell = asyncio.Event()
        self._task = task
        self._containers = containers
        self._changes = changes
        self._clock = clock
        self._counted = [one.name for one in wanted if one.essential and check_of(one.definition)]
        self._watching: list[asyncio.Task[None]] = []

    def add(self, wanted: Wanted, container: RunningContainer) -> None:
        """Watches a container until it ends, if its definition has a health check."""
        check = check_of(wanted.definition)
        if check is None or container.ended.done():
            return
        document = self._task.container(wanted.name)
        run, told = partial(self._run, wanted.name), partial(self._tell, document)
        watching = asyncio.create_task(watch(check, Pulse(document["healthStatus"]), run, told, self._clock))
        container.ended.add_done_callback(lambda _: watching.cancel())
        self._watching.append(watching)

    def end(self) -> None:
        """Stops checking."""
        for watching in self._watching:
            watching.cancel()

    async def _run(self, name: str, check: HealthCheck) -> bool:
        program = await self._containers.check_program(name, check.words)
        return program is not None and await exit_code(program, check.timeout) == 0

    def _tell(self, document: Document, status: str) -> None:
        document["healthStatus"] = status
        counted = (self._task.container(name)["healthStatus"] for name in self._counted)
        self._task.document["healthStatus"] = task_health(counted)
        self.bell.set()
        self._changes.changed(self._task)
