"""Tells a service's load balancers and registries about its ECS tasks: adds one when it runs, removes it before it is
stopped, and waits for its last answers."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from skylift.core.clock import Clock
from skylift.localcloud.ecs.model.store import EcsService, EcsStore, EcsTask
from skylift.localcloud.ecs.tasks.changes import TaskChanges
from skylift.localcloud.ecs.tasks.discovery import Discovery
from skylift.localcloud.ports import Document, Targets
from skylift.wire.errors import AwsError

MOST_EVENTS = 100
"""DescribeServices shows the latest 100 events (API reference, Service)."""


def add_event(service: EcsService, now: float, message: str) -> None:
    """Adds a message to the top of a service's events: ``(service NAME) MESSAGE``."""
    text = f"(service {service.document['serviceName']}) {message}"
    events: list[Document] = service.document["events"]
    events.insert(0, {"id": str(uuid4()), "createdAt": now, "message": text})
    del events[MOST_EVENTS:]


class Balancing:
    """Adds ECS tasks to target groups and registries, and removes them."""

    def __init__(
        self, store: EcsStore, targets: Targets, discovery: Discovery, clock: Clock, changes: TaskChanges
    ) -> None:
        self._store = store
        self._targets = targets
        self._discovery = discovery
        self._clock = clock
        self._changes = changes

    async def enter(self, task: EcsTask) -> None:
        """Registers the ECS task in the target groups and registries of its service."""
        service = self.service_of(task)
        if service is None or task.registered:
            return
        if service.document["loadBalancers"] or service.document["serviceRegistries"]:
            task.registered = True
            await self._each(service, task, "registered", self._targets.register)
            self._note(service, await self._discovery.enter(service, task))

    async def leave(self, task: EcsTask) -> None:
        """Removes it again."""
        service = self.service_of(task)
        if service is not None and task.registered:
            task.registered = False
            self._note(service, await self._discovery.leave(task))
            await self._each(service, task, "deregistered", self._targets.deregister)

    async def drained(self, task: EcsTask) -> None:
        """Returns when the requests are answered that the ECS task got before it was removed."""
        service = self.service_of(task)
        for item in service.document["loadBalancers"] if service is not None else ():
            await self._targets.drained(item["targetGroupArn"], task.address, item["containerPort"])

    def health(self, task: EcsTask) -> str:
        """``healthy`` (also without a load balancer), ``initial``, or the ARN of a target group that considers it
        unhealthy."""
        service = self.service_of(task)
        states = {
            item["targetGroupArn"]: self._health(item, task)
            for item in (service.document["loadBalancers"] if service is not None else ())
        }
        if sick := [group for group, state in states.items() if state == "unhealthy"]:
            return str(sick[0])
        return "healthy" if set(states.values()) <= {"healthy", "unused"} else "initial"

    def _health(self, balancer: Document, task: EcsTask) -> str:
        if not task.registered:
            return "initial"
        try:
            return self._targets.health(balancer["targetGroupArn"], task.address, balancer["containerPort"])
        except AwsError:  # the target group was deleted: nobody checks any longer
            return "unused"

    def service_of(self, task: EcsTask) -> EcsService | None:
        """The service that an ECS task belongs to."""
        if not task.deployment:
            return None
        name = str(task.document["group"]).removeprefix("service:")
        return self._store.services.get((task.document["clusterArn"], name))

    async def _each(
        self, service: EcsService, task: EcsTask, word: str, verb: Callable[[str, str, int], object]
    ) -> None:
        for balancer in service.document["loadBalancers"]:
            group = balancer["targetGroupArn"]
            try:
                await verb(group, task.address, balancer["containerPort"])  # type: ignore[misc]
                add_event(service, self._clock(), f"{word} 1 targets in (target-group {group})")
            except AwsError as error:  # the service's owner can act: like ECS, we show it as an event
                add_event(service, self._clock(), f"was unable to have 1 targets {word} in {group}: {error.message}")
        self._store.keep(service)
        self._changes.service_changed(service)

    def _note(self, service: EcsService, failures: list[str]) -> None:
        for failure in failures:
            add_event(service, self._clock(), failure)
        if failures:
            self._store.keep(service)
            self._changes.service_changed(service)
