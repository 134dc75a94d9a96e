"""How many calls of one verb run at once, how fast they are made, and what is logged when they fail."""

from __future__ import annotations

import logging
from typing import Any

from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.executors.fleet.metrics import Meter
from skylift.executors.fleet.rate_limiter import RateLimiter, back_off

log = logging.getLogger(__name__)

QUIET = 30.0
"""Seconds between two warnings about one verb; those in between are only counted."""


class CallLimiter:
    """The calls of one verb.

    Args:
        verb: as in ``Compute``, for people and metrics.
        rate: calls per second.
        most: calls at the same time.
    """

    def __init__(self, verb: str, rate: float, most: int, meter: Meter) -> None:
        self.verb = verb
        self.rate = RateLimiter(rate, rate)
        self.calls = 0
        self._most = most
        self._meter = meter
        self._failures = 0
        self._closed_until = float("-inf")
        self._quiet_until = float("-inf")
        self._unsaid = 0

    def ready(self, now: float) -> float:
        """When the next call may be made; infinity if a call must return first."""
        if self.calls >= self._most:
            return float("inf")
        return max(self._closed_until, now + self.rate.wait(now))

    def open(self, now: float) -> bool:
        """Whether a call may be made now; if so, counts it."""
        return self.calls < self._most and now >= self._closed_until and self.rate.take(now)

    def went_well(self) -> None:
        """A call was answered: calls may be made again, however long they should have waited."""
        self._failures = 0
        self._closed_until = float("-inf")

    def failed(self, now: float, text: str) -> None:
        """A call failed for a reason that concerns all calls of this verb: they all wait a little."""
        self._failures += 1
        self._closed_until = now + back_off(self._failures)
        self.complain(now, text)

    def complain(self, now: float, text: str) -> None:
        """Logs a warning, at most one in 30 seconds, with the number of omitted ones."""
        if now < self._quiet_until:
            self._unsaid += 1
            return
        log.warning("%s%s", text, f" (and {self._unsaid} more like it)" if self._unsaid else "")
        self._quiet_until, self._unsaid = now + QUIET, 0

    def count(self, outcome: str) -> None:
        """Counts a call by its outcome."""
        self._meter.count("calls", verb=self.verb, outcome=outcome)


def outcome_of(result: Any) -> str:
    """The outcome of a call, in one word."""
    if isinstance(result, Unavailable):
        return "throttled" if result.throttled else "later"
    if isinstance(result, Refused):
        return "refused"
    return "broken" if isinstance(result, SkyliftError) else "ok"
