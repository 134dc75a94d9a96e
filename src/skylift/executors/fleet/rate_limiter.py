"""How fast we may call: a token bucket that slows down when AWS asks for it and recovers by itself; back-off with
jitter."""

from __future__ import annotations

import random

MOST_BACK_OFF = 20.0
"""Seconds; longer waits help nobody once the trouble has ended."""

FASTER = 60.0
"""Seconds to the full rate if recovery were linear; in fact it accelerates, to about 10 s."""


class RateLimiter:
    """A rate in calls per second, lowered on every throttle (at most once a second) and raised again faster and faster.

    Recovery from zero takes about ten seconds. If others use a part of what AWS allows, the rate swings around the
    rest: a throttle removes three tenths, and a little is won back before the next.

    Args:
        rate: calls per second when there is no throttle.
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
        """Calls per second now."""
        return self._rate

    def take(self, now: float) -> bool:
        """Whether one call may be made now; counts it."""
        self._earn(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until the next call may be made, if none is made before; at most one."""
        self._earn(now)
        return min(1.0, max(0.0, 1 - self._tokens) / self._rate)

    def slow_down(self, now: float) -> None:
        """AWS throttled a call."""
        self._tokens = min(self._tokens, 0.0)
        if now - self._slowed >= 1:
            self._slowed = now
            self._rate = max(self._full / 64, self._rate * 0.7)

    def _earn(self, now: float) -> None:
        then = now if self._then is None else min(self._then, now)
        self._then = now
        if self._rate < self._full:
            before, after = then - self._slowed, now - self._slowed
            self._rate += self._full / FASTER * ((after - before) + (after**2 - before**2) / 2)
            self._rate = min(self._full, self._rate)
        self._tokens = min(self._burst, self._tokens + (now - then) * self._rate)


def back_off(failures: int, first: float = 1.0, most: float = MOST_BACK_OFF) -> float:
    """Seconds to wait after so many failures in a row (from 1): doubled each time, with half of it random."""
    return min(most, first * 2.0 ** min(failures - 1, 16)) * random.uniform(0.5, 1.0)  # noqa: S311  no secret
