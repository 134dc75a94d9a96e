"""The options of ``[aws_ecs_executor]``: the amazon provider's names and meaning, read into what RunTask gets.

One ``EcsOptions`` for the section, one for each queue of ``[skylift] queues`` that has a word of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from skylift.core.errors import Refused
from skylift.core.settings import Setting, flag, whole_number
from skylift.executors.options.queues import Layered, Words, merged, own_words
from skylift.executors.options.settings import (
    AWS_CONN_ID,
    CAPACITY_FALLBACK,
    CHECK_HEALTH,
    CONN_ID,
    OWN_SECTION,
    QUEUES,
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
    "Containers to try for one launch when a container ends before the Airflow task began in it.",
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

QUEUE_SETTINGS: tuple[Setting[Any], ...] = (*PLACE_SETTINGS, CLUSTER, CONTAINER_NAME, RUN_TASK_KWARGS)
"""What may differ by queue."""


@dataclass(frozen=True)
class EcsOptions:
    """``[aws_ecs_executor]``, read and checked, as it is for one queue.

    Attributes:
        request: RunTask's arguments as far as options decide them, without the cluster.
        container: name of the container in which Airflow runs.
        cluster: name or ARN; "" is the account's default cluster.
        connection: the Airflow connection to take credentials from.
        region: "" for AWS's own setting.
        most_attempts: containers for one launch.
        check_health: look for the cluster at the start.
        fallbacks: arguments of RunTask to change, in turn, while there is no capacity.
        queues: the options of the queues that differ.
        queue: the queue that these are of; "" for the section's own.
        words: the options that the queue's entry sets, by name.
    """

    request: Mapping[str, Any]
    container: str
    cluster: str
    connection: str
    region: str
    most_attempts: int
    check_health: bool
    fallbacks: tuple[Mapping[str, Any], ...] = ()
    queues: Mapping[str, EcsOptions] = field(default_factory=dict)
    queue: str = ""
    words: frozenset[str] = frozenset()

    def of(self, queue: str) -> EcsOptions:
        """The options of one of Airflow's queues; the section's own for a queue that has no entry."""
        return self.queues.get(queue, self)

    def source(self, option: str) -> str:
        """Where an option stands, for people."""
        if option in self.words:
            return f"[{OWN_SECTION}] queues {self.queue!r} {option}"
        return f"[{ECS_SECTION}] {option}"


def ecs_options(conf: Any) -> EcsOptions:
    """Reads the section and what ``[skylift]`` says of queues. Raises ``Refused`` with one line that names the option."""
    own = Options(conf, OWN_SECTION)
    common = own[CAPACITY_FALLBACK]
    base = _read(conf, common)
    queues = {queue: words for queue, words in own[QUEUES].items() if _differs(words)}
    return replace(base, queues={queue: _of_queue(conf, queue, words, common) for queue, words in queues.items()})


def _read(conf: Any, fallbacks: list[Words]) -> EcsOptions:
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
        fallbacks=tuple(_fallback(conf, words) for words in fallbacks if own_words(words, _names(PLACE_SETTINGS))),
    )


def _names(settings: tuple[Setting[Any], ...]) -> tuple[str, ...]:
    return tuple(setting.name for setting in settings)


def _differs(words: Words) -> bool:
    return bool(own_words(words, (*_names(QUEUE_SETTINGS), CAPACITY_FALLBACK.name)))


def _of_queue(conf: Any, queue: str, words: Words, common: list[Words]) -> EcsOptions:
    ours = own_words(words, _names(QUEUE_SETTINGS))
    if RUN_TASK_KWARGS.name in ours:
        below: dict[str, Any] = Options(conf, ECS_SECTION)[RUN_TASK_KWARGS]
        ours[RUN_TASK_KWARGS.name] = merged(camel(below), camel(ours[RUN_TASK_KWARGS.name]))
    try:
        read = _read(Layered(conf, ECS_SECTION, ours), words.get(CAPACITY_FALLBACK.name, common))
    except Refused as error:
        raise Refused(f"[{OWN_SECTION}] queues, queue {queue!r}: {error}") from error
    return replace(read, queue=queue, words=frozenset(ours))


def _fallback(conf: Any, words: Words) -> dict[str, Any]:
    """What a fallback changes in a request, and nothing else."""
    options = Options(Layered(conf, ECS_SECTION, own_words(words, _names(PLACE_SETTINGS))), ECS_SECTION)
    changed: dict[str, Any] = {}
    keys: dict[str, Setting[Any]] = {
        "launchType": LAUNCH_TYPE,
        "capacityProviderStrategy": CAPACITY_PROVIDER_STRATEGY,
        "platformVersion": PLATFORM_VERSION,
        "taskDefinition": TASK_DEFINITION,
    }
    for key, setting in keys.items():
        if setting.name in words:
            changed[key] = options[setting]
    network = {
        key: value
        for setting, key, value in (
            (SUBNETS, "subnets", options[SUBNETS]),
            (SECURITY_GROUPS, "securityGroups", options[SECURITY_GROUPS]),
            (ASSIGN_PUBLIC_IP, "assignPublicIp", "ENABLED" if options[ASSIGN_PUBLIC_IP] else "DISABLED"),
        )
        if setting.name in words
    }
    return changed | ({"networkConfiguration": {"awsvpcConfiguration": network}} if network else {})


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
        move(request, {"launchType": options[LAUNCH_TYPE]})
    if options.set(CAPACITY_PROVIDER_STRATEGY):
        move(request, {"capacityProviderStrategy": options[CAPACITY_PROVIDER_STRATEGY]})
    # ECS's own default is LATEST, and EC2 refuses any: so it is sent only when somebody wants another.
    if options.set(PLATFORM_VERSION):
        request["platformVersion"] = options[PLATFORM_VERSION]
    if not on_fargate(request):
        request.pop("platformVersion", None)


def move(request: dict[str, Any], to: Mapping[str, Any]) -> None:
    """Sets launch type or strategy in a request, where each replaces the other; removes what the new place does not take."""
    if to.get("capacityProviderStrategy"):
        request.pop("launchType", None)
        request["capacityProviderStrategy"] = to["capacityProviderStrategy"]
    elif to.get("launchType"):
        request.pop("capacityProviderStrategy", None)
        request["launchType"] = to["launchType"]
    if not on_fargate(request):
        request.pop("platformVersion", None)
        request.get("networkConfiguration", {}).get("awsvpcConfiguration", {}).pop("assignPublicIp", None)


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
