"""Load balancers, target groups and listeners as AWS shows them, made from requests; refuses what AWS refuses.

Defaults: Elastic Load Balancing API reference 2015-12-01, CreateTargetGroup. Refused with a clear text because they are
not supported: UDP, gateway load balancers, targets other than IP addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skylift.core.numbers import natural
from skylift.localcloud.elb.health import Health, is_matcher
from skylift.localcloud.elb.stickiness import ENABLED, wrong_attribute
from skylift.localcloud.elb.store import TargetGroup
from skylift.wire.errors import AwsError

Request = dict[str, Any]

PROTOCOLS = {"application": "HTTP", "network": "TCP"}
"""What is spoken to targets, by the kind of load balancer."""
LISTENERS = {"application": ("HTTP", "HTTPS"), "network": ("TCP", "TLS")}
ABBREVIATIONS = {"application": "app", "network": "net"}
HOSTED_ZONE = "Z000000000000000LOCAL"
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?")

BALANCER_ATTRIBUTES = {"deletion_protection.enabled": "false", "idle_timeout.timeout_seconds": "60"}
GROUP_ATTRIBUTES = {
    "HTTP": {
        "deregistration_delay.timeout_seconds": "300",
        "stickiness.enabled": "false",
        "stickiness.type": "lb_cookie",
        "stickiness.lb_cookie.duration_seconds": "86400",
        "stickiness.app_cookie.cookie_name": "",
        "stickiness.app_cookie.duration_seconds": "86400",
        "load_balancing.algorithm.type": "round_robin",
    },
    "TCP": {
        "deregistration_delay.timeout_seconds": "300",
        "stickiness.enabled": "false",
        "stickiness.type": "source_ip",
    },
}
"""By protocol, with AWS's defaults (API reference, TargetGroupAttribute)."""
LISTENER_ATTRIBUTES = {
    "HTTP": {"routing.http.response.server.enabled": "true"},
    "HTTPS": {"routing.http.response.server.enabled": "true"},
    "TCP": {"tcp.idle_timeout.seconds": "350"},
    "TLS": {"tcp.idle_timeout.seconds": "350"},
}
"""By protocol, with AWS's defaults (API reference, ListenerAttribute)."""


def invalid(message: str) -> AwsError:
    """A ``ValidationError``."""
    return AwsError("ValidationError", message)


def not_here(message: str) -> AwsError:
    """Something that AWS supports and the local cloud does not."""
    return AwsError("InvalidConfigurationRequest", f"{message} (skylift's local cloud; AWS itself may take it)")


def check_name(what: str, name: str) -> None:
    """Refuses a name that AWS refuses."""
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{what} name '{name}' must be 1 to 32 letters, digits and hyphens, and begin and end with no hyphen"
        )
    if what == "Load balancer" and name.startswith("internal-"):
        raise invalid("Load balancer name cannot start with 'internal-'")


def balancer(request: Request, arn: str, now: float, address: str, region: str) -> Request:
    """A load balancer as DescribeLoadBalancers shows it. Raises ``AwsError``."""
    kind = request.get("Type", "application")
    if kind not in PROTOCOLS:
        raise not_here(f"Load balancers of type '{kind}' are not supported: use application or network")
    subnets = request.get("Subnets") or [one.get("SubnetId", "") for one in request.get("SubnetMappings", [])]
    least = 2 if kind == "application" else 1
    if len(set(subnets)) < least:
        words = "two subnets in two different Availability Zones" if least == 2 else "one subnet"
        raise invalid(f"At least {words} must be specified")
    zones = [{"ZoneName": f"{region}{'abcdef'[place % 6]}", "SubnetId": one} for place, one in enumerate(subnets)]
    return {
        "LoadBalancerArn": arn,
        "DNSName": address,
        "CanonicalHostedZoneId": HOSTED_ZONE,
        "CreatedTime": now,
        "LoadBalancerName": request["Name"],
        "Scheme": request.get("Scheme", "internet-facing"),
        "State": {"Code": "active"},
        "Type": kind,
        "AvailabilityZones": [{**zone, "LoadBalancerAddresses": []} for zone in zones],
        "SecurityGroups": request.get("SecurityGroups", []),
        "IpAddressType": request.get("IpAddressType", "ipv4"),
    }


def group(request: Request, arn: str) -> Request:
    """A target group as DescribeTargetGroups shows it. Raises ``AwsError``."""
    kind = request.get("TargetType", "instance")
    if kind != "ip":
        raise not_here(f"Targets of type '{kind}' are not supported: use TargetType ip, as Fargate needs it")
    protocol = request.get("Protocol", "")
    if protocol not in PROTOCOLS.values():
        raise not_here(f"Target groups for '{protocol}' are not supported: use HTTP or TCP")
    if "Port" not in request:
        raise invalid("A port must be specified")
    shown = {
        "TargetGroupArn": arn,
        "TargetGroupName": request["Name"],
        "Protocol": protocol,
        "Port": request["Port"],
        "VpcId": request.get("VpcId", ""),
        "TargetType": kind,
        "IpAddressType": request.get("IpAddressType", "ipv4"),
        "HealthCheckEnabled": True,
        **_health_check(request, protocol),
    }
    if protocol == "HTTP":
        shown["ProtocolVersion"] = request.get("ProtocolVersion", "HTTP1")
    check_health(shown)
    return shown


def check_health(shown: Request) -> None:
    """Refuses health checks that AWS refuses. Raises ``AwsError``."""
    if shown["HealthCheckProtocol"] not in PROTOCOLS.values():
        raise not_here(f"Health checks by '{shown['HealthCheckProtocol']}' are not supported: use HTTP or TCP")
    if shown["HealthCheckTimeoutSeconds"] >= shown["HealthCheckIntervalSeconds"] and shown["Protocol"] == "HTTP":
        raise invalid("Health check interval must be greater than the timeout.")
    port = shown["HealthCheckPort"]
    if port != "traffic-port" and not 1 <= (natural(port) or 0) <= 65535:
        raise invalid(f"Health check port '{port}' must be 'traffic-port' or in the range 1-65535")
    if not is_matcher(shown.get("Matcher", {}).get("HttpCode", "200")):
        raise invalid(
            f"Health check matcher HTTP code '{shown['Matcher']['HttpCode']}' must be within '200-499' inclusive"
        )


def check_group_attributes(protocol: str, attributes: Mapping[str, str]) -> None:
    """Refuses attributes of a target group that AWS, or the local cloud, does not accept. Raises ``AwsError``."""
    if protocol == "HTTP":
        wrong = wrong_attribute(attributes)
        if wrong:
            raise AwsError("InvalidConfigurationRequest", wrong)
    elif attributes.get(ENABLED) == "true":
        raise not_here("Stickiness of TCP target groups is not supported")


def _health_check(request: Request, protocol: str) -> Request:
    web = protocol == "HTTP"
    by = request.get("HealthCheckProtocol", protocol)
    check = {
        "HealthCheckProtocol": by,
        "HealthCheckPort": request.get("HealthCheckPort", "traffic-port"),
        "HealthCheckIntervalSeconds": request.get("HealthCheckIntervalSeconds", 30),
        "HealthCheckTimeoutSeconds": request.get("HealthCheckTimeoutSeconds", 5 if web else 10),
        "HealthyThresholdCount": request.get("HealthyThresholdCount", 5),
        "UnhealthyThresholdCount": request.get("UnhealthyThresholdCount", 2),
    }
    if by == "HTTP":
        check["HealthCheckPath"] = request.get("HealthCheckPath", "/")
        check["Matcher"] = request.get("Matcher", {"HttpCode": "200" if web else "200-399"})
    return check


def listener(request: Request, arn: str, kind: str, actions: list[Request]) -> Request:
    """A listener as DescribeListeners shows it.

    Args:
        request: of CreateListener.
        arn: of the listener.
        kind: of its load balancer.
        actions: by default, as they are shown.

    Raises:
        AwsError: AWS, or the local cloud, does not accept it.
    """
    wanted = LISTENERS[kind]
    protocol = request.get("Protocol", "")
    if protocol not in wanted:
        text = f"Listeners of {kind} load balancers here have protocol {' or '.join(wanted)}, not '{protocol}'"
        raise AwsError("UnsupportedProtocol", text)
    if "Port" not in request:
        raise invalid("A port must be specified")
    return {
        "ListenerArn": arn,
        "LoadBalancerArn": request["LoadBalancerArn"],
        "Port": request["Port"],
        "Protocol": protocol,
        "DefaultActions": actions,
    }


def same(one: Request, other: Request, *apart: str) -> bool:
    """Whether two things have the same settings, apart from those that say which one it is."""
    return {key: one[key] for key in one if key not in apart} == {key: other[key] for key in other if key not in apart}


def target_health(group: TargetGroup, target: tuple[str, int], health: Health) -> dict[str, Any]:
    """A target as DescribeTargetHealth shows it."""
    port = group.shown["HealthCheckPort"]
    told: dict[str, Any] = {"State": health.state}
    if health.reason:
        told |= {"Reason": health.reason, "Description": health.description}
    return {
        "Target": {"Id": target[0], "Port": target[1]},
        "HealthCheckPort": str(target[1]) if port == "traffic-port" else port,
        "TargetHealth": told,
    }
