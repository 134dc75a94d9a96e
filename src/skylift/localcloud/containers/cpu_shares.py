"""A container's share of the processors: niceness, so that the server answers while containers compute.

Fargate gives a task its own processors; a laptop has one set for all. So the server goes before every container, and
containers share what is left by their ``cpu`` units. Cgroup weights would say the same, where we may write them:
niceness may be raised by everybody.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_NICE_OF_ONE = 5
"""Of a container with one processor (1,024 units)."""
_STEPS_PER_DOUBLING = 3
"""The kernel's weights grow by 1.25 per step of niceness, so three steps are a factor of two
(``sched_prio_to_weight``)."""
_MOST, _LEAST = 14, 1


def nice_of(cpu: int) -> int:
    """Niceness for so many CPU units (1,024 is one processor; 0: not said, as one)."""
    doublings = math.log2(cpu / 1024) if cpu > 0 else 0.0
    return min(_MOST, max(_LEAST, round(_NICE_OF_ONE - _STEPS_PER_DOUBLING * doublings)))


def give_share(pid: int, cpu: int) -> None:
    """Sets the niceness of a container's first process, its group, and (Linux) the autogroup of its session.

    With autogroups, which desktops have on, niceness counts within a session only: the session itself has one of its
        own.
    A process that is gone, or that we may not touch, keeps what it has: a share is a courtesy.
    """
    nice = nice_of(cpu)
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PGRP, pid) < nice:  # never back: an ordinary user may not lower it
            os.setpriority(os.PRIO_PGRP, pid, nice)
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
