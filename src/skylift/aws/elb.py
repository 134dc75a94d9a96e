"""The control plane's calls to Elastic Load Balancing (v2): one load balancer, target group and listener per
environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of

NOT_FOUND = frozenset({"LoadBalancerNotFound", "TargetGroupNotFound", "ListenerNotFound"})


@dataclass(frozen=True)
class DescribedLoadBalancer:
    """A load balancer as it stands; ``state`` is AWS's: provisioning, active, active_impaired, failed."""

    arn: str
    dns_name: str
    state: str


class Balancers:
    """Load balancers by name. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._elb = client("elbv2", region=region)

    def find(self, name: str) -> DescribedLoadBalancer | None:
        """A load balancer by name, or None."""
        found = self._describe("describe_load_balancers", "LoadBalancers", Names=[name])
        return _balancer(found[0]) if found else None

    def find_group(self, name: str) -> str:
        """ARN of a target group by name, or ""."""
        found = self._describe("describe_target_groups", "TargetGroups", Names=[name])
        return str(found[0]["TargetGroupArn"]) if found else ""

    def listener_ports(self, balancer: str) -> dict[int, str]:
        """Listeners of a load balancer: port -> ARN."""
        found = self._describe("describe_listeners", "Listeners", LoadBalancerArn=balancer)
        return {int(one["Port"]): str(one["ListenerArn"]) for one in found}

    def make(self, name: str, subnets: Sequence[str], security_groups: Sequence[str]) -> DescribedLoadBalancer:
        """Makes an internal application load balancer; the same request again answers the same one."""
        with calling(f"elbv2 CreateLoadBalancer {name}"):
            answer = self._elb.create_load_balancer(
                Name=name,
                Subnets=list(subnets),
                SecurityGroups=list(security_groups),
                Scheme="internal",
                Type="application",
            )
        return _balancer(answer["LoadBalancers"][0])

    def make_group(self, name: str, port: int, vpc: str, health_path: str) -> str:
        """Makes an HTTP target group for task addresses; its ARN. The same request again answers the same one."""
        place = {"VpcId": vpc} if vpc else {}
        with calling(f"elbv2 CreateTargetGroup {name}"):
            answer = self._elb.create_target_group(
                Name=name,
                Protocol="HTTP",
                Port=port,
                TargetType="ip",
                HealthCheckPath=health_path,
                HealthCheckIntervalSeconds=10,
                HealthCheckTimeoutSeconds=9,
                HealthyThresholdCount=2,
                # ECS replaces unhealthy targets. It sees a dead container by itself; a busy one must not be killed for
                # being slow.
                UnhealthyThresholdCount=10,
                **place,
            )
        return str(answer["TargetGroups"][0]["TargetGroupArn"])

    def make_listener(self, balancer: str, group: str, port: int) -> None:
        """Makes an HTTP listener that forwards to a target group; one that is there on that port is not an error."""
        with calling(f"elbv2 CreateListener {port}"):
            try:
                self._elb.create_listener(
                    LoadBalancerArn=balancer,
                    Protocol="HTTP",
                    Port=port,
                    DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
                )
            except ClientError as error:
                if code_of(error) != "DuplicateListener":
                    raise

    def target_states(self, group: str) -> tuple[str, ...]:
        """State of each target: initial, healthy, unhealthy, draining, unused."""
        found = self._describe("describe_target_health", "TargetHealthDescriptions", TargetGroupArn=group)
        return tuple(str(one["TargetHealth"]["State"]) for one in found)

    def delete(self, balancer: str) -> None:
        """Deletes a load balancer with its listeners."""
        with calling("elbv2 DeleteLoadBalancer"):
            self._elb.delete_load_balancer(LoadBalancerArn=balancer)

    def delete_group(self, group: str) -> None:
        """Deletes a target group. AWS refuses while a listener uses it."""
        with calling("elbv2 DeleteTargetGroup"):
            self._elb.delete_target_group(TargetGroupArn=group)

    def _describe(self, operation: str, member: str, **request: Any) -> list[dict[str, Any]]:
        with calling(f"elbv2 {operation}"):
            try:
                return list(getattr(self._elb, operation)(**request)[member])
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return []
                raise


def _balancer(answer: dict[str, Any]) -> DescribedLoadBalancer:
    return DescribedLoadBalancer(
        str(answer["LoadBalancerArn"]), str(answer["DNSName"]), str(answer.get("State", {}).get("Code", "active"))
    )
