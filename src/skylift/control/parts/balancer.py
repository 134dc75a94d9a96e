"""The load balancer in front of the API server: its name stays while API servers come and go."""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.aws.elb import Balancers
from skylift.aws.network import vpc_of
from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext, short_name
from skylift.control.plan import Failure, PartPhase, Seen
from skylift.core.containers import WEB_PORT

HEALTH_PATH = "/api/v2/version"
"""Answers without a login and without the database: whether this API server serves."""


class BalancerParts:
    """Parts of kind BALANCER: load balancer, target group and listener."""

    def __init__(self, balancers: Balancers) -> None:
        self._balancers = balancers

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        spec, name = context.spec, balancer_name(context.spec.name)
        balancer = self._balancers.find(name) or self._balancers.make(name, spec.subnets, spec.security_groups)
        group = self._balancers.find_group(name)
        if not group:
            vpc = vpc_of(spec.subnets[0], context.settings.region)
            group = self._balancers.make_group(name, WEB_PORT, vpc, HEALTH_PATH)
        self._balancers.make_listener(balancer.arn, group, context.settings.web_listener_port)
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        name = balancer_name(context.spec.name)
        balancer = self._balancers.find(name)
        if balancer is not None:
            self._balancers.delete(balancer.arn)
        group = self._balancers.find_group(name)
        if group:
            self._balancers.delete_group(group)

    def _look(self, context: PartContext) -> Seen:
        name, port = balancer_name(context.spec.name), context.settings.web_listener_port
        balancer, group = self._balancers.find(name), self._balancers.find_group(name)
        if balancer is None or not group:
            return Seen(PartPhase.DIFFERENT if balancer or group else PartPhase.ABSENT)
        if port not in self._balancers.listener_ports(balancer.arn):
            return Seen(PartPhase.DIFFERENT, note=f"no listener on port {port}")
        if balancer.state == "failed":
            return Seen(
                PartPhase.FAILED, fault=Failure("LOAD_BALANCER_FAILED", f"AWS could not make load balancer {name}.")
            )
        address = balancer.dns_name if port == 80 else f"{balancer.dns_name}:{port}"
        facts = {"web.address": address, "web.target_group": group}
        # AWS never changes the name that it has assigned, so others may use it before the load balancer is active.
        return Seen(PartPhase.READY, facts)


def balancer_name(environment: str) -> str:
    """Name of load balancer and target group: at most 32 letters, digits and hyphens."""
    return short_name(environment, "skylift-", 32)
