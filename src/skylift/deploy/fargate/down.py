"""Removes one Airflow from Fargate: from any half-made point, from any machine, twice; only what has our tag.

The order is AWS's. A role's policy outlives the service that needs it to drain. A security group can go when no
interface has it and no rule names it, a subnet when no interface is in it, a gateway when no public address is mapped,
a VPC when nothing but its own default group is left. What of others is in the way is named and waited for, never ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skylift.aws.account_calls import AccountCalls
from skylift.core.errors import Refused, Unavailable
from skylift.deploy.fargate import network, roles, service, storage
from skylift.deploy.fargate.holders import holders
from skylift.deploy.fargate.look import described
from skylift.deploy.fargate.prices import kept
from skylift.deploy.fargate.up import Progress
from skylift.deploy.fargate.wanted import TAG, Named, tagged

LOOK_SECONDS = 0.5
IN_USE = frozenset({"DependencyViolation", "InvalidIPAddress.InUse", "InvalidNetworkInterface.InUse"})
BUSY = frozenset({"ClusterContainsTasksException", "ClusterContainsServicesException", "UpdateInProgressException"})


@dataclass(frozen=True)
class Removing:
    """What a removal needs.

    Attributes:
        clock: monotonic seconds.
        deadline: of ``clock``; after it, what is in the way is told as an error.
    """

    calls: AccountCalls
    named: Named
    show: Progress
    clock: Callable[[], float]
    deadline: float

    def pause(self, text: str) -> None:
        """Shows what AWS is waited for, and waits a moment. Raises ``Unavailable`` after the deadline."""
        if self.clock() > self.deadline:
            raise Unavailable(
                f"{text}, for longer than --wait. It goes on by itself; for the rest run "
                f"{self.named.command('down')} again."
            )
        self._wait(text)

    def pause_for(self, text: str, holding: list[str]) -> None:
        """Shows which things of somebody else are waited for, and waits a moment. Raises ``Refused`` after the
        deadline."""
        if self.clock() > self.deadline:
            raise Refused(
                f"{text}, and it is not ours to end:\n"
                + "\n".join(f"  {one}" for one in holding)
                + f"\nEnd it, then run {self.named.command('down')} again. What is left costs nothing."
            )
        self._wait(text)

    def _wait(self, text: str) -> None:
        self.show.now(text)
        time.sleep(LOOK_SECONDS if not self.calls.real else 6 * LOOK_SECONDS)


def remove(removing: Removing, *, keep_data: bool = False) -> list[str]:
    """Removes it. Returns what was kept, with its cost, a line each.

    Raises:
        Refused: somebody else's things hold what is ours, and did not go in time; the text names them.
        Unavailable: AWS did not end what is ours in time.
    """
    calls, named, show = removing.calls, removing.named, removing.show
    cluster = service.find_cluster(calls, named)
    mine = cluster is not None and tagged(cluster.get("tags")) == named.name
    if mine:
        _end_service(removing)
        _end_tasks(removing)
    left = []
    if storage.remove_log_group(calls, named):
        show.done(f"log group {named.log_group}")
    if storage.remove_secret(calls, named):
        show.done(f"secret {named.secret}")
    for role in named.roles:
        if roles.remove(calls, named, role):
            show.done(f"role {role}")
    _remove_definitions(removing)
    if keep_data and storage.bucket_owner(calls, named) == named.name:
        size = storage.bucket_size(calls, named)
        cost = kept(calls.region, size)
        left.append(f"bucket {named.bucket}: {size / 1e6:.1f} MB, {cost}. To delete it: {named.command('down')}")
    elif storage.remove_bucket(calls, named, show.now):
        show.done(f"bucket {named.bucket}")
    if mine:
        _remove_cluster(removing)
    _remove_network(removing)
    return left


def _end_service(removing: Removing) -> None:
    calls, named = removing.calls, removing.named
    found = service.find_service(calls, named)
    if found is None or tagged(found.get("tags")) != named.name:
        return
    removing.show.now("stopping Airflow")
    if found["status"] == "ACTIVE":
        request = {"cluster": named.whole, "service": named.whole}
        if found["desiredCount"]:
            calls.call("ecs", "update_service", absent=service.NO_SERVICE, **request, desiredCount=0)
        calls.call("ecs", "delete_service", absent=service.NO_SERVICE, **request, force=True)


def _end_tasks(removing: Removing) -> None:
    """Stops our ECS tasks and waits until they are gone; others in our cluster are left to ``_remove_cluster``."""
    calls, named = removing.calls, removing.named
    asked: set[str] = set()
    running = False
    while True:
        ours = [one for one in _tasks(calls, named) if tagged(one.get("tags")) == named.name]
        for task in ours:
            arn = str(task["taskArn"])
            if arn not in asked and task["desiredStatus"] != "STOPPED":
                gone = {"InvalidParameterException", "ClusterNotFoundException"}
                reason = named.command("down")
                calls.call("ecs", "stop_task", absent=gone, cluster=named.whole, task=arn, reason=reason)
                asked.add(arn)
        running = running or bool(ours)
        drained = service.find_service(calls, named) is None
        if not ours and drained:
            if running:
                removing.show.done("Airflow is stopped")
            return
        words = [f"ECS task {str(one['taskArn']).rpartition('/')[2]} is {one['lastStatus']}" for one in ours]
        removing.pause("waiting for Airflow to end: " + (", ".join(words) or "its service is being deleted"))


def _tasks(calls: AccountCalls, named: Named) -> list[dict[str, Any]]:
    """Every ECS task in the cluster that has not ended."""
    arns = [
        *calls.pages("ecs", "list_tasks", "taskArns", cluster=named.whole),
        *calls.pages("ecs", "list_tasks", "taskArns", cluster=named.whole, desiredStatus="STOPPED"),
    ]
    return [one for one in described(calls, named, list(dict.fromkeys(arns))) if one["lastStatus"] != "STOPPED"]


def _remove_definitions(removing: Removing) -> None:
    calls, named = removing.calls, removing.named
    for arn in service.definitions(calls, named):
        found = calls.call("ecs", "describe_task_definition", taskDefinition=arn, include=["TAGS"])
        if tagged(found.get("tags")) == named.name:
            calls.call("ecs", "deregister_task_definition", taskDefinition=arn)
    inactive = service.definitions(calls, named, "INACTIVE")
    for begin in range(0, len(inactive), 10):
        calls.call("ecs", "delete_task_definitions", taskDefinitions=inactive[begin : begin + 10])
    if inactive:
        removing.show.done(f"task definition {named.whole}, {len(inactive)} revisions")


def _remove_cluster(removing: Removing) -> None:
    calls, named = removing.calls, removing.named
    while True:
        answer = calls.call("ecs", "delete_cluster", absent=BUSY | service.NO_CLUSTER, cluster=named.whole)
        if answer or service.find_cluster(calls, named) is None:
            removing.show.done(f"cluster {named.whole}")
            return
        words = [f"ECS task {str(one['taskArn']).rpartition('/')[2]} ({one['group']})" for one in _tasks(calls, named)]
        removing.pause_for(f"the cluster {named.whole} has something that is not ours", words)


def _remove_network(removing: Removing) -> None:
    calls, named = removing.calls, removing.named
    own = network.find(calls, named.name)
    groups = [str(one["GroupId"]) for one in own.groups]
    if not any((own.vpcs, own.subnets, own.gateways, own.tables, groups)):
        return
    told: set[str] = set()
    while True:
        holding = [str(one) for one in holders(calls, groups, own.vpcs)] + _strangers(calls, own, named.name)
        for one in holding:
            if one not in told:
                removing.show.note(f"in the way: {one}")
                told.add(one)
        if not holding:
            try:
                _delete(calls, own, groups)
            except Refused as error:
                if not any(code in str(error) for code in IN_USE):
                    raise
                # AWS's own view lags behind what it shows.
                removing.pause(f"AWS still sees something in use: {error}")
                continue
            removing.show.done("network and security group")
            return
        count = f"{len(holding)} thing" + ("s" if len(holding) > 1 else "")
        removing.pause_for(f"waiting for {count} in the network to go: {holding[0]}", holding)


def _delete(calls: AccountCalls, own: network.OwnNetwork, groups: list[str]) -> None:
    for group in groups:
        network.remove_group(calls, group)
    network.remove(calls, own)


def _strangers(calls: AccountCalls, own: network.OwnNetwork, name: str) -> list[str]:
    """What of others is in our VPC or names our group, beside interfaces."""
    found: list[str] = []
    mine = {str(one["GroupId"]) for one in own.groups}
    vpcs = sorted({*own.vpcs, *(str(one["VpcId"]) for one in own.groups)})
    if not vpcs:
        return []
    inside = [{"Name": "vpc-id", "Values": vpcs}]
    for group in calls.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=inside):
        if group["GroupId"] in mine:
            continue
        words = f"security group {group['GroupId']} ({group['GroupName']!r}, {group['Description']!r})"
        rules = [*group.get("IpPermissions", ()), *group.get("IpPermissionsEgress", ())]
        if mine & {str(pair.get("GroupId")) for rule in rules for pair in rule.get("UserIdGroupPairs", ())}:
            found.append(f"a rule of {words} names our security group")
        elif group["VpcId"] in own.vpcs and group["GroupName"] != "default":
            found.append(f"{words} is in our VPC")
    if own.vpcs:
        ours = [{"Name": "vpc-id", "Values": list(own.vpcs)}]
        for operation, member, key, kind in (
            ("describe_subnets", "Subnets", "SubnetId", "subnet"),
            ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", "VPC endpoint"),
        ):
            for one in calls.pages("ec2", operation, member, Filters=ours):
                gone = str(one.get("State", "")).lower() in {"deleted", "deleting"}
                if one.get("VpcId") in own.vpcs and tagged(one.get("Tags")) != name and not gone:
                    found.append(f"{kind} {one[key]} is in our VPC and does not have the tag {TAG}")
    return found
