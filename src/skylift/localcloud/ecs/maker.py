"""Makes ECS tasks for RunTask and for services: knows which addresses are taken and which was given last."""

from __future__ import annotations

from skylift.core.clock import Clock
from skylift.localcloud.ecs.birth import Order, first_address, make_tasks
from skylift.localcloud.ecs.ports import Place
from skylift.localcloud.ecs.store import EcsTask, Store


class Maker:
    """Gives every ECS task its address. After a restart it goes on behind the newest one."""

    def __init__(self, place: Place, store: Store, clock: Clock) -> None:
        self._place = place
        self._store = store
        self._clock = clock
        self._last = store.newest_address() or first_address(place.folder)

    def make(self, order: Order, count: int) -> list[EcsTask]:
        """``count`` new ECS tasks, not yet accepted."""
        tasks = make_tasks(self._place, order, count, self._store.addresses, self._last, self._clock())
        self._last = tasks[-1].address or self._last
        return tasks
