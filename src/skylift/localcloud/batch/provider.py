"""Serves ``batch``: combines store, engine and operations, on top of ECS."""

from __future__ import annotations

from skylift.core.clock import Clock
from skylift.localcloud.batch.definitions import JobDefinitionOperations
from skylift.localcloud.batch.endings import EndingOperations
from skylift.localcloud.batch.engine import BatchEngine
from skylift.localcloud.batch.environments import EnvironmentOperations
from skylift.localcloud.batch.queues import QueueOperations, SchedulingPolicyOperations
from skylift.localcloud.batch.store import BatchStore
from skylift.localcloud.batch.submissions import SubmissionOperations
from skylift.localcloud.batch.tags import BatchTagOperations
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ports import AlwaysRoom, Capacity, Change, nobody


class BatchProvider(
    EnvironmentOperations,
    QueueOperations,
    SchedulingPolicyOperations,
    JobDefinitionOperations,
    SubmissionOperations,
    EndingOperations,
    BatchTagOperations,
):
    """One method per operation (see ``wire.provider``); everything on ECS's event loop.

    ``recover`` before ECS starts, ``begin`` after it, ``close`` after ECS has closed.
    """

    service = "batch"
    blocking = False

    def __init__(
        self, ecs: EcsProvider, clock: Clock, on_change: Change = nobody, capacity: Capacity | None = None
    ) -> None:
        """Opens Batch's tables in ECS's ``cloud.db``; attempts share ECS's slots and its events.

        Args:
            capacity: asked before anything of a queue is started; ``None``: there is always room.
        """
        store = BatchStore(ecs.cloud.database)
        super().__init__(ecs, store, BatchEngine(ecs, store, clock, on_change, capacity or AlwaysRoom()), clock)

    async def recover(self) -> None:
        """Updates stored jobs from ECS's records."""
        self.engine.recover()

    def begin(self) -> None:
        """Attempts start from now on."""
        self.engine.begin()

    async def close(self) -> None:
        """Stops starting attempts and closes the store. Safe to call without ``begin``."""
        self.engine.close()
        self.store.close()
