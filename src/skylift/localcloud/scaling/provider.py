"""Serves ``application-autoscaling``: combines store, scaler and operations, on top of ECS."""

from __future__ import annotations

import asyncio
import contextlib

from skylift.core.clock import Clock
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.model.lifecycle import ServiceState
from skylift.localcloud.ecs.model.store import EcsService
from skylift.localcloud.occurrences import Cron
from skylift.localcloud.scaling.interfaces import ScaledServices, ScalingMetrics
from skylift.localcloud.scaling.policies import PolicyOperations
from skylift.localcloud.scaling.scaler import Scaler
from skylift.localcloud.scaling.scheduled import ScheduledActionOperations
from skylift.localcloud.scaling.store import ScalingStore
from skylift.localcloud.scaling.targets import TargetOperations
from skylift.wire.provider import Caller


class ScalingProvider(TargetOperations, PolicyOperations, ScheduledActionOperations):
    """One method per operation (see ``wire.provider``); everything on ECS's event loop."""

    service = "application-autoscaling"
    blocking = False

    def __init__(self, ecs: EcsProvider, metrics: ScalingMetrics, cron: Cron, clock: Clock) -> None:
        """Opens its table in ECS's ``cloud.db``; nothing is scaled before ``start``.

        Args:
            cron: understands cron expressions.
        """
        store = ScalingStore(ecs.cloud.database)
        super().__init__(store, Scaler(store, _EcsServices(ecs), metrics, cron, clock), clock)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to scale. ECS must run."""
        self._running = asyncio.ensure_future(self.scaler.run())

    async def stop(self) -> None:
        """Ends the scaling. Safe to call twice."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
            self._running = None
        self.store.close()


class _EcsServices(ScaledServices):
    """ECS in this process."""

    def __init__(self, ecs: EcsProvider) -> None:
        self._ecs = ecs
        cloud = ecs.cloud
        self._caller = Caller("", f"arn:aws:iam::{cloud.account}:root", cloud.account, cloud.region)

    def desired(self, resource: str) -> int | None:
        found = self._found(resource)
        return int(found.document["desiredCount"]) if found is not None else None

    def change(self, resource: str, count: int) -> None:
        _, cluster, service = resource.split("/")
        self._ecs.update_service(self._caller, {"cluster": cluster, "service": service, "desiredCount": count})

    def _found(self, resource: str) -> EcsService | None:
        _, cluster, service = resource.split("/")
        known = self._ecs.store.clusters.get(cluster)
        found = self._ecs.store.services.get((known["clusterArn"], service)) if known is not None else None
        return found if found is not None and found.document["status"] == ServiceState.ACTIVE else None
