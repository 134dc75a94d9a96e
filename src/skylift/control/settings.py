"""The control plane's settings, each declared once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from skylift.core.environment import BATCH_EXECUTOR, CELERY_EXECUTOR, ECS_EXECUTOR
from skylift.core.names import TASK_EXECUTION_ROLE, arn
from skylift.core.settings import Setting, flag, read_all, whole_number

DEFAULT_EXECUTORS = (CELERY_EXECUTOR, ECS_EXECUTOR, BATCH_EXECUTOR)
T = TypeVar("T")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _insights(text: str) -> str:
    if text not in {"disabled", "enabled", "enhanced"}:
        raise ValueError("expected disabled, enabled or enhanced")
    return text


def _judge(text: str) -> str:
    if text not in {"evaluate", "simulate"}:
        raise ValueError("expected evaluate or simulate")
    return text


def _patches(text: str) -> str:
    if text not in {"window", "at-once"}:
        raise ValueError("expected window or at-once")
    return text


PATCHES = Setting(
    "patches",
    _patches,
    "window",
    "When an environment that serves gets what a newer skylift describes differently: in its weekly maintenance "
    "window, or at-once. Always with proof, and undone if it fails. `skylift up`: at-once.",
)

CONTROL_SETTINGS: tuple[Setting[Any], ...] = (
    Setting("region", str, "us-east-1", "AWS region in which environments live.", variable="AWS_REGION"),
    Setting("account", str, "000000000000", "AWS account id, twelve digits."),
    Setting(
        "database_secret",
        str,
        "skylift/postgres",
        "Secret (name or ARN) in Secrets Manager with {host, port, username, password} of the PostgreSQL server.",
    ),
    Setting("control_database", str, "skylift", "The control plane's own database; created if it does not exist."),
    Setting("control_bucket", str, "", "Bucket for layers and executor payloads; default skylift-{account}-{region}."),
    Setting("cluster", str, "skylift", "ECS cluster in which environments run; created if it does not exist."),
    Setting("image", str, "skylift/airflow:{version}", "Image of the containers; {version} is Airflow's version."),
    Setting(
        "versions", _words, ("3.3.2",), "Airflow versions that CreateEnvironment accepts; the last is the default."
    ),
    Setting(
        "task_execution_role",
        str,
        "",
        "ARN of the role with which ECS starts the containers that need secrets (ECS reads the secrets, pulls images "
        "and "
        "writes logs with it); default: the account's role skylift_task_execution.",
    ),
    Setting("launch_type", str, "FARGATE", "ECS launch type of all containers."),
    Setting(
        "launches_per_second",
        whole_number(1, 1000),
        20,
        "[skylift] launches_per_second of environments that do not set it. Fargate's limit is 20; the local cloud has "
        "none.",
    ),
    Setting(
        "scheduler_idle_milliseconds",
        whole_number(50, 60000),
        1000,
        "[scheduler] scheduler_idle_sleep_time of environments that do not set it. On average a free slot is noticed "
        "half of "
        "this late.",
    ),
    Setting(
        "container_insights",
        _insights,
        "",
        "Container Insights of the cluster: disabled, enabled (amounts for each part) or enhanced (each ECS task too). "
        "AWS charges for its metrics. Empty: the cluster's own setting.",
    ),
    Setting(
        "service_metrics_namespace",
        str,
        "",
        "Namespace of MWAA's own metrics of environments (NumSchedulers, CPUUtilization and so on); empty: there are "
        "none. In the local cloud it is MWAA's, AWS/MWAA. On AWS only AWS may write there.",
    ),
    Setting(
        "worker_idle_seconds",
        whole_number(1, 86400),
        120,
        "Seconds for which fewer Celery workers must have been enough before an environment gets fewer. MWAA's value.",
    ),
    Setting(
        "worker_look_milliseconds",
        whole_number(200, 60000),
        1000,
        "Pause between two counts of the Airflow tasks that are queued or run on Celery workers.",
    ),
    Setting(
        "metrics_seconds",
        whole_number(1, 3600),
        60,
        "Seconds between two sendings of an environment's metrics to CloudWatch, which counts minutes and calls.",
    ),
    Setting("web_listener_port", whole_number(1, 65535), 8080, "Port of an environment's load balancer."),
    Setting(
        "default_schedulers",
        whole_number(1, 5),
        1,
        "Schedulers if the request does not say. MWAA starts two; one is enough if a dead one is replaced in seconds.",
    ),
    Setting(
        "default_webservers",
        whole_number(1, 5),
        1,
        "API servers (MinWebservers, MaxWebservers) if the request does not say. MWAA starts two.",
    ),
    Setting(
        "default_executors",
        _words,
        DEFAULT_EXECUTORS,
        "Executors of environments that are created without core.executor; the first is Airflow's default. On MWAA it "
        "is Celery.",
    ),
    PATCHES,
    Setting("check_role", flag, True, "Whether to ask IAM for the execution role before creating anything."),
    Setting(
        "administrators",
        _words,
        (),
        "ARNs of users and role sessions that may use every operation, whatever their policies say. In the local "
        "cloud: the user whose credentials skylift up made.",
    ),
    Setting(
        "access_judge",
        _judge,
        "evaluate",
        "How callers' policies are judged: evaluate (read from IAM, evaluated here) or simulate "
        "(iam:SimulatePrincipalPolicy).",
    ),
    Setting("create_seconds", whole_number(60, 86400), 1800, "Seconds after which an unfinished create fails."),
    Setting("moving_milliseconds", whole_number(50, 60000), 400, "Pause between two checks while something changes."),
    Setting(
        "steady_seconds", whole_number(1, 3600), 30, "Pause between two checks of an environment that is AVAILABLE."
    ),
)

FOLLOW_BUCKET = Setting(
    "follow_bucket",
    flag,
    False,
    "Whether a new version of the environment's requirements, plugins or startup script in its bucket becomes an "
    "update within 30 seconds, whoever put it there.",
)

HEARTBEAT_SECONDS = Setting(
    "heartbeat_seconds",
    whole_number(10, 86400),
    300,
    "Seconds without a heartbeat (API server: without a health answer) after which a component that runs is replaced. "
    "Doubles with each replacement, up to two hours; three times as long for one that never worked.",
)

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
REFERENCE = re.compile(r"arn:[a-z0-9-]+:(?:secretsmanager:\S+:secret:\S+|ssm:\S+:parameter/\S+)")
OF_CONTAINERS = re.compile(
    r"(?:SKYLIFT_|AWS_CONTAINER_|AWS_ENDPOINT_URL|ECS_|MWAA__).*|PYTHONPATH|HOME|PATH|AIRFLOW_HOME"
    r"|AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|PROFILE|DEFAULT_PROFILE|REGION|DEFAULT_REGION|CONFIG_FILE"
    r"|SHARED_CREDENTIALS_FILE|ROLE_ARN|WEB_IDENTITY_TOKEN_FILE)"
)
"""Variables that the containers need for themselves, and those that would replace the role's credentials."""


def _references(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object of variables' names and ARNs")
    for name, source in found.items():
        if not VARIABLE_NAME.fullmatch(name) or OF_CONTAINERS.fullmatch(name):
            raise ValueError(f"{name} cannot be the name of a variable")
        if not isinstance(source, str) or not REFERENCE.fullmatch(source):
            raise ValueError(f"the value of {name} must be the ARN of a secret or of an SSM parameter")
    return found


VARIABLES: Setting[dict[str, str]] = Setting(
    "environment",
    _references,
    {},
    "Environment variables of the environment's containers whose values stay in Secrets Manager or SSM: a JSON object "
    "of names and ARNs, as ECS's valueFrom has them. A change restarts all components. `skylift.toml` sets it.",
)

STOPPED = Setting(
    "stopped",
    flag,
    False,
    "Whether the environment has no containers: its database, bucket and configuration stay. `skylift stop` and "
    "`skylift start` set it.",
)

ENVIRONMENT_OPTIONS: tuple[Setting[Any], ...] = (FOLLOW_BUCKET, HEARTBEAT_SECONDS, STOPPED, VARIABLES)
"""Options ``skylift.<name>`` of an environment that the control plane reads itself. Airflow does not get them, so a
change of them restarts nothing, except ``VARIABLES``."""


def is_stopped(options: Mapping[str, str]) -> bool:
    """Whether an environment with these options has no containers."""
    return option_of(STOPPED, options)


def option_name(setting: Setting[Any]) -> str:
    """What one of ``ENVIRONMENT_OPTIONS`` is called in an environment's options."""
    return f"skylift.{setting.name}"


def option_of(setting: Setting[T], options: Mapping[str, str]) -> T:
    """One of ``ENVIRONMENT_OPTIONS``, from an environment's options by ``section.key``."""
    text = options.get(option_name(setting), "")
    return setting.parse(text) if text else setting.default  # type: ignore[return-value]  # each has a default


@dataclass(frozen=True)
class ControlSettings:
    """Values of ``CONTROL_SETTINGS``; each attribute is the setting of that name."""

    region: str = "us-east-1"
    account: str = "000000000000"
    database_secret: str = "skylift/postgres"  # noqa: S105  # the secret's name
    control_database: str = "skylift"
    control_bucket: str = ""
    cluster: str = "skylift"
    image: str = "skylift/airflow:{version}"
    versions: tuple[str, ...] = ("3.3.2",)
    task_execution_role: str = ""
    launch_type: str = "FARGATE"
    launches_per_second: int = 20
    scheduler_idle_milliseconds: int = 1000
    container_insights: str = ""
    service_metrics_namespace: str = ""
    worker_idle_seconds: int = 120
    worker_look_milliseconds: int = 1000
    metrics_seconds: int = 60
    web_listener_port: int = 8080
    default_schedulers: int = 1
    default_webservers: int = 1
    default_executors: tuple[str, ...] = DEFAULT_EXECUTORS
    patches: str = "window"
    check_role: bool = True
    administrators: tuple[str, ...] = ()
    access_judge: str = "evaluate"
    create_seconds: int = 1800
    moving_milliseconds: int = 400
    steady_seconds: int = 30

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> ControlSettings:
        """From environment variables. Raises ``Refused`` that names the variable which is wrong."""
        return cls(**read_all(CONTROL_SETTINGS, environ))

    @property
    def bucket(self) -> str:
        """The control-plane bucket's name."""
        return self.control_bucket or f"skylift-{self.account}-{self.region}"

    @property
    def starting_role(self) -> str:
        """ARN of the task execution role."""
        return self.task_execution_role or arn("iam", self.region, self.account, f"role/{TASK_EXECUTION_ROLE}")

    def image_of(self, version: str) -> str:
        """Image reference for an Airflow version."""
        return self.image.replace("{version}", version)
