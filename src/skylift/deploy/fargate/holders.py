"""Who holds a network: the interfaces that are left in it, and what each belongs to, in words.

AWS deletes no security group while an interface has it, and no subnet and no VPC while an interface is in it. The
interface belongs to something, often of somebody else: only that one's owner can end it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.aws.account_calls import AccountCalls, NotAllowed
from skylift.core.errors import Refused

_ATTACHMENT = re.compile(r"arn:[\w-]+:ecs:[\w-]+:\d{12}:attachment/(?P<id>[0-9a-f-]+)")
_BATCH = re.compile(r"AWSBatch-(?P<environment>.+?)-[0-9a-fA-F-]{8,}$|AWSBatch-(?P<short>.+)")
BY_DESCRIPTION = (
    (re.compile(r"ELB (?P<what>(?:app|net|gwy)/[^/]+)"), "load balancer {what}"),
    (re.compile(r"ELB (?P<what>\S+)"), "classic load balancer {what}"),
    (re.compile(r"AWS Lambda VPC ENI-(?P<what>.+?)(?:-[0-9a-f-]{36})?$"), "Lambda function {what}"),
    (re.compile(r"Interface for NAT Gateway (?P<what>\S+)"), "NAT gateway {what}"),
    (re.compile(r"VPC Endpoint Interface (?P<what>\S+)"), "VPC endpoint {what}"),
    (re.compile(r"RDSNetworkInterface"), "a database of RDS"),
    (re.compile(r"EFS mount target for (?P<what>\S+)"), "EFS mount target {what}"),
    (re.compile(r"ElastiCache (?P<what>\S+)"), "ElastiCache {what}"),
)


@dataclass(frozen=True)
class Holder:
    """One interface and what it belongs to.

    Attributes:
        interface: its id.
        what: the holder in words: "ECS task 0123 of cluster demo", "instance i-0123", "unknown".
        description: AWS's.
        owner: account of the interface, and who asked for it if that is a service.
        groups: ids of its security groups.
        subnet: id of its subnet.
        cluster: name of the ECS cluster whose task it is; "" if it is none.
    """

    interface: str
    what: str
    description: str
    owner: str
    groups: tuple[str, ...]
    subnet: str
    cluster: str = ""

    def __str__(self) -> str:
        shown = f", {self.description!r}" if self.description else ""
        return f"{self.what} (interface {self.interface}, owner {self.owner}{shown})"


def holders(calls: AccountCalls, groups: Iterable[str], vpcs: Iterable[str]) -> list[Holder]:
    """Every interface that has one of the groups or is in one of the VPCs, with what it belongs to."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, values in (("group-id", list(groups)), ("vpc-id", list(vpcs))):
        if values:
            filters = [{"Name": name, "Values": values}]
            for one in calls.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=filters):
                found[str(one["NetworkInterfaceId"])] = one
    tasks = _ecs_tasks(calls) if any(_attachment(one) for one in found.values()) else {}
    return [_holder(one, tasks) for _, one in sorted(found.items())]


def _attachment(interface: Mapping[str, Any]) -> str:
    match = _ATTACHMENT.fullmatch(str(interface.get("Description", "")))
    return match["id"] if match else ""


def _holder(interface: Mapping[str, Any], tasks: Mapping[str, tuple[str, str]]) -> Holder:
    cluster, words = tasks.get(_attachment(interface), ("", ""))
    requester = interface.get("RequesterId")
    return Holder(
        str(interface["NetworkInterfaceId"]),
        words or _what(interface),
        str(interface.get("Description", "")),
        str(interface.get("OwnerId", "")) + (f", for {requester}" if requester else ""),
        tuple(str(one["GroupId"]) for one in interface.get("Groups", ())),
        str(interface.get("SubnetId", "")),
        cluster,
    )


def _what(interface: Mapping[str, Any]) -> str:
    """What it is, from its attachment and its description; "unknown" if neither says it."""
    if instance := interface.get("Attachment", {}).get("InstanceId"):
        return f"instance {instance}"
    if _attachment(interface):
        return "an ECS task of another account or region, or one that has just ended"
    for pattern, words in BY_DESCRIPTION:
        if match := pattern.match(str(interface.get("Description", ""))):
            return words.format(**match.groupdict())
    if interface.get("Status") == "available":
        return "nothing: an interface that somebody made and attached to nothing"
    return "unknown"


def _ecs_tasks(calls: AccountCalls) -> dict[str, tuple[str, str]]:
    """Attachment id to the name of the cluster and words, for every ECS task that has not ended."""
    found: dict[str, tuple[str, str]] = {}
    try:
        clusters = calls.pages("ecs", "list_clusters", "clusterArns")
    except NotAllowed:
        return {}
    for cluster in clusters:
        try:
            running = calls.pages("ecs", "list_tasks", "taskArns", cluster=cluster)
            running += calls.pages("ecs", "list_tasks", "taskArns", cluster=cluster, desiredStatus="STOPPED")
        except Refused:  # it has just been deleted, or is not ours to see
            continue
        for begin in range(0, len(running), 100):
            part = running[begin : begin + 100]
            for task in calls.call("ecs", "describe_tasks", cluster=cluster, tasks=part)["tasks"]:
                for one in task.get("attachments", ()):
                    found[str(one["id"])] = (cluster.rpartition("/")[2], _words(task, cluster.rpartition("/")[2]))
    return found


def _words(task: Mapping[str, Any], cluster: str) -> str:
    ident, group = str(task["taskArn"]).rpartition("/")[2], str(task.get("group", ""))
    if match := _BATCH.match(cluster):
        return f"a Batch job of compute environment {match['environment'] or match['short']} (ECS task {ident})"
    service = group.removeprefix("service:") if group.startswith("service:") else ""
    return f"ECS task {ident} of {f'service {service} in ' if service else ''}cluster {cluster}"
