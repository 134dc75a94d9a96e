"""Time as a value that is passed in, so that tests never wait.

A ``Clock`` is any callable that returns seconds since the epoch; ``time.time`` is one.
"""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Moves time forward. ``seconds`` must not be negative: clocks in skylift never run back."""
        if seconds < 0:
            raise ValueError("a clock does not run back")
        self.now += seconds
