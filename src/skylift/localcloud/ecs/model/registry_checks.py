"""What CreateService and UpdateService refuse of ``serviceRegistries``. Pure.

Sources: API reference (ServiceRegistry), and AWS's own texts as people have reported them for Terraform's
``aws_ecs_service``: an A record takes no port, an SRV record needs one, and outside awsvpc only a container's port is
known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skylift.localcloud.ecs.model.shapes import invalid

Records = Callable[[str], frozenset[str]]
"""The types of a Cloud Map service's DNS records, by its ARN; raises ``AwsError``: there is none."""
_PORTS = ("port", "containerName", "containerPort")


def check_registries(
    registries: Sequence[Mapping[str, Any]], definition: Mapping[str, Any], records_of: Records
) -> None:
    """Refuses registries that ECS would not accept for this task definition (``InvalidParameterException``)."""
    if len(registries) > 1:
        raise invalid("A service can have one service registry only.")
    for registry in registries:
        _check(registry, definition, records_of(registry.get("registryArn", "")))


def _check(registry: Mapping[str, Any], definition: Mapping[str, Any], records: frozenset[str]) -> None:
    of = f" Registry: {registry['registryArn']}"
    named = [member for member in _PORTS if registry.get(member)]
    whole = {"containerName", "containerPort"} <= {*named}
    if definition.get("networkMode") != "awsvpc" and not whole:
        raise invalid(
            "When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and 'containerPort' must "
            f"be specified from the task definition.{of}"
        )
    odd = bool(named) and not whole and named != ["port"]
    if odd or len(named) == len(_PORTS) or ("SRV" in records and not named):
        raise invalid(
            "Specify a value for either 'port' or the 'containerName' and 'containerPort' combination, but not both."
            f"{of}"
        )
    if records and "SRV" not in records and named and definition.get("networkMode") == "awsvpc":
        raise invalid(
            f"The values specified for serviceRegistries do not require a value for '{named[-1]}'. Remove the value "
            f"and retry.{of}"
        )
    if whole:
        _check_container(registry, definition, of)


def _check_container(registry: Mapping[str, Any], definition: Mapping[str, Any], of: str) -> None:
    containers = {item["name"]: item for item in definition["containerDefinitions"]}
    container = containers.get(registry["containerName"])
    if container is None:
        raise invalid(
            f"The container {registry['containerName']} is not valid. The value for 'containerName' must already be "
            f"specified in the task definition.{of}"
        )
    if registry["containerPort"] not in {port.get("containerPort") for port in container.get("portMappings", ())}:
        raise invalid(
            f"The container port {registry['containerPort']} is not valid. The value for 'containerPort' must already "
            f"be specified in the task definition.{of}"
        )
