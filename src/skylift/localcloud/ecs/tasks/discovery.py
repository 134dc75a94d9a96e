"""Tells Cloud Map about the ECS tasks of services that have ``serviceRegistries``: an ECS task is an instance while it
runs, under its own id, and its container health checks are the instance's custom health.

Source: developer guide, "Use service discovery to connect Amazon ECS services with DNS names" (attributes; without
container health checks an ECS task counts as healthy). No name resolves here: DiscoverInstances answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from skylift.localcloud.ecs.model.health import HEALTHY, check_of
from skylift.localcloud.ecs.model.shapes import last_word
from skylift.localcloud.ecs.model.store import EcsService, EcsStore, EcsTask
from skylift.localcloud.ecs.tasks.changes import TaskChanges, TaskListener
from skylift.localcloud.ports import CloudContext, Registries
from skylift.wire.errors import AwsError

_THIS_MACHINE = "127.0.0.1"
"""The address of an ECS task that has none of its own (bridge, host)."""


def is_checked(store: EcsStore, task: EcsTask) -> bool:
    """Whether an essential container of an ECS task has a health check."""
    definition = store.definitions[task.document["taskDefinitionArn"]]
    return any(item.get("essential", True) and check_of(item) for item in definition["containerDefinitions"])


class Discovery(TaskListener):
    """Registers ECS tasks in Cloud Map, keeps their health there, and deregisters them."""

    def __init__(self, cloud: CloudContext, store: EcsStore, registries: Registries, changes: TaskChanges) -> None:
        self._cloud = cloud
        self._store = store
        self._registries = registries
        self._told: dict[str, bool] = {}
        self._telling: set[asyncio.Task[None]] = set()
        changes.listen(self)

    async def enter(self, service: EcsService, task: EcsTask) -> list[str]:
        """Registers the ECS task in its service's registries; returns what failed, in words for the service's
        events."""
        failures = []
        healthy = self._is_healthy(task)
        for registry in service.document["serviceRegistries"]:
            arn = registry["registryArn"]
            attributes = self._attributes(service, task, registry, healthy)
            try:
                await self._registries.register(arn, task.id, attributes)
                task.registries.append(arn)
            except AwsError as error:
                failures.append(f"was unable to register (task {task.id}) in {arn}: {error.message}")
        self._told[task.id] = healthy
        self._store.keep(task)
        self.task_changed(task)
        return failures

    async def leave(self, task: EcsTask) -> list[str]:
        """Removes it again; returns what failed."""
        failures, registries, task.registries = [], task.registries, []
        self._told.pop(task.id, None)
        for arn in registries:
            try:
                await self._registries.deregister(arn, task.id)
            except AwsError as error:
                failures.append(f"was unable to deregister (task {task.id}) from {arn}: {error.message}")
        return failures

    def task_changed(self, task: EcsTask) -> None:
        """Reports its health, if that has changed."""
        healthy = self._is_healthy(task) if task.registries else None
        if healthy is None or self._told.get(task.id) == healthy:
            return
        self._told[task.id] = healthy
        telling = asyncio.ensure_future(self._report(list(task.registries), task.id, healthy))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _report(self, registries: list[str], instance: str, healthy: bool) -> None:
        for arn in registries:
            with contextlib.suppress(AwsError):  # deregistered or deleted meanwhile
                await self._registries.report(arn, instance, healthy)

    def _is_healthy(self, task: EcsTask) -> bool:
        return task.document["healthStatus"] == HEALTHY or not is_checked(self._store, task)

    def _attributes(
        self, service: EcsService, task: EcsTask, registry: Mapping[str, Any], healthy: bool
    ) -> dict[str, str]:
        definition = self._store.definitions[task.document["taskDefinitionArn"]]
        port = registry.get("port") or _host_port(definition, registry, own=bool(task.address))
        return {
            "AVAILABILITY_ZONE": task.document["availabilityZone"],
            "AWS_INIT_HEALTH_STATUS": HEALTHY if healthy else "UNHEALTHY",
            "AWS_INSTANCE_IPV4": task.address or _THIS_MACHINE,
            **({"AWS_INSTANCE_PORT": str(port)} if port else {}),
            "ECS_CLUSTER_NAME": last_word(task.document["clusterArn"]),
            "ECS_SERVICE_NAME": service.document["serviceName"],
            "ECS_TASK_DEFINITION_FAMILY": definition["family"],
            "REGION": self._cloud.region,
        }


def _host_port(definition: Mapping[str, Any], registry: Mapping[str, Any], *, own: bool) -> int:
    """The port at the ECS task's address: with an address of its own, the container's."""
    wanted = int(registry.get("containerPort") or 0)
    for container in definition["containerDefinitions"]:
        for mapping in container.get("portMappings", ()):
            if container["name"] == registry.get("containerName") and mapping.get("containerPort") == wanted:
                return wanted if own else int(mapping.get("hostPort") or wanted)
    return wanted
