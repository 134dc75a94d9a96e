"""A container's health check: when it runs, and what its results mean for the container and the ECS task.

Source: API reference, ``HealthCheck`` (ranges and defaults) and "Determine Amazon ECS task health using container
health checks": only essential containers with a health check count for the ECS task; a failure in the start period does
not count, and a success there ends the period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.ecs.model.shapes import client_error

UNKNOWN, HEALTHY, UNHEALTHY = "UNKNOWN", "HEALTHY", "UNHEALTHY"
DEFAULTS = {"interval": 30, "timeout": 5, "retries": 3}
_RANGES = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "startPeriod": (0, 300)}


@dataclass(frozen=True)
class HealthCheck:
    """What to run in the container, and how often; times in seconds."""

    words: tuple[str, ...]
    interval: float
    timeout: float
    retries: int
    start_period: float


@dataclass(frozen=True)
class Pulse:
    """What is known about a container's health: its status, and failures in a row that count."""

    status: str = UNKNOWN
    failures: int = 0


def check_of(definition: Mapping[str, Any]) -> HealthCheck | None:
    """The health check of a container definition; ``NONE`` disables the image's, and our images have none."""
    check = definition.get("healthCheck")
    if not check or check["command"][:1] == ["NONE"]:
        return None
    kind, *words = check["command"]
    if kind == "CMD-SHELL":
        words = ["/bin/sh", "-c", *words]
    elif kind != "CMD":
        words = ["/bin/sh", "-c", " ".join(check["command"])]
    filled = {**DEFAULTS, **check}
    start = float(check.get("startPeriod", 0))
    return HealthCheck(tuple(words), filled["interval"], filled["timeout"], filled["retries"], start)


def refuse_bad_check(name: str, check: Mapping[str, Any]) -> None:
    """Refuses numbers out of range and an empty command (``ClientException``)."""
    if not check["command"]:
        raise client_error(f"Container '{name}': the health check's command must not be empty.")
    for member, (least, most) in _RANGES.items():
        if member in check and not least <= check[member] <= most:
            raise client_error(f"Container '{name}': health check {member} must be between {least} and {most}.")


def after(check: HealthCheck, pulse: Pulse, good: bool, age: float) -> Pulse:
    """The next pulse, after a check that began ``age`` seconds after the container's start."""
    if good:
        return Pulse(HEALTHY)
    if pulse.status == UNKNOWN and age < check.start_period:
        return pulse
    failures = pulse.failures + 1
    return Pulse(UNHEALTHY if failures >= check.retries else pulse.status, failures)


def task_health(essential: Iterable[str]) -> str:
    """The ECS task's health, from the statuses of its essential containers that have a check."""
    statuses = set(essential)
    if UNHEALTHY in statuses:
        return UNHEALTHY
    return HEALTHY if statuses == {HEALTHY} else UNKNOWN


async def watch(
    check: HealthCheck,
    pulse: Pulse,
    run: Callable[[HealthCheck], Awaitable[bool]],
    told: Callable[[str], None],
    clock: Clock,
) -> None:
    """Checks, for the first time after one interval, and reports every new status. Until cancelled."""
    began = clock()
    while True:
        await asyncio.sleep(check.interval)
        age = clock() - began
        before, pulse = pulse, after(check, pulse, await run(check), age)
        if pulse.status != before.status:
            told(pulse.status)
