"""Serves ``ecs``: combines store, engine, service scheduler and operations."""

from __future__ import annotations

import os

from skylift.core.clock import Clock
from skylift.localcloud.containers.runner import ProcessRunner, Runner
from skylift.localcloud.containers.template import TEMPLATES, TemplateRunner
from skylift.localcloud.ecs.api.account import AccountOperations
from skylift.localcloud.ecs.api.capacity_providers import CapacityProviderOperations
from skylift.localcloud.ecs.api.clusters import ClusterOperations
from skylift.localcloud.ecs.api.definitions import TaskDefinitionOperations
from skylift.localcloud.ecs.api.execute import ExecuteOperations
from skylift.localcloud.ecs.api.instances import InstanceOperations
from skylift.localcloud.ecs.api.protection import ProtectionOperations
from skylift.localcloud.ecs.api.services import ServiceOperations
from skylift.localcloud.ecs.api.sessions import Sessions
from skylift.localcloud.ecs.api.tags import EcsTagOperations
from skylift.localcloud.ecs.api.tasks import TaskOperations
from skylift.localcloud.ecs.model.store import EcsStore
from skylift.localcloud.ecs.services.scheduler import ServiceScheduler
from skylift.localcloud.ecs.tasks.engine import Engine, Neighbours
from skylift.localcloud.ecs.tasks.make import TaskMaker
from skylift.localcloud.ecs.tasks.slots import Slots
from skylift.localcloud.events import Events, NoBus
from skylift.localcloud.ports import Change, CloudContext, nobody


class EcsProvider(
    ClusterOperations,
    CapacityProviderOperations,
    TaskDefinitionOperations,
    TaskOperations,
    ProtectionOperations,
    ServiceOperations,
    EcsTagOperations,
    AccountOperations,
    InstanceOperations,
    ExecuteOperations,
):
    """One method per operation (see ``wire.provider``); everything on one event loop.

    ``start`` before the first request, ``close`` after the last one.
    """

    service = "ecs"
    blocking = False

    def __init__(
        self,
        cloud: CloudContext,
        neighbours: Neighbours,
        clock: Clock,
        on_change: Change = nobody,
        runner: Runner | None = None,
        events: Events | None = None,
        slots: Slots | None = None,
    ) -> None:
        """Opens ``cloud.db`` in the cloud's folder; nothing runs yet. Without ``events`` none are sent."""
        cloud.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        events = events or Events(cloud, NoBus(), clock)
        store = EcsStore(cloud.database, events)
        self._runner = runner or TemplateRunner(
            ProcessRunner(), cloud.folder / "templates", most=TEMPLATES.read(os.environ)
        )
        engine = Engine(cloud, store, self._runner, neighbours, clock, on_change, events, slots)
        maker = TaskMaker(cloud, store, clock)
        super().__init__(cloud, store, engine, ServiceScheduler(engine, maker, neighbours.capacity), maker)
        self.sessions = Sessions(cloud.endpoint, clock)

    async def start(self) -> None:
        """Adopts earlier state: containers that still run, and services."""
        await self.engine.start()
        self.scheduler.start()

    async def close(self) -> None:
        """Ends all containers; records stay on disk. Safe to call without ``start``."""
        self.scheduler.close()
        await self.engine.close()
        await self._runner.close()
        self.scheduler.close()
        self.store.close()
