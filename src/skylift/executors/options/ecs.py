"""The options of ``[aws_ecs_executor]``: the amazon provider's names and meaning, read into RunTask's arguments.

There is one ``EcsOptions`` for the section, and one for each queue of ``[skylift] queues`` that sets an ECS option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from skylift.aws.shapes import mistakes
from skylift.core.errors import Refused
from skylift.core.settings import Setting, flag, whole_number
from skylift.executors.options.by_queue import QueueOptions, connected, read_by_queue
from skylift.executors.options.layers import layers_of
from skylift.executors.options.queues import Only, Words, launch_type, merged, own_words
from skylift.executors.options.settings import (
    AWS_CONN_ID,
    CHECK_HEALTH,
    CONN_ID,
    OWN_SECTION,
    REGION,
    REGION_NAME,
    Options,
    camel,
    json_list,
    json_object,
    words,
)

ECS_SECTION = "aws_ecs_executor"

CLUSTER = Setting("cluster", str, "", "Name or ARN of the ECS cluster; empty: the account's default cluster.")
CONTAINER_NAME = Setting(
    "container_name", str, "", "Name of the container in the task definition that runs Airflow.", required=True
)
TASK_DEFINITION = Setting(
    "task_definition", str, "", "Family, family:revision or ARN of the ECS task definition to run.", required=True
)
LAUNCH_TYPE = Setting(
    "launch_type",
    launch_type,
    "",
    "FARGATE, EC2, EXTERNAL or MANAGED_INSTANCES. Cannot be combined with capacity_provider_strategy.",
)
CAPACITY_PROVIDER_STRATEGY: Setting[list[Any]] = Setting(
    "capacity_provider_strategy",
    json_list,
    [],
    'JSON list, e.g. [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]. Cannot be combined with launch_type.',
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
    "Most containers to try for one launch if each ends before the Airflow task begins.",
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


PLACE_SETTINGS: tuple[Setting[Any], ...] = (
    LAUNCH_TYPE,
    CAPACITY_PROVIDER_STRATEGY,
    PLATFORM_VERSION,
    SUBNETS,
    SECURITY_GROUPS,
    ASSIGN_PUBLIC_IP,
    TASK_DEFINITION,
)
"""What a fallback may change."""

PLACE_WORDS = tuple(setting.name for setting in PLACE_SETTINGS)

NETWORK_SETTINGS: dict[str, Setting[Any]] = {"subnets": SUBNETS, "securityGroups": SECURITY_GROUPS}
"""Lists of the network, by RunTask's names."""

PLACES = ("launchType", "capacityProviderStrategy")
"""Of these two, one replaces the other."""

QUEUE_SETTINGS: tuple[Setting[Any], ...] = (*PLACE_SETTINGS, CLUSTER, CONTAINER_NAME, RUN_TASK_KWARGS)
"""What may differ by queue."""


@dataclass(frozen=True, kw_only=True)
class EcsOptions(QueueOptions):
    """``[aws_ecs_executor]``, read and checked, for one queue.

    Attributes:
        cluster: name or ARN; "" is the account's default cluster.
        team: whose options they are; "" if Airflow has no teams.
    """

    cluster: str
    team: str = ""

    def source(self, option: str) -> str:
        """Where an option is set, for people."""
        team = f" of team {self.team!r}" if self.team else ""
        if option in self.words:
            return f"[{OWN_SECTION}] queues{team} {self.queue!r} {option}"
        return f"[{ECS_SECTION}] {option}{team}"


def ecs_options(conf: Any) -> EcsOptions:
    """Reads the section and the queues in ``[skylift]``. Raises ``Refused`` with one line that names the
    option."""
    names = [setting.name for setting in QUEUE_SETTINGS]
    return read_by_queue(conf, names, partial(_read, conf))


def _read(conf: Any, entry: Words | None, fallbacks: list[Words]) -> EcsOptions:
    options = Options(conf, ECS_SECTION)
    request: dict[str, Any] = {}
    for layer in layers_of(options, ECS_SECTION, entry, RUN_TASK_KWARGS):
        request = lay(lay(request, layer.arguments(_arguments, RUN_TASK_KWARGS)), _explicit(layer.options, layer.says))
    cluster = str(request.pop("cluster", "") or "")
    container = request.pop("containerName", "") or options[CONTAINER_NAME]
    request["taskDefinition"] = request.get("taskDefinition") or options[TASK_DEFINITION]
    _settle(request, options)
    return EcsOptions(
        request=request,
        container=container,
        cluster=cluster,
        most_attempts=options[MAX_RUN_TASK_ATTEMPTS],
        fallbacks=tuple(_fallback(words) for words in fallbacks if own_words(words, PLACE_WORDS)),
        team=options.team,
        **connected(options),
    )


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """RUN_TASK_KWARGS in RunTask's spelling, checked. Raises ``ValueError``."""
    request = camel(given)
    container = request.pop("containerName", None)
    if container is not None and not isinstance(container, str):
        raise ValueError("container_name must be text")
    if wrong := mistakes("ecs", "RunTask", request, partial=True):
        raise ValueError(wrong)
    if request.pop("count", 1) != 1:
        raise ValueError("count must not be set: each workload is one ECS task")
    if all(request.get(place) for place in PLACES):
        raise ValueError("launchType and capacityProviderStrategy exclude each other: keep one of the two")
    return request | ({"containerName": container} if container else {})


def _explicit(options: Options, says: Callable[[Setting[Any]], bool]) -> dict[str, Any]:
    """RunTask's arguments from options with their own names."""
    keys: dict[str, Setting[Any]] = {
        "launchType": LAUNCH_TYPE,
        "capacityProviderStrategy": CAPACITY_PROVIDER_STRATEGY,
        "platformVersion": PLATFORM_VERSION,
        "taskDefinition": TASK_DEFINITION,
        "containerName": CONTAINER_NAME,
        "cluster": CLUSTER,
    }
    request = {key: options[setting] for key, setting in keys.items() if says(setting)}
    for key, value in request.items():
        if value and key != "containerName" and (wrong := mistakes("ecs", "RunTask", {key: value}, partial=True)):
            raise Refused(f"{options.name(keys[key])}: {wrong}")
    network: dict[str, Any] = {key: options[setting] for key, setting in NETWORK_SETTINGS.items() if says(setting)}
    if says(ASSIGN_PUBLIC_IP):
        network["assignPublicIp"] = "ENABLED" if options[ASSIGN_PUBLIC_IP] else "DISABLED"
    if all(request.get(place) for place in PLACES):
        raise Refused(
            f"{options.name(LAUNCH_TYPE)} and capacity_provider_strategy exclude each other: set one of the two"
        )
    return request | ({"networkConfiguration": {"awsvpcConfiguration": network}} if network else {})


def _fallback(words: Words) -> dict[str, Any]:
    """Only what a fallback changes in a request."""
    ours = own_words(words, PLACE_WORDS)
    try:
        return _explicit(Options(Only(ours), ECS_SECTION, exact=True), lambda setting: setting.name in ours)
    except Refused as error:
        raise Refused(f"[{OWN_SECTION}] capacity_fallback: {error}") from error


def lay(request: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The request with other arguments merged over it.

    Launch type and strategy replace each other; an empty one removes both.
    """
    below = request
    if any(place in over for place in PLACES):
        below = {key: value for key, value in request.items() if key not in PLACES}
    result = merged(below, over)
    for place in PLACES:
        if not result.get(place):
            result.pop(place, None)
    return result


def settled(request: dict[str, Any]) -> dict[str, Any]:
    """Removes what the launch type does not accept; changes the request."""
    if not on_fargate(request):
        request.pop("platformVersion", None)
        request.get("networkConfiguration", {}).get("awsvpcConfiguration", {}).pop("assignPublicIp", None)
    return request


def on_fargate(request: Mapping[str, Any]) -> bool:
    """Whether the ECS task goes to Fargate, as far as the request says."""
    providers = [str(one.get("capacityProvider", "")) for one in request.get("capacityProviderStrategy") or []]
    return request.get("launchType", "FARGATE") == "FARGATE" and all(one.startswith("FARGATE") for one in providers)


def _settle(request: dict[str, Any], options: Options) -> None:
    """Removes empty values; completes the network. Raises ``Refused``."""
    # ECS's own default is LATEST, and EC2 refuses any value, so it is sent only if somebody wants another one.
    if not request.get("platformVersion"):
        request.pop("platformVersion", None)
    network = request.pop("networkConfiguration", {}).get("awsvpcConfiguration", {})
    network = {key: value for key, value in network.items() if value}
    if not network or network == {"assignPublicIp": "DISABLED"}:
        return
    if not network.get("subnets"):
        raise Refused(
            f"{options.name(SUBNETS)} is not set: security_groups and assign_public_ip need at least one subnet"
        )
    if on_fargate(request):
        network.setdefault("assignPublicIp", "DISABLED")
    request["networkConfiguration"] = {"awsvpcConfiguration": network}
