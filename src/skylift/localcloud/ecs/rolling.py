"""What a service needs now, as a pure decision: ECS's rolling update and desired count.

Source: "Amazon ECS service deployments by replacing tasks": the minimum healthy percent (rounded up) is a floor under running ECS
tasks, the maximum percent (rounded down) a ceiling over running and pending ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

YOUNG_SECONDS = 30.0
"""An ECS task of a service that ends by itself earlier than this after its start counts as failed."""
FIRST_DELAY = 0.5
LONGEST_DELAY = 60.0
"""Back-off between restarts in seconds. ECS slows down to minutes; on one machine a developer waits for the fix."""


@dataclass(frozen=True)
class Member:
    """One ECS task of a service that nobody has asked to stop.

    Attributes:
        id: the ECS task's.
        deployment: which deployment made it.
        healthy: whether it runs, and does its work as far as load balancers can tell (else it is still starting).
        created: seconds since the epoch.
    """

    id: str
    deployment: str
    healthy: bool
    created: float


@dataclass(frozen=True)
class Wish:
    """What the service is to be."""

    desired: int
    minimum_percent: int
    maximum_percent: int
    primary: str


@dataclass(frozen=True)
class Decision:
    """What to do now.

    Attributes:
        start: how many ECS tasks of the primary deployment to start.
        stop: ids of ECS tasks to stop.
        wait: seconds after which to look again; ``None`` when only a change can matter.
        steady: nothing to do, and nothing under way.
        stuck: the percentages leave a deployment no room; only a changed service can help.
    """

    start: int
    stop: tuple[str, ...]
    wait: float | None
    steady: bool
    stuck: bool = False


def decide(wish: Wish, members: Sequence[Member], now: float, not_before: float) -> Decision:
    """The next step of a service; called again after every change."""
    mine = [member for member in members if member.deployment == wish.primary]
    old = [member for member in members if member.deployment != wish.primary]
    surplus = sorted(mine, key=lambda member: (member.healthy, -member.created))[: max(0, len(mine) - wish.desired)]
    stop = [*surplus, *_old_to_stop(wish, mine, old)]
    ceiling = math.floor(wish.desired * wish.maximum_percent / 100)
    shortage = wish.desired - len(mine)
    start = max(0, min(shortage, ceiling - (len(members) - len(stop))))
    wait = None
    if start and now < not_before:
        start, wait = 0, not_before - now
    running = sum(member.healthy for member in mine)
    steady = not old and running == len(mine) == wish.desired
    stuck = bool(old) and shortage > 0 and not start and not stop and wait is None and running == len(mine)
    return Decision(start, tuple(member.id for member in stop), wait, steady, stuck)


def _old_to_stop(wish: Wish, mine: Sequence[Member], old: Sequence[Member]) -> list[Member]:
    running_new = sum(member.healthy for member in mine)
    starting = [member for member in old if not member.healthy]
    running_old = sorted((member for member in old if member.healthy), key=lambda member: member.created)
    if running_new >= wish.desired:
        return list(old)
    floor = math.ceil(wish.desired * wish.minimum_percent / 100)
    spare = max(0, running_new + len(running_old) - floor)
    return [*starting, *running_old[:spare]]


def delay_after(failures: int) -> float:
    """Seconds to wait before the next start after so many failures in a row."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16)) if failures else 0.0
