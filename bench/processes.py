"""Memory of a set of processes, as the kernel shares it out (PSS), their CPU, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")


def belonging_to(folder: Path) -> list[int]:
    """Pids whose command line, working folder or environment names ``folder``; never our own."""
    needle = os.fsencode(folder.resolve())
    return [pid for pid in _pids() if pid != os.getpid() and needle in _traces(pid)]


def in_session(leader: int) -> list[int]:
    """Pids of a session: those that rewrote their command line and environment (setproctitle) are found by nothing
    else."""
    return [pid for pid in _pids() if _session(pid) == leader]


def family_of(folder: Path) -> list[int]:
    """Those, and all of their sessions: children of Airflow's LocalExecutor have other titles, and no other trace."""
    found = set(belonging_to(folder))
    leaders = {_session(pid) for pid in found} - {os.getsid(0), 0}
    return sorted(found | {pid for pid in _pids() if _session(pid) in leaders})


def pss_bytes(pids: list[int]) -> int:
    """Sum of the proportional set sizes (``smaps_rollup``), in bytes. Processes that ended count 0."""
    return sum(_pss(pid) for pid in pids)


def cpu_seconds(pids: list[int]) -> float:
    """CPU that processes have used so far, with that of their children which have ended and were waited for."""
    return sum(_cpu_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


def end_all(pids: list[int], seconds: float = 20) -> None:
    """SIGTERM, then SIGKILL for what is left after ``seconds``."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            _signal(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any((PROC / str(pid) / "cmdline").exists() for pid in pids):
            time.sleep(0.1)


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _traces(pid: int) -> bytes:
    found = b""
    for name in ("cmdline", "environ"):
        try:
            found += (PROC / str(pid) / name).read_bytes()
        except OSError:
            continue
    with contextlib.suppress(OSError):
        found += os.fsencode(os.readlink(PROC / str(pid) / "cwd"))
    return found


def _pss(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _cpu_ticks(pid: int) -> int:
    try:
        words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(word) for word in words[11:15])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
