"""How fast we may go: a token bucket that slows down when AWS asks for it and recovers by itself; back-off with jitter."""

from __future__ import annotations

import random

MOST_BACK_OFF = 60.0
"""Seconds; longer waits are for nobody's good once a throttle has ended."""


class Pace:
    """A rate in calls a second, halved on every throttle (at most once a second) and raised again step by step.

    Args:
        rate: calls a second when all is well.
        burst: calls at once after a rest.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._full = rate
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._then: float | None = None
        self._slowed = float("-inf")

    @property
    def rate(self) -> float:
        """Calls a second now."""
        return self._rate

    def take(self, now: float) -> bool:
        """Whether one call may be made now; counts it."""
        elapsed = 0.0 if self._then is None else max(0.0, now - self._then)
        self._then = now
        self._rate = min(self._full, self._rate + elapsed * self._full / 60)
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self) -> float:
        """Seconds until the next call may be made, if none is made before."""
        return max(0.0, 1 - self._tokens) / self._rate

    def slow_down(self, now: float) -> None:
        """AWS throttled a call."""
        self._tokens = min(self._tokens, 0.0)
        if now - self._slowed >= 1:
            self._slowed = now
            self._rate = max(self._full / 64, self._rate / 2)


def back_off(failures: int, first: float = 1.0) -> float:
    """Seconds to wait after so many failures in a row (from 1), doubled each time, with jitter of half."""
    return min(MOST_BACK_OFF, first * 2.0 ** min(failures - 1, 16)) * random.uniform(0.5, 1.0)  # noqa: S311  no secret
