"""The options of ``[aws_ecs_executor]``: the amazon provider's names and meaning, read into what RunTask gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skylift.core.errors import Refused
from skylift.core.settings import Setting, flag, whole_number
from skylift.executors.settings import (
    AWS_CONN_ID,
    CHECK_HEALTH,
    CONN_ID,
    REGION,
    REGION_NAME,
    Options,
    camel,
    json_list,
    json_object,
    words,
)

ECS_SECTION = "aws_ecs_executor"

CLUSTER = Setting("cluster", str, "", "Name or ARN of the ECS cluster; empty is the account's default cluster.")
CONTAINER_NAME = Setting(
    "container_name", str, "", "Name of the container in the task definition in which Airflow runs.", required=True
)
TASK_DEFINITION = Setting(
    "task_definition", str, "", "Family, family:revision or ARN of the ECS task definition to run.", required=True
)
LAUNCH_TYPE = Setting("launch_type", str, "", "FARGATE, EC2 or EXTERNAL; not together with capacity_provider_strategy.")
CAPACITY_PROVIDER_STRATEGY: Setting[list[Any]] = Setting(
    "capacity_provider_strategy",
    json_list,
    [],
    'JSON list, e.g. [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]; not together with launch_type.',
)
PLATFORM_VERSION = Setting("platform_version", str, "LATEST", "Fargate platform version; not sent for EC2.")
SECURITY_GROUPS: Setting[list[str]] = Setting(
    "security_groups", words, [], "Security groups of the ECS task, comma-separated."
)
SUBNETS: Setting[list[str]] = Setting("subnets", words, [], "Subnets of the ECS task, comma-separated.")
ASSIGN_PUBLIC_IP = Setting("assign_public_ip", flag, False, "Whether the ECS task gets a public IP address (Fargate).")
RUN_TASK_KWARGS: Setting[dict[str, Any]] = Setting(
    "run_task_kwargs", json_object, {}, "JSON object with any arguments of RunTask."
)
MAX_RUN_TASK_ATTEMPTS = Setting(
    "max_run_task_attempts",
    whole_number(1, 1000),
    3,
    "Containers to try for one launch when a container ends before Airflow's task began in it.",
)

ECS_SETTINGS = (
    CLUSTER,
    CONTAINER_NAME,
    REGION_NAME,
    REGION,
    CONN_ID,
    AWS_CONN_ID,
    TASK_DEFINITION,
    LAUNCH_TYPE,
    CAPACITY_PROVIDER_STRATEGY,
    PLATFORM_VERSION,
    SECURITY_GROUPS,
    SUBNETS,
    ASSIGN_PUBLIC_IP,
    RUN_TASK_KWARGS,
    MAX_RUN_TASK_ATTEMPTS,
    CHECK_HEALTH,
)


@dataclass(frozen=True)
class EcsOptions:
    """``[aws_ecs_executor]``, read and checked.

    Attributes:
        request: RunTask's arguments as far as options decide them.
        container: name of the container in which Airflow runs.
        connection: the Airflow connection to take credentials from.
        region: "" for AWS's own setting.
        most_attempts: containers for one launch.
        check_health: look for the cluster at the start.
    """

    request: Mapping[str, Any]
    container: str
    cluster: str
    connection: str
    region: str
    most_attempts: int
    check_health: bool


def ecs_options(conf: Any) -> EcsOptions:
    """Reads the section. Raises ``Refused`` with one line that names the option."""
    options = Options(conf, ECS_SECTION)
    given: dict[str, Any] = options[RUN_TASK_KWARGS]
    request = camel(given)
    definition = _pick(options, TASK_DEFINITION, request, "taskDefinition")
    container = _pick(options, CONTAINER_NAME, request, "containerName")
    cluster = _pick(options, CLUSTER, request, "cluster")
    request["taskDefinition"] = definition
    _place(options, request)
    _network(options, request)
    return EcsOptions(
        request=request,
        container=container,
        cluster=cluster,
        connection=options[AWS_CONN_ID] or options[CONN_ID],
        region=options[REGION_NAME] or options[REGION],
        most_attempts=options[MAX_RUN_TASK_ATTEMPTS],
        check_health=options[CHECK_HEALTH],
    )


def _pick(options: Options, setting: Setting[str], request: dict[str, Any], key: str) -> str:
    """The explicit option, else RUN_TASK_KWARGS's own word for it; raises ``Refused`` when it is required and missing."""
    given = str(request.pop(key, ""))
    return options[setting] if options.set(setting) or not given else given


def _place(options: Options, request: dict[str, Any]) -> None:
    if options.set(LAUNCH_TYPE) and options.set(CAPACITY_PROVIDER_STRATEGY):
        raise Refused(
            f"[{ECS_SECTION}] launch_type and capacity_provider_strategy exclude each other: set one of the two"
        )
    if options.set(LAUNCH_TYPE):
        request["launchType"] = options[LAUNCH_TYPE]
        request.pop("capacityProviderStrategy", None)
    if options.set(CAPACITY_PROVIDER_STRATEGY):
        request["capacityProviderStrategy"] = options[CAPACITY_PROVIDER_STRATEGY]
        request.pop("launchType", None)
    # ECS's own default is LATEST, and EC2 refuses any: so it is sent only when somebody wants another.
    if options.set(PLATFORM_VERSION):
        request["platformVersion"] = options[PLATFORM_VERSION]
    if not on_fargate(request):
        request.pop("platformVersion", None)


def on_fargate(request: Mapping[str, Any]) -> bool:
    """Whether the ECS task goes to Fargate, as far as the request says."""
    providers = [str(one.get("capacityProvider", "")) for one in request.get("capacityProviderStrategy") or []]
    return request.get("launchType", "FARGATE") == "FARGATE" and all(one.startswith("FARGATE") for one in providers)


def _network(options: Options, request: dict[str, Any]) -> None:
    explicit: dict[str, Any] = {}
    if options.set(SUBNETS):
        explicit["subnets"] = options[SUBNETS]
    if options.set(SECURITY_GROUPS):
        explicit["securityGroups"] = options[SECURITY_GROUPS]
    if options.set(ASSIGN_PUBLIC_IP) and on_fargate(request):
        explicit["assignPublicIp"] = "ENABLED"
    network = {**request.get("networkConfiguration", {}).get("awsvpcConfiguration", {}), **explicit}
    if not network:
        return
    if not network.get("subnets"):
        raise Refused(
            f"[{ECS_SECTION}] subnets is not set: security_groups and assign_public_ip need at least one subnet"
        )
    if on_fargate(request):
        network.setdefault("assignPublicIp", "DISABLED")
    request["networkConfiguration"] = {"awsvpcConfiguration": network}
