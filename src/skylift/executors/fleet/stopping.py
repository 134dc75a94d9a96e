"""Stopping: tells the compute to stop containers, until it has accepted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial

from skylift.core.errors import Refused, SkyliftError
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.rate_limiter import back_off

MOST_STOPS = 100
"""Most tries of one stop; with back-off about half an hour. Then only Airflow's own answer ends what still runs."""


@dataclass(slots=True)
class Stop:
    """A container to stop."""

    ref: str
    why: str
    failures: int = 0
    due: float = 0.0


class Stopping:
    """Stops containers. Each stop is independent of its flight, which may already be over."""

    def __init__(self, context: FleetContext) -> None:
        self._context = context
        self._stops: deque[Stop] = deque()
        self._limiter = context.limiter("stop", context.timing.looks, context.timing.half)

    def stop(self, ref: str, why: str) -> None:
        """Has a container stopped."""
        self._stops.append(Stop(ref, why))

    def step(self, now: float) -> None:
        """Starts the stops that are due."""
        for _ in range(len(self._stops)):
            one = self._stops.popleft()
            if one.due <= now and self._limiter.open(now):
                call = partial(self._context.compute.stop, one.ref, one.why)
                self._context.calls.make(self._limiter, call, partial(self._stopped, one))
            else:
                self._stops.append(one)

    def next(self, now: float) -> float:
        """When there is more to do."""
        due = min((one.due for one in self._stops), default=float("inf"))
        return max(due, self._limiter.ready(now)) if due <= now else due

    def _stopped(self, one: Stop, result: SkyliftError | None) -> None:
        now = self._context.clock()
        if result is None:
            self._limiter.went_well()
        elif isinstance(result, Refused) or one.failures >= MOST_STOPS:
            self._limiter.complain(
                now, f"{one.ref} cannot be stopped ({one.why}); Airflow ends it at its next word: {result}"
            )
        else:
            one.failures += 1
            one.due = now + back_off(one.failures)
            self._limiter.complain(now, f"Stopping {one.ref} failed, trying again: {result}")
            self._stops.append(one)
