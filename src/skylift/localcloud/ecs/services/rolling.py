"""What a service needs now, as a pure decision: ECS's rolling update and desired count.

Source: "Amazon ECS service deployments by replacing tasks": the minimum healthy percent (rounded up) is the least
number of running ECS tasks, the maximum percent (rounded down) the largest number of running and pending ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

YOUNG_SECONDS = 30.0
"""An ECS task of a service that ends by itself sooner than this after its start counts as failed."""
FIRST_DELAY = 0.5
LONGEST_DELAY = 60.0
"""Back-off between restarts in seconds. ECS slows down to minutes; on one machine a developer is waiting."""


@dataclass(frozen=True)
class Member:
    """One ECS task of a service that nobody has asked to stop.

    Attributes:
        id: the ECS task's.
        deployment: which deployment made it.
        healthy: whether it runs and works, as far as load balancers can tell (otherwise it is still starting).
        created: seconds since the epoch.
        protected_until: seconds since the epoch; before that it is not stopped to scale in or to deploy.
    """

    id: str
    deployment: str
    healthy: bool
    created: float
    protected_until: float = 0.0


@dataclass(frozen=True)
class ServiceSpec:
    """What the service should be; ``failed``: its deployment is given up, nothing more is started or replaced for
    it."""

    desired: int
    minimum_percent: int
    maximum_percent: int
    primary: str
    failed: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do now.

    Attributes:
        start: how many ECS tasks of the primary deployment to start.
        stop: ids of ECS tasks to stop.
        wait: seconds until the next check; ``None`` if only a change can matter.
        steady: nothing to do, and nothing in progress.
        stuck: the percentages leave a deployment no room; only a changed service can help.
    """

    start: int
    stop: tuple[str, ...]
    wait: float | None
    steady: bool
    stuck: bool = False


def decide(spec: ServiceSpec, members: Sequence[Member], now: float, not_before: float) -> Decision:
    """The next step of a service; called again after every change."""
    mine = [member for member in members if member.deployment == spec.primary]
    old = [member for member in members if member.deployment != spec.primary]
    free = [member for member in mine if member.protected_until <= now]
    surplus = sorted(free, key=lambda member: (member.healthy, -member.created))[: max(0, len(mine) - spec.desired)]
    stop = [*surplus, *_old_to_stop(spec, mine, old, now)]
    ceiling = math.floor(spec.desired * spec.maximum_percent / 100)
    shortage = spec.desired - len(mine)
    start = 0 if spec.failed else max(0, min(shortage, ceiling - (len(members) - len(stop))))
    waits = [member.protected_until - now for member in members if member.protected_until > now]
    wait = min(waits) if waits and (old or len(mine) > spec.desired) else None
    if start and now < not_before:
        start, wait = 0, not_before - now
    running = sum(member.healthy for member in mine)
    steady = not old and running == len(mine) == spec.desired
    stuck = bool(old) and shortage > 0 and not start and not stop and wait is None and running == len(mine)
    return Decision(start, tuple(member.id for member in stop), wait, steady, stuck and not spec.failed)


def _old_to_stop(spec: ServiceSpec, mine: Sequence[Member], old: Sequence[Member], now: float) -> list[Member]:
    running_new = sum(member.healthy for member in mine)
    free = [member for member in old if member.protected_until <= now]
    if running_new >= spec.desired:
        return free
    if spec.failed:
        return []
    starting = [member for member in free if not member.healthy]
    running_old = sorted((member for member in free if member.healthy), key=lambda member: member.created)
    floor = math.ceil(spec.desired * spec.minimum_percent / 100)
    healthy_old = sum(member.healthy for member in old)
    spare = max(0, running_new + healthy_old - floor)
    return [*starting, *running_old[:spare]]


def delay_after(failures: int) -> float:
    """Seconds to wait before the next start after so many failures in a row."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16)) if failures else 0.0
