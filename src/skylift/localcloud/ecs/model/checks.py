"""What RegisterTaskDefinition and RunTask refuse beyond botocore's model. Pure; each rule with its source.

Sources: "Amazon ECS task definition parameters for Fargate" (sizes, network mode), "Specifying sensitive data"
(secrets), "Using the awslogs log driver" (log options), API reference of RunTask (overrides, count, network
configuration).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skylift.core.numbers import natural
from skylift.localcloud.containers.ulimits import refused, ulimits_of
from skylift.localcloud.ecs.model.environment_files import wrong_files
from skylift.localcloud.ecs.model.health import refuse_bad_check
from skylift.localcloud.ecs.model.shapes import client_error, invalid
from skylift.localcloud.ecs.model.task_rules import (
    check_awsvpc_container,
    check_fargate_container,
    check_fargate_task,
    check_sums,
)
from skylift.localcloud.ecs.model.volumes import check_volumes
from skylift.localcloud.ports import Document

MOST_OVERRIDE_CHARACTERS = 8192
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_TOKEN = re.compile(r"[!-~]{1,64}")
_AWSLOGS = frozenset(
    {
        "awslogs-create-group",
        "awslogs-datetime-format",
        "awslogs-endpoint",
        "awslogs-group",
        "awslogs-multiline-pattern",
        "awslogs-region",
        "awslogs-stream-prefix",
        "max-buffer-size",
        "mode",
    }
)
_GIB = 1024
FARGATE_MEMORY = {
    256: frozenset({512, 1024, 2048}),
    512: frozenset(range(1 * _GIB, 4 * _GIB + 1, _GIB)),
    1024: frozenset(range(2 * _GIB, 8 * _GIB + 1, _GIB)),
    2048: frozenset(range(4 * _GIB, 16 * _GIB + 1, _GIB)),
    4096: frozenset(range(8 * _GIB, 30 * _GIB + 1, _GIB)),
    8192: frozenset(range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB)),
    16384: frozenset(range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB)),
    32768: frozenset({60 * _GIB, 120 * _GIB, 180 * _GIB, 240 * _GIB, 244 * _GIB}),
}
"""CPU units -> MiB that Fargate offers with them."""


def check_definition(request: Mapping[str, Any], host_folders: Sequence[Path] = ()) -> None:
    """Refuses a task definition that ECS would not register (``ClientException``).

    Args:
        request: RegisterTaskDefinition's.
        host_folders: folders of this machine that volumes may name.
    """
    if not _NAME.fullmatch(request["family"]):
        raise client_error("Invalid family name: up to 255 letters, numbers, underscores and hyphens are allowed.")
    containers = request["containerDefinitions"]
    if not containers:
        raise client_error("TaskDefinition must have at least one container definition.")
    fargate = "FARGATE" in request.get("requiresCompatibilities", ())
    if fargate:
        _check_fargate(request)
    names = [container.get("name", "") for container in containers]
    if len(set(names)) != len(names):
        raise client_error("Container names must be unique in a task definition.")
    for container in containers:
        _check_container(container, fargate, request)
    check_sums(containers, cpu_units(request.get("cpu")), memory_mib(request.get("memory")))
    if not any(container.get("essential", True) for container in containers):
        raise client_error("No essential containers in the task definition: at least one must be essential.")
    _check_order({container["name"]: container for container in containers})
    check_volumes(request, host_folders)


def _check_fargate(request: Mapping[str, Any]) -> None:
    if request.get("networkMode") != "awsvpc":
        raise client_error("Fargate only supports network mode 'awsvpc'.")
    cpu, memory = cpu_units(request.get("cpu")), memory_mib(request.get("memory"))
    if cpu is None or memory is None:
        raise client_error("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    check_fargate_size(cpu, memory)
    check_fargate_task(request)


def check_fargate_size(cpu: int, memory: int) -> None:
    """Refuses a pair of CPU units and MiB that Fargate does not offer."""
    if memory not in FARGATE_MEMORY.get(cpu, ()):
        raise client_error(
            "No Fargate configuration exists for given values: "
            f"{cpu} CPU, {memory} memory. See the Amazon ECS documentation for the valid values."
        )


def cpu_units(text: str | None) -> int | None:
    """``"1024"`` and ``"1 vCPU"`` are both 1024. Raises ``ClientException`` for anything else."""
    return _amount(text, r"\s*vcpu", 1024, "cpu")


def memory_mib(text: str | None) -> int | None:
    """``"2048"`` and ``"2 GB"`` are both 2048. Raises ``ClientException`` for anything else."""
    return _amount(text, r"\s*gb", 1024, "memory")


def _amount(text: str | None, unit: str, factor: int, what: str) -> int | None:
    if not text:
        return None
    if match := re.fullmatch(rf"([0-9.]+?){unit}", text, re.IGNORECASE):
        try:
            return round(float(match[1]) * factor)
        except (ValueError, OverflowError):
            pass
    elif (amount := natural(text)) is not None:
        return amount
    raise client_error(f"Invalid '{what}' setting for task: {text}")


def _check_container(container: Document, fargate: bool, definition: Mapping[str, Any]) -> None:
    name = container.get("name", "")
    if not _NAME.fullmatch(name):
        raise client_error(f"Invalid container name '{name}': up to 255 letters, numbers, underscores and hyphens.")
    if not container.get("image"):
        raise client_error("Container.image should not be null or empty.")
    if fargate and not 0 <= container.get("stopTimeout", 30) <= 120:
        raise client_error("The stopTimeout of a container on Fargate must be between 0 and 120 seconds.")
    if not fargate and not (definition.get("memory") or container.get("memory") or container.get("memoryReservation")):
        raise client_error(
            f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be "
            "specified."
        )
    if fargate and not 2 <= container.get("startTimeout", 2) <= 120:
        raise client_error("The startTimeout of a container on Fargate must be between 2 and 120 seconds.")
    if "healthCheck" in container:
        refuse_bad_check(name, container["healthCheck"])
    if bad := refused(ulimits_of(container)):
        raise client_error(f"Container '{name}': ulimit {bad}: softLimit must not be above hardLimit.")
    if fargate:
        check_fargate_container(container)
    if definition.get("networkMode") == "awsvpc":
        check_awsvpc_container(container)
    _check_unserved(container)
    _check_secrets(container, definition)
    _check_files(container, definition)
    _check_logging(container, fargate, definition)


def _check_unserved(container: Document) -> None:
    """Refuses what ECS has but this local cloud does not; does not silently ignore it."""
    for member in ("links", "firelensConfiguration"):
        if container.get(member):
            raise client_error(f"Container '{container['name']}': {member} is not supported by skylift's local cloud.")


def _check_secrets(container: Document, definition: Mapping[str, Any]) -> None:
    secrets = container.get("secrets", ())
    if secrets and not definition.get("executionRoleArn"):
        raise client_error(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
        )
    plain = {pair.get("name") for pair in container.get("environment", ())}
    names = [secret["name"] for secret in secrets]
    doubled = sorted({name for name in names if name in plain or names.count(name) > 1})
    if doubled:
        raise client_error(
            f"The secret name must be unique and not shared with any new or existing environment variables: {doubled}"
        )


def _check_files(container: Document, definition: Mapping[str, Any]) -> None:
    files = container.get("environmentFiles", ())
    if wrong := wrong_files(files):
        raise client_error(wrong)
    if files and not definition.get("executionRoleArn"):
        raise client_error(
            "When you are specifying container environmentFiles, you must also specify a value for 'executionRoleArn'."
        )


def _check_logging(container: Document, fargate: bool, definition: Mapping[str, Any]) -> None:
    configuration = container.get("logConfiguration")
    if not configuration:
        return
    if configuration["logDriver"] != "awslogs":
        raise client_error(
            f"Log driver {configuration['logDriver']} is not supported by skylift's local cloud: use awslogs."
        )
    options = configuration.get("options", {})
    needed = ["awslogs-group", "awslogs-region", *(["awslogs-stream-prefix"] if fargate else [])]
    if foreign := sorted(set(options) - _AWSLOGS):
        raise client_error(f"Log driver awslogs disallows options: {', '.join(foreign)}")
    missing = [option for option in needed if not options.get(option)]
    if missing:
        raise client_error(f"Log driver awslogs requires options: {', '.join(missing)}")
    if options.get("awslogs-create-group", "true") != "true":
        raise client_error("The log driver option awslogs-create-group must be 'true' when it is given.")
    if options.get("mode", "blocking") not in {"blocking", "non-blocking"}:
        raise client_error("The log driver option mode must be blocking or non-blocking.")
    if fargate and not definition.get("executionRoleArn"):
        raise client_error("Fargate requires task definition to have execution role ARN to support log driver awslogs.")


def _check_order(containers: Mapping[str, Document]) -> None:
    for name, container in containers.items():
        for need in container.get("dependsOn", ()):
            other = containers.get(need["containerName"])
            if other is None:
                raise client_error(
                    f"Container '{name}' depends on a container that does not exist: {need['containerName']}"
                )
            if need["condition"] == "HEALTHY" and not other.get("healthCheck"):
                raise client_error(
                    f"Container '{name}' depends on '{need['containerName']}' being HEALTHY, which has no health check."
                )
            if need["condition"] in {"COMPLETE", "SUCCESS"} and other.get("essential", True):
                raise client_error("A dependency container with condition COMPLETE or SUCCESS cannot be essential.")
    left = dict(containers)
    while left:
        ready = [n for n, c in left.items() if not any(d["containerName"] in left for d in c.get("dependsOn", ()))]
        if not ready:
            raise client_error("Circular dependency between containers.")
        for name in ready:
            del left[name]


def check_run(request: Mapping[str, Any], definition: Document) -> None:
    """Refuses a RunTask call that ECS would refuse, once the task definition is known."""
    if not 1 <= request.get("count", 1) <= 10:
        raise invalid("Count should be between 1 and 10.")
    token = request.get("clientToken")
    if token is not None and not _TOKEN.fullmatch(token):
        raise invalid("clientToken must have 1 to 64 ASCII characters between 33 and 126.")
    if len(request.get("startedBy", "")) > 128:
        raise invalid("startedBy must have at most 128 characters.")
    if request.get("propagateTags") == "SERVICE":
        raise invalid("propagateTags SERVICE is not supported when running a task.")
    check_placement(request, definition)
    check_overrides(request.get("overrides", {}), definition)


def check_placement(request: Mapping[str, Any], definition: Document) -> None:
    """What RunTask and CreateService require of launch type and network configuration."""
    awsvpc = definition.get("networkMode") == "awsvpc"
    network = request.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if awsvpc and not network:
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if awsvpc and not network.get("subnets"):
        raise invalid("subnets can not be empty.")
    if network and not awsvpc:
        raise invalid("Network Configuration is not valid for the given networkMode of this task definition.")
    if request.get("launchType") == "FARGATE" and "FARGATE" not in definition["compatibilities"]:
        raise invalid("Task definition does not support launch_type FARGATE.")


def check_overrides(overrides: Document, definition: Document) -> None:
    """Size, container names, and what is not supported."""
    size = len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) if overrides else 0
    if size > MOST_OVERRIDE_CHARACTERS:
        raise invalid(f"Container Overrides length must be at most {MOST_OVERRIDE_CHARACTERS}")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in overrides.get("containerOverrides", ()):
        if override.get("name") not in names:
            raise invalid(
                "Override for container named {} is not a container in the TaskDefinition.".format(override.get("name"))
            )
        if wrong := wrong_files(override.get("environmentFiles", ())):
            raise invalid(wrong)
    if "FARGATE" in definition.get("requiresCompatibilities", ()):
        cpu = cpu_units(overrides.get("cpu") or definition["cpu"])
        memory = memory_mib(overrides.get("memory") or definition["memory"])
        check_fargate_size(cpu or 0, memory or 0)
