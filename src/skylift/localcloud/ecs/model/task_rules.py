"""What Fargate, the network mode and the size of an ECS task do not allow its containers. Pure.

Sources: "Amazon ECS task definition parameters for Fargate", "Amazon ECS task definition differences for Fargate" and
ContainerDefinition, LinuxParameters, PortMapping in the API reference. AWS's texts are not documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.localcloud.ecs.model.shapes import client_error
from skylift.localcloud.ports import Document

_NOT_ON_FARGATE = ("disableNetworking", "dockerSecurityOptions", "privileged")
_NOT_ON_FARGATE_LINUX = ("devices", "maxSwap", "sharedMemorySize", "swappiness", "tmpfs")
_NOT_ON_FARGATE_TASK = ("inferenceAccelerators", "ipcMode", "placementConstraints")
_NOT_IN_AWSVPC = ("dnsSearchDomains", "dnsServers", "extraHosts", "hostname")
_ONLY_CAPABILITY = frozenset({"SYS_PTRACE"})


def check_fargate_task(definition: Mapping[str, Any]) -> None:
    """Refuses what Fargate does not have for a whole ECS task."""
    for member in _NOT_ON_FARGATE_TASK:
        if definition.get(member):
            raise client_error(f"Fargate does not support {member}.")
    if definition.get("pidMode", "task") != "task":
        raise client_error("Fargate only supports pid mode 'task'.")
    for volume in definition.get("volumes", ()):
        if volume.get("host", {}).get("sourcePath") or volume.get("dockerVolumeConfiguration"):
            name = volume.get("name", "")
            raise client_error(f"Volume '{name}': Fargate supports neither host.sourcePath nor Docker volumes.")


def check_fargate_container(container: Document) -> None:
    """Refuses what Fargate does not have for a container."""
    name, linux = container["name"], container.get("linuxParameters", {})
    for member in _NOT_ON_FARGATE:
        if container.get(member):
            raise client_error(f"Container '{name}': Fargate does not support {member}.")
    for member in _NOT_ON_FARGATE_LINUX:
        if linux.get(member):
            raise client_error(f"Container '{name}': Fargate does not support linuxParameters.{member}.")
    if foreign := sorted(set(linux.get("capabilities", {}).get("add", ())) - _ONLY_CAPABILITY):
        raise client_error(f"Container '{name}': Fargate does not support adding capabilities: {', '.join(foreign)}")
    if any(one["type"] != "InferenceAccelerator" for one in container.get("resourceRequirements", ())):
        raise client_error(f"Container '{name}': Fargate does not support resource requirements of type GPU.")


def check_awsvpc_container(container: Document) -> None:
    """Refuses what the network mode ``awsvpc`` does not have."""
    name = container["name"]
    for member in _NOT_IN_AWSVPC:
        if container.get(member):
            raise client_error(f"Container '{name}': {member} is not supported when networkMode=awsvpc.")
    for mapping in container.get("portMappings", ()):
        host = mapping.get("hostPort") or mapping.get("containerPort")
        if host != mapping.get("containerPort"):
            raise client_error(
                "When networkMode=awsvpc, the host ports and container ports in port mappings must match."
            )


def check_sums(containers: list[Document], cpu: int | None, memory: int | None) -> None:
    """Refuses containers that reserve more than their ECS task has.

    Args:
        containers: of the task definition.
        cpu, memory: of the ECS task, in CPU units and MiB; ``None``: it sets none.
    """
    for container in containers:
        reserved, limit = container.get("memoryReservation"), container.get("memory")
        if reserved and limit and reserved > limit:
            raise client_error(f"Container '{container['name']}': memoryReservation must not be more than memory.")
    wanted = sum(container.get("cpu") or 0 for container in containers)
    if cpu and wanted > cpu:
        raise client_error(f"The containers' cpu ({wanted}) is more than the cpu of the task ({cpu}).")
    taken = sum(container.get("memoryReservation") or container.get("memory") or 0 for container in containers)
    if memory and taken > memory:
        raise client_error(f"The containers' memory ({taken} MiB) is more than the memory of the task ({memory} MiB).")
