"""Health of targets: a pure decision from probes, and the probe itself (HTTP or TCP)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Any

QUICK_SECONDS = 0.2
"""A new target is checked this often until it is first healthy, because here only your own machine waits."""

QUICK_FOR_SECONDS = 120.0
"""After this long a new target is checked at its group's own interval."""


@dataclass(frozen=True)
class TargetCheck:
    """How a group's targets are checked.

    Attributes:
        protocol: ``HTTP`` or ``TCP``.
        port: a number, or ``traffic-port``.
        path: for HTTP.
        matcher: HTTP codes that are healthy: ``200``, ``200-399``, ``200,302``.
        interval: seconds between checks.
        timeout: seconds for one.
        healthy_after: successes in a row until an unhealthy target is healthy again.
        unhealthy_after: failures in a row until a target is unhealthy.
    """

    protocol: str
    port: str
    path: str
    matcher: str
    interval: float
    timeout: float
    healthy_after: int
    unhealthy_after: int

    @staticmethod
    def of(group: dict[str, Any]) -> TargetCheck:
        """From a target group as DescribeTargetGroups shows it."""
        return TargetCheck(
            group["HealthCheckProtocol"],
            group["HealthCheckPort"],
            group.get("HealthCheckPath", "/"),
            group.get("Matcher", {}).get("HttpCode", "200"),
            group["HealthCheckIntervalSeconds"],
            group["HealthCheckTimeoutSeconds"],
            group["HealthyThresholdCount"],
            group["UnhealthyThresholdCount"],
        )


@dataclass(frozen=True)
class Probe:
    """The result of one check; ``reason`` and ``description`` in AWS's words, empty on success."""

    ok: bool
    reason: str = ""
    description: str = ""


@dataclass(frozen=True)
class Health:
    """A target's health.

    Attributes:
        state: ``initial``, ``healthy`` or ``unhealthy``.
        reason: AWS's ``Reason``; empty if healthy.
        description: AWS's ``Description``.
        run: checks in a row for the other state.
        counted: seconds since the epoch of the last failure that counted.
        since: when the target was registered.
    """

    state: str = "initial"
    reason: str = "Elb.RegistrationInProgress"
    description: str = "Target registration is in progress"
    run: int = 0
    counted: float = 0.0
    since: float = 0.0


def judged(health: Health, probe: Probe, check: TargetCheck, now: float) -> Health:
    """Health after one more probe.

    A new target is healthy after its first success (as on AWS), and unhealthy only after as long as on AWS:
    failures count once per interval, however often a new target is checked.
    """
    if probe.ok:
        if health.state == "healthy":
            return replace(health, run=0)
        if health.state == "initial" or health.run + 1 >= check.healthy_after:
            return Health("healthy", "", "", since=health.since)
        return replace(health, run=health.run + 1)
    if health.state == "unhealthy":
        return replace(health, run=0, reason=probe.reason, description=probe.description)
    if health.run and now - health.counted < check.interval * 0.9:
        return health
    if health.run + 1 >= check.unhealthy_after:
        return Health("unhealthy", probe.reason, probe.description, since=health.since)
    if health.state == "initial":
        health = replace(health, reason="Elb.InitialHealthChecking", description="Initial health checks in progress")
    return replace(health, run=health.run + 1, counted=now)


def pause(health: Health, check: TargetCheck, now: float) -> float:
    """Seconds until the next check."""
    new = health.state == "initial" and now - health.since < QUICK_FOR_SECONDS
    return QUICK_SECONDS if new else check.interval


async def probe(address: str, port: int, check: TargetCheck) -> Probe:
    """Checks a target once. Never raises."""
    at = port if check.port == "traffic-port" else int(check.port)
    try:
        return await asyncio.wait_for(_look(address, at, check), check.timeout)
    except TimeoutError:
        return Probe(False, "Target.Timeout", "Request timed out")
    except OSError:
        return Probe(False, "Target.FailedHealthChecks", "Health checks failed")


async def _look(address: str, port: int, check: TargetCheck) -> Probe:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        if check.protocol == "TCP":
            return Probe(True)
        head = f"GET {check.path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
        writer.write(f"{head}Accept: */*\r\nConnection: close\r\n\r\n".encode())
        words = (await reader.readline()).split(None, 2)
    except ValueError:
        words = []
    finally:
        writer.close()
    if len(words) < 2 or not words[1].isdigit():
        return Probe(False, "Target.FailedHealthChecks", "Health checks failed")
    code = int(words[1])
    if matches(check.matcher, code):
        return Probe(True)
    return Probe(False, "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{code}]")


def matches(matcher: str, code: int) -> bool:
    """Whether a code is in ``200``, ``200,302`` or ``200-399``."""
    for part in matcher.split(","):
        low, _, high = part.strip().partition("-")
        if int(low) <= code <= int(high or low):
            return True
    return False


def is_matcher(text: str) -> bool:
    """Whether a text can be a matcher."""
    return re.fullmatch(r"\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*", text) is not None
