"""Limits starts by CPU load, so that the first of many simultaneous starts finish early.

Sixteen Airflow tasks that start together share two CPUs and finish together, and then nothing computes until the
next sixteen have been requested. One after the other they need less CPU in total (each finds more of its data in the
CPU's caches), and the next are requested while the last still run. Services do not wait here: an environment must
come up, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from skylift.core.clock import Clock

PER_CORE = 3
"""Programs per CPU that compute or want to: while there are so many, a start waits."""

MOST_SECONDS = 1.0
"""A start waits at most this long: a program that computes all day must not keep others from starting."""

_SOON = 0.02
"""Seconds until a start shows among the programs that compute."""

_LOOK = 0.01


class StartLimiter:
    """Limits starts on one machine.

    Args:
        most: a start goes ahead if at most this many programs want to compute.
        count: how many want to now; default: ``runnable``.
        clock: monotonic, seconds.
        seconds: longest wait of one start.
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
        # asyncio's locks are fair: a newcomer does not overtake those who wait, even if a CPU has just become free.
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


def runnable(loadavg: str = "/proc/loadavg") -> int:
    """Programs that compute or want to, without us; 0 if unknown (not Linux)."""
    try:
        with open(loadavg) as file:
            return int(file.read().split()[3].partition("/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return 0
