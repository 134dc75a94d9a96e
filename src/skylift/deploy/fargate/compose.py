"""What ecs-cli's two files ask for: docker-compose.yml and ecs-params.yml. Pure; whatever else they say is refused by
name, because to ignore it silently would make something else than was asked for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from skylift.core.errors import Refused
from skylift.deploy.fargate.wanted import PORT

CREDENTIALS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>b|k|kb|m|mb|mib|g|gb|gib)?", re.IGNORECASE)
_MIB = {"b": 1 / 1048576, "k": 1 / 1024, "m": 1.0, "g": 1024.0}
_PORT = re.compile(rf"(?:(?P<host>\d+):)?{PORT}(?:/tcp)?")

Options = dict[str, Any]
"""Of ``AirflowWanted``, by name; only what the files say."""


def from_compose(document: Any, region: str) -> Options:
    """Of docker-compose.yml: image, ports, environment, command, logging of its one service.

    Raises:
        Refused: it says something else.
    """
    whole = _object(document, "docker-compose.yml")
    _only(whole, {"version", "name", "services"}, "docker-compose.yml")
    services = _object(whole.get("services"), "docker-compose.yml: services")
    if len(services) != 1:
        raise Refused(
            f"docker-compose.yml has {len(services)} services ({', '.join(services)}). One container is Airflow with "
            "all its components here; for more of them see environments: docs/environments.md"
        )
    name, service = next(iter(services.items()))
    where = f"docker-compose.yml: services.{name}"
    known = {"image", "ports", "environment", "command", "logging", "cpu_shares", "mem_limit", "container_name"}
    service = _object(service, where)
    _only(service, known, where)
    found: Options = {}
    if "image" in service:
        found["image"] = _image(str(service["image"]))
    if "environment" in service:
        found["variables"] = _variables(service["environment"], where)
    if "command" in service:
        found["command"] = _words(service["command"])
    if "mem_limit" in service:
        found["memory"] = mebibytes(service["mem_limit"], f"{where}.mem_limit")
    if "cpu_shares" in service:
        found["cpu"] = int(service["cpu_shares"])
    for port in service.get("ports", ()):
        match = _PORT.fullmatch(str(port))
        if match is None or match["host"] not in {None, str(PORT)}:
            raise Refused(f"{where}.ports: {port}. Airflow is on {PORT}, and on Fargate a port cannot be mapped.")
    _logging(_object(service.get("logging") or {}, f"{where}.logging"), region, f"{where}.logging")
    return found


def from_params(document: Any) -> Options:
    """Of ecs-params.yml: sizes, roles, subnets, security groups, public address.

    Raises:
        Refused: it says something else.
    """
    name = "ecs-params.yml"
    whole = _object(document, name)
    _only(whole, {"version", "task_definition", "run_params"}, name)
    task = _object(whole.get("task_definition") or {}, f"{name}: task_definition")
    known = {"task_execution_role", "task_role_arn", "ecs_network_mode", "task_size", "services"}
    _only(task, known, f"{name}: task_definition")
    if task.get("services"):
        raise Refused(
            f"{name}: task_definition.services is not served: what it says is in the options of this command."
        )
    if task.get("ecs_network_mode", "awsvpc") != "awsvpc":
        raise Refused(f"{name}: ecs_network_mode {task['ecs_network_mode']}: on Fargate it is awsvpc.")
    found: Options = {}
    if task.get("task_execution_role"):
        found["execution_role"] = str(task["task_execution_role"])
    if task.get("task_role_arn"):
        found["role"] = str(task["task_role_arn"])
    size = _object(task.get("task_size") or {}, f"{name}: task_size")
    _only(size, {"mem_limit", "cpu_limit"}, f"{name}: task_size")
    if "cpu_limit" in size:
        found["cpu"] = int(size["cpu_limit"])
    if "mem_limit" in size:
        found["memory"] = mebibytes(size["mem_limit"], f"{name}: mem_limit")
    return {**found, **_network(whole, name)}


def _network(whole: Mapping[str, Any], name: str) -> Options:
    run = _object(whole.get("run_params") or {}, f"{name}: run_params")
    _only(run, {"network_configuration"}, f"{name}: run_params")
    network = _object(run.get("network_configuration") or {}, f"{name}: network_configuration")
    _only(network, {"awsvpc_configuration"}, f"{name}: network_configuration")
    awsvpc = _object(network.get("awsvpc_configuration") or {}, f"{name}: awsvpc_configuration")
    _only(awsvpc, {"subnets", "security_groups", "assign_public_ip"}, f"{name}: awsvpc_configuration")
    found: Options = {}
    for key, option, kind in (("subnets", "subnets", "subnet"), ("security_groups", "security_groups", "sg")):
        if awsvpc.get(key):
            ids = tuple(str(one) for one in awsvpc[key])
            if wrong := [one for one in ids if not re.fullmatch(rf"{kind}-[0-9a-f]+", one)]:
                raise Refused(f"{name}: {key}: {wrong[0]!r} is no id. Put in yours ({kind}-…), or leave {key} out.")
            found[option] = ids
    if "assign_public_ip" in awsvpc:
        public = str(awsvpc["assign_public_ip"]).upper()
        if public not in {"ENABLED", "DISABLED"}:
            raise Refused(f"{name}: assign_public_ip is ENABLED or DISABLED, not {awsvpc['assign_public_ip']}.")
        found["public"] = public == "ENABLED"
    return found


def mebibytes(size: Any, where: str) -> int:
    """``0.5GB``, ``512m``, ``536870912`` (bytes). Raises ``Refused`` for anything else."""
    match = _SIZE.fullmatch(str(size).strip())
    if match is None:
        raise Refused(f"{where}: {size!r} is no size. Write 2GB or 2048m.")
    return round(float(match["number"]) * _MIB[(match["unit"] or "b")[0].lower()])


def _image(image: str) -> str:
    if image.partition(":")[0] == "puckel/docker-airflow":
        raise Refused(
            "docker-compose.yml: puckel/docker-airflow is Airflow 1.10, which nobody maintains any more. Write "
            "image: apache/airflow:3.3.2, or leave image out."
        )
    return image


def _variables(found: Any, where: str) -> dict[str, str]:
    if isinstance(found, list):
        pairs = [str(one).partition("=") for one in found]
        if bare := [name for name, equals, _ in pairs if not equals]:
            raise Refused(f"{where}.environment: {bare[0]} has no value.")
        variables = {name: value for name, _, value in pairs}
    else:
        variables = {str(name): str(value) for name, value in _object(found, f"{where}.environment").items()}
    if keys := sorted(CREDENTIALS & variables.keys()):
        raise Refused(
            f"{where}.environment: {', '.join(keys)}: keys in a task definition can be read by everybody who may "
            "describe it. Leave them out: the container has a task role, which needs no keys."
        )
    return variables


def _words(command: Any) -> tuple[str, ...]:
    return tuple(shlex.split(command)) if isinstance(command, str) else tuple(str(one) for one in command or ())


def _logging(found: Mapping[str, Any], region: str, where: str) -> None:
    _only(found, {"driver", "options"}, where)
    if found.get("driver", "awslogs") != "awslogs":
        raise Refused(f"{where}.driver: {found['driver']}. Only awslogs is served.")
    options = _object(found.get("options") or {}, f"{where}.options")
    _only(options, {"awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group"}, where)
    if options.get("awslogs-region", region) != region:
        raise Refused(
            f"{where}: awslogs-region {options['awslogs-region']} is not the region of this command ({region})."
        )


def _object(found: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise Refused(f"{where}: expected names with values, and there is {type(found).__name__}.")
    return found


def _only(found: Mapping[str, Any], known: set[str], where: str) -> None:
    if others := sorted(str(one) for one in found if one not in known):
        raise Refused(f"{where}: {', '.join(others)} is not served. Served: {', '.join(sorted(known))}.")
