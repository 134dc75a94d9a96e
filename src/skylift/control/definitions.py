"""Renders the ECS task definitions of an environment. Pure: takes context and role, returns RegisterTaskDefinition's
request.

The same text always has the same digest, which is stored in the definition as a Docker label. So an unchanged
definition is found again, and a changed one is registered. It never contains secret values, only their ARNs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skylift.control import airflow_config
from skylift.control.api.validation import CLASSES
from skylift.control.blueprint import EXECUTOR_ROLE, has_layer
from skylift.control.part_context import PartContext, digest, service_log_group
from skylift.core import containers
from skylift.core.containers import CONTAINER_NAME, ENTRYPOINT, WEB_PORT, Command
from skylift.core.names import log_group, s3_url

DIGEST_LABEL = "skylift.digest"
"""Docker label that holds the digest of the definition."""

MODULES = {
    Command.API_SERVER: "WebserverLogs",
    Command.SCHEDULER: "SchedulerLogs",
    Command.TRIGGERER: "SchedulerLogs",
    Command.DAG_PROCESSOR: "DagProcessingLogs",
    Command.WORKER: "WorkerLogs",
    EXECUTOR_ROLE: "WorkerLogs",
}
"""Log module of each role. MWAA has no module for the triggerer; there it belongs to the scheduler."""

INSTALL_LOGS = {
    Command.API_SERVER: ("WebserverLogs",),
    Command.SCHEDULER: ("SchedulerLogs",),
    Command.TRIGGERER: ("SchedulerLogs",),
    Command.DAG_PROCESSOR: ("SchedulerLogs",),
    Command.WORKER: ("WorkerLogs",),
    # On MWAA each of these containers installs the requirements, and says so in its own group.
    Command.BUILD_LAYER: ("WorkerLogs", "SchedulerLogs", "WebserverLogs"),
}
"""Log modules whose groups also get the logs of startup.sh and of the requirements' installation, under MWAA's stream
names. Airflow tasks are left out: there may be thousands, and each stream would have the same lines."""

AWS_MAX_ATTEMPTS = "12"
"""boto3's own three attempts are over in 0.3 s; these take 30 s, in which an unreachable AWS may come back. Locally
this covers a server that was killed and started again: user code that reads S3 meanwhile waits instead of failing."""

WITHOUT_DATABASE = frozenset({EXECUTOR_ROLE, Command.BUILD_LAYER, Command.PROVE})
"""Roles that never see the database or Airflow's keys: user code runs there, and Airflow 3 gives it an API instead.
ECS starts them with the environment's own role: their executor must pass the role on, and whoever may pass a role to
ECS can run user code with it. All others are started with a role that user code never has, because it reads the
secrets."""


def family(environment: str, role: str) -> str:
    """Family of a role's task definition; also the name of its ECS service."""
    return f"skylift-{environment}-{role}"


def definition(context: PartContext, role: str) -> dict[str, Any]:
    """The request for RegisterTaskDefinition of one role (a ``Command`` or ``task``)."""
    spec, settings = context.spec, context.settings
    size = CLASSES[spec.environment_class]
    web = role == Command.API_SERVER
    container: dict[str, Any] = {
        "name": CONTAINER_NAME,
        "image": settings.image_of(spec.airflow_version),
        "essential": True,
        "entryPoint": list(ENTRYPOINT),
        "environment": [{"name": name, "value": value} for name, value in sorted(variables(context, role).items())],
        "secrets": [{"name": name, "valueFrom": source} for name, source in sorted(secrets(context, role).items())],
        "logConfiguration": _logs(context, role),
        # Longer than Fargate's 30 s, so that a stopped task can still report to Airflow.
        "stopTimeout": 120,
    }
    if role != EXECUTOR_ROLE:
        container["command"] = [str(role)]
    if web:
        container["portMappings"] = [{"containerPort": WEB_PORT, "protocol": "tcp"}]
    request = {
        "family": family(spec.name, role),
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(size.web_cpu if web else size.scheduler_cpu),
        "memory": str(size.web_memory if web else size.scheduler_memory),
        "taskRoleArn": spec.execution_role,
        "executionRoleArn": spec.execution_role if role in WITHOUT_DATABASE else settings.starting_role,
        "containerDefinitions": [container],
    }
    container["dockerLabels"] = {DIGEST_LABEL: digest(json.dumps(request, sort_keys=True))}
    return request


def digest_of(request: Mapping[str, Any]) -> str:
    """The digest label of a definition (ours or one that ECS describes); "" if it has none."""
    for container in request.get("containerDefinitions", ()):
        if container.get("name") == CONTAINER_NAME:
            return str(container.get("dockerLabels", {}).get(DIGEST_LABEL, ""))
    return ""


def variables(context: PartContext, role: str) -> dict[str, str]:
    """Plain environment variables of a role. Later ones win; none is secret."""
    spec = context.spec
    ours = {containers.ENVIRONMENT.env: spec.name, "AWS_MAX_ATTEMPTS": AWS_MAX_ATTEMPTS, **_as_on_mwaa(context)}
    # The builder, too: requirements may name a constraints file among the DAGs.
    ours[containers.BUNDLE.env] = s3_url(spec.bucket, spec.dag_prefix)
    if groups := _install_log_groups(context, role):
        ours[containers.INSTALL_LOG_GROUPS.env] = ",".join(groups)
    if role == Command.BUILD_LAYER:
        return ours
    if role == Command.MIGRATE:
        return ours | {"AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    if role == Command.API_SERVER:
        ours[containers.TOKEN_KEY.env] = context.fact("secrets.token_key")
    ours[containers.METRICS_SECONDS.env] = str(context.settings.metrics_seconds)
    ours[containers.LAYER.env] = context.fact("layer.url") if has_layer(spec) else ""
    ours[containers.STARTUP_SCRIPT.env] = context.fact("source.startup_script") if spec.startup_script else ""
    merged = (
        airflow_config.opinions(context)
        | airflow_config.opinions_of(context, role)
        | airflow_config.essentials(context, MODULES.get(role, "DagProcessingLogs"))
    )
    # ECS refuses a name that is both a variable and a secret.
    theirs = {*airflow_config.user_options(context), *airflow_config.references(context)}
    return {name: value for name, value in (merged | ours).items() if name not in theirs}


def secrets(context: PartContext, role: str) -> dict[str, str]:
    """Variables of a role that ECS fills from Secrets Manager: name -> ARN, or
    ``{arn}:{json key}::{version id}``."""
    wanted: dict[str, str] = {}
    if role not in WITHOUT_DATABASE:
        wanted[airflow_config.DATABASE_OPTION] = f"{context.fact('database.secret')}:url::"
    # A worker writes its results to the database; it gets its tokens with the messages, and needs no keys.
    if role not in WITHOUT_DATABASE | {Command.WORKER}:
        for name, key in airflow_config.SECRET_OPTIONS.items():
            wanted[name] = f"{context.fact('secrets.airflow')}:{key}::"
    if role in MODULES or role == Command.PROVE:
        # With the version, so that running containers keep their values while an update is tried.
        version = context.fact("secrets.options_version")
        for name in airflow_config.user_options(context):
            wanted[name] = f"{context.fact('secrets.options')}:{name}::{version}"
        wanted |= airflow_config.references(context)
    return wanted


def _as_on_mwaa(context: PartContext) -> dict[str, str]:
    """What people's DAGs read on MWAA, whose image has these names, too (github.com/aws/amazon-mwaa-docker-images)."""
    return {
        "AIRFLOW_ENV_NAME": context.spec.name,
        "AIRFLOW_VERSION": context.spec.airflow_version,
        "CUSTOMER_ACCOUNT_ID": context.settings.account,
    }


def _install_log_groups(context: PartContext, role: str) -> list[str]:
    spec = context.spec
    runs = spec.startup_script or (role == Command.BUILD_LAYER and spec.requirements)
    modules = INSTALL_LOGS.get(Command(role), ()) if runs and role in set(Command) else ()
    return [log_group(spec.name, module) for module in modules if spec.logging[module].enabled]


def _logs(context: PartContext, role: str) -> dict[str, Any]:
    module = MODULES.get(role, "")
    enabled = bool(module) and context.spec.logging[module].enabled
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": log_group(context.spec.name, module) if enabled else service_log_group(context.spec.name),
            "awslogs-region": context.settings.region,
            "awslogs-stream-prefix": str(role),
        },
    }
