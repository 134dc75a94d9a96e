"""A container's share of the CPU: niceness, so that the server answers while containers compute.

Fargate gives a task its own CPUs; a laptop has one set for all. So the server has priority over every container, and
containers share the rest by their ``cpu`` units. Cgroup weights could do the same if we may write them, but
everybody may raise niceness.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_NICE_OF_ONE = 5
"""Of a container with one CPU (1,024 units)."""
_STEPS_PER_DOUBLING = 3
"""The kernel's weights grow by 1.25 per step of niceness, so three steps are a factor of two
(``sched_prio_to_weight``)."""
_MOST, _LEAST = 14, 1


def nice_of(cpu: int) -> int:
    """Niceness for CPU units (1,024 is one CPU; 0: not set, counts as one)."""
    doublings = math.log2(cpu / 1024) if cpu > 0 else 0.0
    return min(_MOST, max(_LEAST, round(_NICE_OF_ONE - _STEPS_PER_DOUBLING * doublings)))


def give_share(pid: int, cpu: int) -> None:
    """Sets the niceness of a container's first process, its group, and (Linux) the autogroup of its session.

    With autogroups, which desktops use, niceness counts only within a session, and the session has its
    own niceness.
    If a process is gone, or we may not change it, it keeps its niceness: a share is only best effort.
    """
    nice = nice_of(cpu)
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PGRP, pid) < nice:  # never lower it: an ordinary user may not
            os.setpriority(os.PRIO_PGRP, pid, nice)
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
