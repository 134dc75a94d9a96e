"""The options: the amazon provider's ``[aws_ecs_executor]`` (same names and meaning), and our own in ``[skylift]``.

The provider declares its section with Airflow, so its defaults come back from ``conf`` like set values; a value that equals the
default counts as not set. Precedence as documented: defaults < RUN_TASK_KWARGS < explicit options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from skylift.core.errors import Refused
from skylift.core.settings import Setting, flag, whole_number

T = TypeVar("T")

ECS_SECTION = "aws_ecs_executor"
OWN_SECTION = "skylift"


def words(text: str) -> list[str]:
    """Parses a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def json_object(text: str) -> dict[str, Any]:
    """Parses a JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def json_list(text: str) -> list[Any]:
    """Parses a JSON list; Python's single quotes, which the amazon provider's own example has, are understood too."""
    try:
        value = json.loads(text)
    except ValueError:
        value = json.loads(text.replace("'", '"'))
    if not isinstance(value, list):
        raise ValueError("expected a JSON list")
    return value


def seconds(text: str) -> float:
    """Parses a number of seconds above zero."""
    value = float(text)
    if value <= 0:
        raise ValueError("expected seconds, above zero")
    return value


CLUSTER = Setting("cluster", str, "", "Name or ARN of the ECS cluster; empty is the account's default cluster.")
CONTAINER_NAME = Setting(
    "container_name", str, "", "Name of the container in the task definition in which Airflow runs.", required=True
)
REGION_NAME = Setting("region_name", str, "", "AWS region of the cluster; empty: as AWS's own settings say.")
REGION = Setting("region", str, "", "Another spelling of region_name.")
CONN_ID = Setting(
    "conn_id",
    str,
    "aws_default",
    "Airflow connection with the AWS credentials; where it is not there or empty, AWS's own chain of credentials.",
)
AWS_CONN_ID = Setting("aws_conn_id", str, "", "Another spelling of conn_id.")
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
CHECK_HEALTH = Setting("check_health_on_startup", flag, True, "Whether the start looks for the cluster.")

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

PAYLOAD_URL = Setting(
    "payload_url",
    str,
    "",
    "s3://bucket/prefix for workloads; the scheduler needs s3:PutObject there, the container s3:GetObject, and "
    "s3:DeleteObject to delete what it fetched. Empty: the workload, with its token, stands in the container's command.",
)
TAGS = Setting("tags", flag, True, "Whether ECS tasks get tags dag_id, task_id, run_id, map_index, try_number.")
POLL_SECONDS = Setting("poll_seconds", seconds, 1.0, "Seconds between two looks at a young attempt.")
POLL_MOST_SECONDS = Setting("poll_most_seconds", seconds, 10.0, "Most seconds between two looks at an old attempt.")
MISSING_GRACE = Setting(
    "missing_grace_seconds", seconds, 300.0, "Seconds for which ECS's MISSING means only that it is slow to know."
)
LAUNCH_RATE = Setting(
    "launches_per_second", whole_number(1, 1000), 20, "Most launches a second (Fargate's own limit is 20)."
)
WORKERS = Setting("workers", whole_number(1, 64), 8, "Threads for calls to AWS.")
END_SECONDS = Setting(
    "end_seconds", seconds, 10.0, "Most seconds that the scheduler's end waits for calls on their way."
)

OWN_SETTINGS = (PAYLOAD_URL, TAGS, POLL_SECONDS, POLL_MOST_SECONDS, MISSING_GRACE, LAUNCH_RATE, WORKERS, END_SECONDS)


class Options:
    """The options of one section as one team sees them.

    Args:
        conf: Airflow's ``conf``, or an executor's team-aware ``self.conf``: anything with its ``get``.
    """

    def __init__(self, conf: Any, section: str) -> None:
        self._conf = conf
        self._section = section

    def __getitem__(self, setting: Setting[T]) -> T:
        """The value.

        Raises:
            Refused: missing or wrong; the text names the option.
        """
        text = str(self._conf.get(self._section, setting.name, fallback="") or "")
        name = f"[{self._section}] {setting.name}"
        if text == "":
            if setting.required:
                raise Refused(f"{name} is not set: {setting.meaning}")
            return setting.default  # type: ignore[return-value]  # as in Setting.read
        try:
            return setting.parse(text)
        except ValueError as error:
            raise Refused(f"{name}: {text!r} cannot be used: {error}. It is: {setting.meaning}") from error

    def set(self, setting: Setting[T]) -> bool:
        """Whether somebody gave it a value other than the default."""
        text = self._conf.get(self._section, setting.name, fallback="")
        return bool(text) and self[setting] != setting.default


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


def camel(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """RunTask's arguments from RUN_TASK_KWARGS, whose keys may be in snake_case; the values of ``tags`` are left alone."""

    def word(key: str) -> str:
        first, *rest = key.split("_")
        return first + "".join(part[:1].upper() + part[1:] for part in rest)

    return {
        word(key): camel(value) if isinstance(value, dict) and key.lower() != "tags" else value
        for key, value in keywords.items()
    }
