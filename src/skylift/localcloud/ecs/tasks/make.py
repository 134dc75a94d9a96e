"""Makes ECS tasks: the document as RunTask returns it, ids, and the loopback address in place of a network
interface."""

from __future__ import annotations

import hashlib
import ipaddress
import platform
import secrets
import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.ecs.model.checks import cpu_units, memory_mib
from skylift.localcloud.ecs.model.lifecycle import TaskState
from skylift.localcloud.ecs.model.shapes import ecs_arn, last_word, merged_tags, new_id
from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ecs.model.strategy import FARGATE_PROVIDERS, choose
from skylift.localcloud.ports import CloudContext, Document

PLATFORM_VERSION = "1.4.0"
_NETWORK = ipaddress.ip_network("127.64.0.0/16")
_EDGE_ADDRESSES = 2
"""The first and the last address of the network are not used."""


@dataclass(frozen=True)
class TaskRequest:
    """What to make; the same for every ECS task of one call, except its capacity provider.

    Attributes:
        definition: the task definition.
        cluster_arn: the cluster.
        request: the RunTask request, or the service's document: launch type, network, overrides, tags, startedBy.
        group: ``family:...`` or ``service:...``.
        deployment: id of the service deployment, or empty.
        tags: of every ECS task.
        placed: how many of the service's ECS tasks each capacity provider has already.
    """

    definition: Document
    cluster_arn: str
    request: Mapping[str, Any]
    group: str
    deployment: str = ""
    tags: list[dict[str, str]] = field(default_factory=list)
    placed: Mapping[str, int] = field(default_factory=dict)


class TaskMaker:
    """Gives every ECS task its address. After a restart it continues after the newest one."""

    def __init__(self, place: CloudContext, store: EcsStore, clock: Clock) -> None:
        self._place = place
        self._store = store
        self._clock = clock
        self._last = store.newest_address() or first_address(place.folder)

    def make(self, order: TaskRequest, count: int) -> list[EcsTask]:
        """``count`` new ECS tasks, not yet accepted."""
        tasks = make_tasks(self._place, order, count, self._store.addresses, self._last, self._clock())
        self._last = tasks[-1].address or self._last
        return tasks


def make_tasks(
    place: CloudContext, order: TaskRequest, count: int, taken: Set[str], last: str, now: float
) -> list[EcsTask]:
    """``count`` ECS tasks in PROVISIONING. ``taken`` are addresses in use, ``last`` the last one assigned (or
    empty)."""
    awsvpc = order.definition.get("networkMode") == "awsvpc"
    addresses = free_addresses(count, taken, last) if awsvpc else [""] * count
    strategy = order.request.get("capacityProviderStrategy")
    providers = choose(strategy, order.placed, count) if strategy else [""] * count
    return [_make(place, order, address, provider, now) for address, provider in zip(addresses, providers, strict=True)]


def free_addresses(count: int, taken: Set[str], last: str) -> list[str]:
    """Loopback addresses for ECS tasks, in a cycle so that one is not reused soon. Linux answers on all of
    127/8."""
    if sys.platform != "linux":
        return ["127.0.0.1"] * count
    size = _NETWORK.num_addresses
    start = int(ipaddress.ip_address(last)) - int(_NETWORK.network_address) if last else 0
    found: list[str] = []
    for step in range(1, size):
        position = (start + step) % size
        address = str(_NETWORK.network_address + position)
        if 0 < position < size - _EDGE_ADDRESSES and address not in taken:
            found.append(address)
        if len(found) == count:
            break
    return found


def first_address(folder: Path) -> str:
    """Where a new local cloud begins: computed from its folder, so that two on one machine rarely collide."""
    one, two = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=2).digest()
    return f"127.64.{one}.{two}"


def task_tags(
    request: Mapping[str, Any],
    definition: Document,
    cluster: str,
    service: str = "",
    service_tags: Iterable[dict[str, str]] = (),
) -> list[dict[str, str]]:
    """Tags of a new ECS task: the call's own, those from ``propagateTags``, and those from ``enableECSManagedTags`` (by
    name)."""
    inherited: Iterable[dict[str, str]] = ()
    if request.get("propagateTags") == "TASK_DEFINITION":
        inherited = definition.get("tags", ())
    elif request.get("propagateTags") == "SERVICE":
        inherited = service_tags
    tags = merged_tags(inherited, request.get("tags", ()))
    if request.get("enableECSManagedTags"):
        managed = {"aws:ecs:clusterName": cluster, **({"aws:ecs:serviceName": service} if service else {})}
        tags += [{"key": key, "value": value} for key, value in managed.items()]
    return tags


def _make(place: CloudContext, order: TaskRequest, address: str, provider: str, now: float) -> EcsTask:
    definition, request, task_id = order.definition, order.request, new_id()
    cluster = last_word(order.cluster_arn)
    task_arn = ecs_arn(place, "task", cluster, task_id)
    overrides = request.get("overrides", {})
    attachment = _attachment(place, request, address, task_id) if address else None
    containers = [
        _container(place, task_arn, task_id, item, attachment, address) for item in definition["containerDefinitions"]
    ]
    fargate = _on_fargate(request, definition, provider)
    document: Document = {
        "attachments": [attachment] if attachment else [],
        "attributes": [{"name": "ecs.cpu-architecture", "value": _architecture()}],
        "availabilityZone": f"{place.region}a",
        "clusterArn": order.cluster_arn,
        "connectivity": "DISCONNECTED",
        "containers": containers,
        "cpu": str(cpu_units(overrides.get("cpu") or definition.get("cpu")) or 0),
        "createdAt": now,
        "desiredStatus": TaskState.RUNNING,
        "enableExecuteCommand": bool(request.get("enableExecuteCommand", False)),
        "group": order.group,
        "healthStatus": "UNKNOWN",
        "lastStatus": TaskState.PROVISIONING,
        "memory": str(memory_mib(overrides.get("memory") or definition.get("memory")) or 0),
        "overrides": {"containerOverrides": [{"name": item["name"]} for item in containers], **overrides},
        "tags": order.tags,
        "taskArn": task_arn,
        "taskDefinitionArn": definition["taskDefinitionArn"],
        "version": 1,
        **_launched_on(request, fargate),
        **({"capacityProviderName": provider} if provider else {}),
    }
    if started_by := order.deployment or request.get("startedBy"):
        document["startedBy"] = started_by
    folders = {item["name"]: f"{task_id[:12]}-{number}" for number, item in enumerate(containers)}
    network = request.get("networkConfiguration", {}).get("awsvpcConfiguration", {}) if attachment else {}
    return EcsTask(
        document,
        address,
        secrets.token_urlsafe(24),
        folders,
        deployment=order.deployment,
        groups=list(network.get("securityGroups", ())),
        public=network.get("assignPublicIp") == "ENABLED",
    )


def _launched_on(request: Mapping[str, Any], fargate: bool) -> Document:
    if not fargate:
        return {"launchType": request.get("launchType") or "EC2"}
    version = request.get("platformVersion") or "LATEST"
    return {
        "launchType": "FARGATE",
        "platformVersion": PLATFORM_VERSION if version == "LATEST" else version,
        "platformFamily": "Linux",
        "ephemeralStorage": {"sizeInGiB": 20},
    }


def _on_fargate(request: Mapping[str, Any], definition: Document, provider: str) -> bool:
    if request.get("launchType"):
        return bool(request["launchType"] == "FARGATE")
    return provider in FARGATE_PROVIDERS if provider else "FARGATE" in definition.get("requiresCompatibilities", ())


def _container(
    place: CloudContext, task_arn: str, task_id: str, definition: Document, attachment: Document | None, address: str
) -> Document:
    container_id = new_id()
    interfaces = [{"attachmentId": attachment["id"], "privateIpv4Address": address}] if attachment else []
    return {
        "containerArn": ecs_arn(place, "container", task_arn.split("/")[-2], task_id, container_id),
        "taskArn": task_arn,
        "name": definition["name"],
        "image": definition["image"],
        "runtimeId": f"{task_id}-{int(container_id[:8], 16):010d}",
        "lastStatus": TaskState.PENDING,
        "networkBindings": [],
        "networkInterfaces": interfaces,
        "healthStatus": "UNKNOWN",
        "cpu": str(definition.get("cpu", 0)),
        **({"memory": str(definition["memory"])} if "memory" in definition else {}),
        **({"memoryReservation": str(definition["memoryReservation"])} if "memoryReservation" in definition else {}),
    }


def _attachment(place: CloudContext, request: Mapping[str, Any], address: str, task_id: str) -> Document:
    network = request["networkConfiguration"]["awsvpcConfiguration"]
    tail = hashlib.sha256(task_id.encode()).hexdigest()
    mac = ":".join(("0a", *(tail[at : at + 2] for at in range(0, 10, 2))))
    values = {
        "subnetId": network["subnets"][0],
        "networkInterfaceId": f"eni-{tail[:17]}",
        "macAddress": mac,
        "privateDnsName": f"ip-{address.replace('.', '-')}.{place.region}.compute.internal",
        "privateIPv4Address": address,
    }
    details = [{"name": name, "value": value} for name, value in values.items()]
    ident = f"{tail[:8]}-{tail[8:12]}-{tail[12:16]}-{tail[16:20]}-{tail[20:32]}"
    return {"id": ident, "type": "ElasticNetworkInterface", "status": "PRECREATED", "details": details}


def _architecture() -> str:
    return "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
