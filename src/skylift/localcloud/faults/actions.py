"""What faults do to ECS and to events: reclaim Spot, kill containers, lose, duplicate or delay events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from skylift.localcloud.ecs.model.lifecycle import TaskState
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.tasks.engine import Engine
from skylift.localcloud.events import Bus
from skylift.localcloud.faults.effects import Fault, last_word
from skylift.localcloud.faults.plan import Action, Faults
from skylift.localcloud.ports import Document

SPOT = "FARGATE_SPOT"


def ecs_actions(engine: Engine) -> Mapping[str, Action]:
    """The faults that act once, immediately, by kind."""

    def reclaim(fault: Fault) -> int:
        spot = [task for task in _chosen(engine, fault) if task.document.get("capacityProviderName") == SPOT]
        struck = [task for task in spot if task.wanted and fault.strikes()]
        for task in struck:
            engine.reclaim_spot(task, fault.values["warning"])
        return len(struck)

    def kill(fault: Fault) -> int:
        struck = [task for task in _chosen(engine, fault) if fault.strikes()]
        return sum(engine.kill(task, fault.values["container"]) for task in struck)

    return {"spot": reclaim, "kill": kill}


class FaultyBus(Bus):
    """Wraps the bus: loses, duplicates or delays events. Delayed events are only in memory.

    Args:
        faults: which events are hit.
        bus: delivers them.
    """

    def __init__(self, faults: Faults, bus: Bus) -> None:
        self._faults = faults
        self._bus = bus

    def wanted(self) -> bool:
        return self._bus.wanted()

    def put(self, event: Document) -> None:
        """Delivers an event now, later, twice or never. Call it on the event loop."""
        for delay in self._faults.event_delays(str(event["source"])):
            if delay:
                asyncio.get_running_loop().call_later(delay, self._bus.put, event)
            else:
                self._bus.put(event)

    async def kept(self) -> None:
        await self._bus.kept()


def _chosen(engine: Engine, fault: Fault) -> Iterable[EcsTask]:
    """The running ECS tasks in the fault's scope, oldest first."""
    wanted, cluster = last_word(fault.values["task"]), fault.values["cluster"]
    return [
        task
        for task in list(engine.store.alive.values())
        if task.state is TaskState.RUNNING
        and wanted in {"", task.id}
        and cluster in {"", last_word(task.document["clusterArn"])}
    ]
