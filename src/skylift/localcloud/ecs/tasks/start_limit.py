"""Lets containers begin as processors come free, so that of many that were asked for at once the first are done early.

Sixteen Airflow tasks that begin together share two processors, are done together, and then nothing computes until the
next sixteen have been asked for. One after the other they need less in all (each finds more of itself in the
processor's caches), and the next are asked for while the last still run. Services do not wait here: an environment must
come up, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from skylift.core.clock import Clock

PER_CORE = 3
"""Programs that compute or want to, for each processor: while there are so many, a start waits."""

MOST_SECONDS = 1.0
"""A start waits at most so long: whoever computes all day must not keep others from beginning."""

_SOON = 0.02
"""Seconds after which a start can be seen among the programs that compute."""

_LOOK = 0.01


class StartLimiter:
    """For starts on one machine.

    Args:
        most: how many programs may want to compute when a start goes through.
        count: how many want to now; default: ``runnable``.
        clock: monotonic, seconds.
        seconds: for which one start waits at most.
    """

    def __init__(
        self,
        most: int,
        count: Callable[[], int] | None = None,
        clock: Clock = time.monotonic,
        *,
        seconds: float = MOST_SECONDS,
    ) -> None:
        self._most = most
        self._count = count or runnable
        self._clock = clock
        self._seconds = seconds
        # asyncio's locks are fair: who comes as a processor comes free does not overtake those who wait.
        self._line = asyncio.Lock()
        self._recent: deque[float] = deque()

    async def through(self) -> None:
        """Waits for room, behind all who came before. A cancelled wait leaves no trace."""
        until = self._clock() + self._seconds
        async with self._line:
            while self._is_full() and self._clock() < until:
                await asyncio.sleep(_LOOK)
            self._recent.append(self._clock())

    def _is_full(self) -> bool:
        while self._recent and self._recent[0] < self._clock() - _SOON:
            self._recent.popleft()
        return self._count() + len(self._recent) >= self._most


def runnable() -> int:
    """Programs that compute or want to, without us; 0 where that cannot be known (not Linux)."""
    try:
        with open("/proc/loadavg") as file:
            return int(file.read().split()[3].partition("/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return 0
