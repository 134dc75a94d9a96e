"""What is there of a NAME: how its Airflow is, its address, its last lines, and every NAME of the account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.aws.account_calls import AccountCalls
from skylift.deploy.fargate import network, roles, service, storage
from skylift.deploy.fargate.prices import price, so_far
from skylift.deploy.fargate.wanted import CONTAINER, PORT, TAG, Named, tagged

PREFIX = "skylift-fargate-"


@dataclass(frozen=True)
class AirflowSeen:
    """One Airflow as it stands.

    Attributes:
        state: of its ECS task: PROVISIONING ... RUNNING; "" without one; and of the service where that says more.
        health: UNKNOWN, HEALTHY or UNHEALTHY, as ECS says.
        address: http://...:8080; "" if it has none yet.
        task: id of its ECS task.
        revision: ARN of the task definition that runs.
        seconds: since the image was pulled; Fargate counts from there.
        cost: of this task so far.
    """

    state: str
    health: str = ""
    address: str = ""
    task: str = ""
    revision: str = ""
    seconds: float = 0.0
    cost: str = ""


def look(calls: AccountCalls, named: Named) -> AirflowSeen:
    """The newest task of the service."""
    found = service.find_service(calls, named)
    if found is None:
        return AirflowSeen("no service")
    tasks = tasks_of(calls, named)
    if not tasks:
        return AirflowSeen("no task" if found["desiredCount"] else "stopped")
    task = max(tasks, key=lambda one: one["createdAt"])
    begun = task.get("pullStartedAt") or task["createdAt"]
    seconds = (datetime.now(UTC) - begun).total_seconds()
    spot = task.get("capacityProviderName") == service.SPOT
    arm = any(one.get("value") == "arm64" for one in task.get("attributes", ()) if "cpu" in one.get("name", ""))
    costs = price(calls.region, int(task["cpu"]), int(task["memory"]), arm=arm, spot=spot)
    return AirflowSeen(
        str(task["lastStatus"]),
        str(task.get("healthStatus", "UNKNOWN")),
        address_of(calls, task),
        str(task["taskArn"]).rpartition("/")[2],
        str(task["taskDefinitionArn"]),
        seconds,
        so_far(costs, seconds),
    )


def tasks_of(calls: AccountCalls, named: Named, desired: str = "RUNNING") -> list[dict[str, Any]]:
    """The service's ECS tasks. Those that have ended stay visible for an hour."""
    request = {"cluster": named.whole, "serviceName": named.whole, "desiredStatus": desired}
    return described(calls, named, calls.pages("ecs", "list_tasks", "taskArns", **request))


def described(calls: AccountCalls, named: Named, arns: list[str]) -> list[dict[str, Any]]:
    """ECS tasks by ARN, with their tags."""
    found: list[dict[str, Any]] = []
    for begin in range(0, len(arns), 100):
        part = arns[begin : begin + 100]
        found += calls.call("ecs", "describe_tasks", cluster=named.whole, tasks=part, include=["TAGS"])["tasks"]
    return found


def address_of(calls: AccountCalls, task: Mapping[str, Any]) -> str:
    """Where a browser finds the task: the public address of its network interface, else the private one."""
    details = {one["name"]: one["value"] for found in task.get("attachments", ()) for one in found.get("details", ())}
    interface = details.get("networkInterfaceId", "")
    if not interface:
        return ""
    answer = calls.call(
        "ec2",
        "describe_network_interfaces",
        absent={"InvalidNetworkInterfaceID.NotFound"},
        NetworkInterfaceIds=[interface],
    )
    seen: Mapping[str, Any] = next(iter(answer.get("NetworkInterfaces", ())), {})
    host = seen.get("Association", {}).get("PublicIp") or details.get("privateIPv4Address", "")
    return f"http://{host}:{PORT}" if host else ""


def last_lines(calls: AccountCalls, named: Named, task: str, count: int) -> list[str]:
    """The last lines of a task's log."""
    answer = calls.call(
        "logs",
        "get_log_events",
        absent=storage.NO_GROUP,
        logGroupName=named.log_group,
        logStreamName=f"airflow/{CONTAINER}/{task}",
        limit=count,
        startFromHead=False,
    )
    return [str(one["message"]).rstrip() for one in answer.get("events", ())][-count:]


def inventory(calls: AccountCalls, named: Named) -> list[str]:
    """Everything of a NAME that is there, in words: what ``down`` has yet to delete."""
    own = network.find(calls, named.name)
    found = [
        *(f"VPC {one}" for one in own.vpcs),
        *(f"subnet {one['SubnetId']}" for one in own.subnets),
        *(f"internet gateway {one['InternetGatewayId']}" for one in own.gateways),
        *(f"route table {one['RouteTableId']}" for one in own.tables),
        *(f"security group {one['GroupId']}" for one in own.groups),
    ]
    cluster = service.find_cluster(calls, named)
    if cluster is not None and tagged(cluster.get("tags")) == named.name:
        found.append(f"ECS cluster {named.whole}")
        if service.find_service(calls, named) is not None:
            found.append(f"ECS service {named.whole}")
    found += [f"task definition {one.rpartition('/')[2]}" for one in service.definitions(calls, named)]
    for role in named.roles:
        answer = calls.call("iam", "get_role", absent=roles.ABSENT, RoleName=role)
        if answer and roles.ours(calls, named, answer["Role"]):
            found.append(f"role {role}")
    if storage.log_group_owner(calls, named) == named.name:
        found.append(f"log group {named.log_group}")
    secret = calls.call("secretsmanager", "describe_secret", absent=storage.NO_SECRET, SecretId=named.secret)
    if tagged(secret.get("Tags")) == named.name and not secret.get("DeletedDate"):
        found.append(f"secret {named.secret}")
    if storage.bucket_owner(calls, named) in {named.name, "half-made"}:
        found.append(f"bucket {named.bucket}")
    return found


def names(calls: AccountCalls) -> list[str]:
    """Every NAME of this account and region of which something is there, also half-made ones."""
    found: set[str] = set()
    mine = [{"Name": "tag-key", "Values": [TAG]}]
    for operation, member in (
        ("describe_vpcs", "Vpcs"),
        ("describe_security_groups", "SecurityGroups"),
        ("describe_subnets", "Subnets"),
        ("describe_internet_gateways", "InternetGateways"),
        ("describe_route_tables", "RouteTables"),
    ):
        found |= {tagged(one.get("Tags")) for one in calls.pages("ec2", operation, member, Filters=mine)}
    for arn in calls.pages("ecs", "list_clusters", "clusterArns"):
        found.add(_after(PREFIX, arn.rpartition("/")[2]))
    for family in calls.pages("ecs", "list_task_definition_families", "families", familyPrefix=PREFIX, status="ACTIVE"):
        found.add(_after(PREFIX, family))
    for role in calls.pages("iam", "list_roles", "Roles", PathPrefix=roles.PATH):
        for end in ("execution", "task"):
            name = str(role["RoleName"])
            if name.endswith(f"-{calls.region}-{end}"):
                found.add(_after(PREFIX, name.removesuffix(f"-{calls.region}-{end}")))
    for group in calls.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix="/skylift/fargate/"):
        found.add(_after("/skylift/fargate/", group["logGroupName"]))
    by_name = [{"Key": "name", "Values": ["skylift/fargate/"]}]
    for secret in calls.pages("secretsmanager", "list_secrets", "SecretList", Filters=by_name):
        found.add(tagged(secret.get("Tags")))
    end = f"-{calls.account}-{calls.region}"
    for bucket in calls.call("s3", "list_buckets").get("Buckets", ()):
        if str(bucket["Name"]).endswith(end):
            found.add(_after(PREFIX, str(bucket["Name"]).removesuffix(end)))
    return sorted(found - {""})


def _after(prefix: str, text: str) -> str:
    return text.removeprefix(prefix) if text.startswith(prefix) else ""
