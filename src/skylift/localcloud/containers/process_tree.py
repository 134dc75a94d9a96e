"""Kills a process with all its descendants, even in sessions of their own (Airflow's BashOperator makes them)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping

from skylift.localcloud.containers.memory import Process, read_processes

_ROUNDS = 100


def kill_tree(first: int) -> None:
    """SIGKILL to a session's leader, its descendants, and whatever else is in its session.

    First stops them, until it finds no new ones: the children of a dead process go to PID 1, where nobody finds
    them.
    Without ``/proc`` it reaches only the leader's process group.
    """
    stopped: set[int] = set()
    with contextlib.suppress(OSError):  # no /proc
        for _ in range(_ROUNDS):
            new = family(first, read_processes()) - stopped
            if not new:
                break
            _send(new, signal.SIGSTOP)
            stopped |= new
    _send(stopped, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first, signal.SIGKILL)


def family(first: int, processes: Mapping[int, Process]) -> set[int]:
    """The pids of a session and of all descendants of its members, without the leader's parent, whoever that is
    now."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    left = [pid for pid, process in processes.items() if first in {pid, process.session}]
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, ())
    return found


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
