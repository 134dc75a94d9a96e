"""The cluster, the task definition and the service of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from skylift.aws.account_calls import AccountCalls, NotAllowed
from skylift.core.errors import Refused
from skylift.deploy.fargate.network import TaskNetwork
from skylift.deploy.fargate.wanted import CONTAINER, PORT, AirflowWanted, Named, foreign, lower_tags, tagged

NO_CLUSTER = frozenset({"ClusterNotFoundException"})
NO_SERVICE = frozenset({"ServiceNotFoundException", "ClusterNotFoundException", "ServiceNotActiveException"})
FARGATE, SPOT = "FARGATE", "FARGATE_SPOT"
ROLE_SECONDS = 60.0
"""How long a new role may be unknown to ECS: IAM's changes take seconds to be known everywhere."""
UNORDERED = frozenset({"environment", "secrets", "subnets", "securityGroups"})
"""Lists whose order means nothing: EC2 and ECS list them in another order than the one in which they were made."""

HEALTH = """\
import json, os, sys, urllib.request
def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return json.load(opener.open(url, timeout=12))
task = os.environ.get("ECS_CONTAINER_METADATA_URI_V4")
address = get(task)["Networks"][0]["IPv4Addresses"][0] if task else "127.0.0.1"
health = get(f"http://{address}:8080/api/v2/monitor/health")
parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
sys.exit(any((health.get(part) or {}).get("status") != "healthy" for part in parts))
"""
"""The health check: what Airflow itself says of its database and its three daemons, not only an open port."""

CHECKS = {"interval": 5, "timeout": 30, "retries": 8, "startPeriod": 300}
"""An Airflow that is busy answers late, and its scheduler's heartbeat is late: ending it for that would end all Airflow
tasks that run in it. So it may take 30 s to answer, and must be unwell eight times in a row, at least 40 s."""

VARIABLES = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
    "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "300",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    "PYTHONUNBUFFERED": "1",
}


@cache
def program() -> str:
    """The text of the program that the container runs."""
    return Path(__file__).with_name("in_container.py").read_text()


def ensure_cluster(calls: AccountCalls, named: Named) -> None:
    """The cluster. Raises ``Refused`` for somebody else's."""
    found = find_cluster(calls, named)
    if found is None:
        calls.call(
            "ecs",
            "create_cluster",
            clusterName=named.whole,
            capacityProviders=[FARGATE, SPOT],
            tags=lower_tags(named.name),
        )
    elif tagged(found.get("tags")) != named.name:
        raise Refused(foreign(f"cluster {named.whole}", named.name))


def find_cluster(calls: AccountCalls, named: Named) -> dict[str, Any] | None:
    """The active cluster of that name, whoever made it."""
    found = calls.call("ecs", "describe_clusters", clusters=[named.whole], include=["TAGS"])["clusters"]
    return next((one for one in found if one["status"] != "INACTIVE"), None)


def definition(wanted: AirflowWanted, named: Named, roles: tuple[str, str], secret: str) -> dict[str, Any]:
    """The request for RegisterTaskDefinition, without tags. Pure."""
    ours = {"SKYLIFT_ALONE_DAGS": named.dags, "SKYLIFT_ALONE_STATE": named.state}
    variables = {**VARIABLES, **ours, **wanted.variables}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": wanted.image,
        "essential": True,
        "command": list(wanted.command) or ["python", "-c", program()],
        "environment": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        "secrets": [{"name": "SKYLIFT_ALONE_PASSWORD", "valueFrom": secret}],
        "healthCheck": {"command": ["CMD", "python", "-c", HEALTH], **CHECKS},
        "portMappings": [{"containerPort": PORT, "protocol": "tcp"}],
        "stopTimeout": 60,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": named.log_group,
                "awslogs-region": named.region,
                "awslogs-stream-prefix": "airflow",
            },
        },
    }
    return {
        "family": named.whole,
        "networkMode": "awsvpc",
        "requiresCompatibilities": [FARGATE],
        "cpu": str(wanted.cpu),
        "memory": str(wanted.memory),
        "executionRoleArn": roles[0],
        "taskRoleArn": roles[1],
        "runtimePlatform": {
            "cpuArchitecture": "ARM64" if wanted.arm else "X86_64",
            "operatingSystemFamily": "LINUX",
        },
        "containerDefinitions": [container],
    }


def ensure_definition(calls: AccountCalls, named: Named, wanted: Mapping[str, Any]) -> str:
    """The newest revision, registered if the last one differs. Returns its ARN."""
    revisions = definitions(calls, named)
    if revisions:
        found = calls.call("ecs", "describe_task_definition", taskDefinition=revisions[0])["taskDefinition"]
        if contains(found, wanted):
            return str(found["taskDefinitionArn"])
    made = calls.call("ecs", "register_task_definition", **wanted, tags=lower_tags(named.name))
    return str(made["taskDefinition"]["taskDefinitionArn"])


def definitions(calls: AccountCalls, named: Named, status: str = "ACTIVE") -> list[str]:
    """ARNs of our task definitions, the newest first."""
    found = calls.pages(
        "ecs", "list_task_definitions", "taskDefinitionArns", familyPrefix=named.whole, status=status, sort="DESC"
    )
    return [str(arn) for arn in found if arn.rpartition("/")[2].rpartition(":")[0] == named.whole]


def contains(found: Any, wanted: Any) -> bool:
    """Whether ECS's answer has what was asked for; it adds members of its own. Pure."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            contains(_ordered(name, found.get(name)), _ordered(name, value)) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(contains, found, wanted))
    return bool(found == wanted)


def _ordered(name: str, value: Any) -> Any:
    if name not in UNORDERED or not isinstance(value, list):
        return value
    return sorted(value, key=lambda one: str(one["name"] if isinstance(one, Mapping) else one))


def find_service(calls: AccountCalls, named: Named) -> dict[str, Any] | None:
    """The service, unless it is gone."""
    found = calls.call(
        "ecs",
        "describe_services",
        absent=NO_SERVICE,
        cluster=named.whole,
        services=[named.whole],
        include=["TAGS"],
    )
    return next((one for one in found.get("services", ()) if one["status"] != "INACTIVE"), None)


def ensure_service(
    calls: AccountCalls,
    wanted: AirflowWanted,
    named: Named,
    revision: str,
    network: TaskNetwork,
    say: Callable[[str], None],
) -> None:
    """The service of one. Its old task ends before a new one begins: two schedulers would run everything twice."""
    request = _request(wanted, revision, network)
    deadline = time.monotonic() + ROLE_SECONDS
    while (found := find_service(calls, named)) is not None and found["status"] == "DRAINING":
        if time.monotonic() > deadline:
            raise Refused(f"The service of before is not gone yet. Wait, or: {named.command('down')}")
        say("waiting for the service of before to be gone")
        time.sleep(1)
    if found is None:
        _create(calls, named, request, deadline, say)
        return
    if tagged(found.get("tags")) != named.name:
        raise Refused(foreign(f"service {named.whole}", named.name))
    if not contains(found, request) or _failed(found):
        force: dict[str, Any] = {"forceNewDeployment": True} if _failed(found) else {}
        calls.call("ecs", "update_service", cluster=named.whole, service=named.whole, **request, **force)


def _request(wanted: AirflowWanted, revision: str, network: TaskNetwork) -> dict[str, Any]:
    """What CreateService and UpdateService have in common."""
    return {
        "taskDefinition": revision,
        "desiredCount": 1,
        "capacityProviderStrategy": [{"capacityProvider": SPOT if wanted.spot else FARGATE, "weight": 1}],
        "deploymentConfiguration": {
            "minimumHealthyPercent": 0,
            "maximumPercent": 100,
            "deploymentCircuitBreaker": {"enable": True, "rollback": False},
        },
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": list(network.subnets),
                "securityGroups": [network.group, *wanted.security_groups],
                "assignPublicIp": "ENABLED" if wanted.public else "DISABLED",
            }
        },
    }


def _create(
    calls: AccountCalls, named: Named, request: Mapping[str, Any], deadline: float, say: Callable[[str], None]
) -> None:
    """Creates the service, and is patient with IAM: a new role is not known everywhere at once."""
    owned: dict[str, Any] = {"propagateTags": "SERVICE", "enableECSManagedTags": True, "tags": lower_tags(named.name)}
    while True:
        try:
            calls.call("ecs", "create_service", cluster=named.whole, serviceName=named.whole, **owned, **request)
            return
        except Refused as error:
            said = str(error).lower()
            if time.monotonic() > deadline or "role" not in said or isinstance(error, NotAllowed):
                raise
            if "service linked role" in said:
                taken = {"InvalidInput", "InvalidInputException"}
                calls.call("iam", "create_service_linked_role", absent=taken, AWSServiceName="ecs.amazonaws.com")
            say("waiting for IAM to know the new roles everywhere")
            time.sleep(2)


def _failed(service: Mapping[str, Any]) -> bool:
    return any(one.get("rolloutState") == "FAILED" for one in service.get("deployments", ()))
