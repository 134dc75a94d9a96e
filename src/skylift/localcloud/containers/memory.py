"""Memory limits of containers: checks all processes regularly, and kills a container that is over its limit.

Kernel limits would need cgroups that we may write, which most machines do not give an ordinary user. RLIMIT_AS
counts what is reserved, not what is used. RLIMIT_RSS is ignored. So we check, and it works the same on every machine:
one pass over ``/proc/*/stat``. The sum of resident memory of a container's processes is a cheap first check. Only if it
is over the limit do we read the proportional share (PSS), which does not count shared pages twice, so a process that
has forked is not killed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MODE = "watched by skylift: looked at up to 10 times a second, PSS counts (kernel cgroups are not used)"
"""How memory limits are enforced, in words for people."""
REASON = "OutOfMemoryError: Container killed due to memory usage"
"""ECS's text."""
TICK_SECONDS = 0.1
"""A tick reads one small file; a pass over all processes follows only if something may have changed."""
PASS_SECONDS = 0.8
"""A pass at least this often, because memory may move from one process to another."""
COST_FACTOR = 50.0
"""Unneeded passes take at most one part in so many of our time; needed ones four times that."""

_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watched:
    """A container with a limit.

    Attributes:
        pid: its first process.
        limit: bytes that it may use, 0 for as much as its ECS task.
        task: id of its ECS task.
        task_limit: bytes that all containers of the ECS task may use together, 0 for any.
        kill: ends it, with this reason. Called once, on the event loop.
    """

    pid: int
    limit: int
    task: str
    task_limit: int
    kill: Callable[[], None]


@dataclass(frozen=True)
class Process:
    """One process: its parent's pid, its resident memory in bytes, its session's leader, and seconds of CPU time, those
    of its ended children included."""

    parent: int
    resident: int
    session: int = 0
    cpu: float = 0.0


@dataclass(frozen=True)
class Used:
    """What a container has used: seconds of CPU time since its start, resident bytes now, and the processes it has."""

    cpu: float
    resident: int
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Over:
    """What a pass found.

    Attributes:
        pids: first processes of containers to kill.
        headroom: bytes that the container nearest to its limit may still use.
        used: what each container uses, by its first process.
    """

    pids: tuple[int, ...]
    headroom: int
    used: Mapping[int, Used] = field(default_factory=dict, compare=False)


Tell = Callable[[str, int, Used], None]
"""Told of each container at each pass: id of its ECS task, its first process, and what it uses."""


class MemoryWatch:
    """Watches from the first ``add`` to the last ``remove``; costs nothing in between."""

    def __init__(
        self,
        processes: Callable[[], Mapping[int, Process]] | None = None,
        proportional: Callable[[int], int | None] | None = None,
        in_use: Callable[[], int | None] | None = None,
        tick: float = TICK_SECONDS,
        tell: Tell = lambda *_: None,
    ) -> None:
        self._processes = processes or read_processes
        self._proportional = proportional or proportional_share
        self._in_use = in_use or machine_in_use
        self._tick = tick
        self._tell = tell
        self._watched: dict[int, Watched] = {}
        self._loop: asyncio.Task[None] | None = None
        self._pace = PassTiming()

    def add(self, watched: Watched) -> None:
        """Starts watching a container, if it has a limit."""
        if not watched.limit and not watched.task_limit:
            return
        self._watched[watched.pid] = watched
        self._pace.admit(min(filter(None, (watched.limit, watched.task_limit))))
        if self._loop is None:
            self._loop = asyncio.create_task(self._run(), name="memory-watch")

    def remove(self, pid: int) -> None:
        """Forgets it. Harmless if it is not watched."""
        self._watched.pop(pid, None)
        if not self._watched and self._loop is not None:
            self._loop.cancel()
            self._loop = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            if self._pace.due(time.monotonic(), self._in_use()):
                await self._pass()

    async def _pass(self) -> None:
        began, in_use = time.monotonic(), self._in_use()
        watched = list(self._watched.values())
        try:
            over = await asyncio.to_thread(lambda: find_over(watched, self._processes(), self._proportional))
        except OSError as error:  # for example too many open files: the machine's owner can act, limits wait meanwhile
            _log.warning("memory limits are not watched now: %s", error)
            over = Over((), 0)
        for pid, used in over.used.items():
            if known := self._watched.get(pid):
                self._tell(known.task, pid, used)
        for pid in over.pids:
            if found := self._watched.pop(pid, None):
                found.kill()
        ended = time.monotonic()
        self._pace = PassTiming(ended, ended - began, in_use, over.headroom)


@dataclass
class PassTiming:
    """When the next pass is due, from the result of the last one.

    Attributes:
        at: when it ended, in seconds of a monotonic clock.
        cost: how many seconds it took.
        in_use: bytes that all processes of the machine used then; ``None`` if unknown.
        headroom: bytes that the container nearest to its limit could still use.
    """

    at: float = 0.0
    cost: float = 0.0
    in_use: int | None = None
    headroom: int = 0

    def admit(self, limit: int) -> None:
        """Includes a container that began after the pass."""
        self.headroom = min(self.headroom, limit)

    def due(self, now: float, in_use: int | None) -> bool:
        """No container can be over its limit while the whole machine has grown by less than its headroom."""
        passed = now - self.at
        if passed >= max(PASS_SECONDS, COST_FACTOR * self.cost):
            return True
        grown = in_use is None or self.in_use is None or in_use - self.in_use >= self.headroom / 2
        return grown and passed >= COST_FACTOR / 4 * self.cost


def find_over(
    watched: Sequence[Watched], processes: Mapping[int, Process], proportional: Callable[[int], int | None]
) -> Over:
    """Containers over their limits; for an ECS task over its own limit, its largest container."""
    members = members_of({one.pid for one in watched}, processes)
    used = {pid: sum(processes[one].resident for one in pids) for pid, pids in members.items()}
    told = {pid: Used(sum(processes[one].cpu for one in pids), used[pid], tuple(pids)) for pid, pids in members.items()}
    tasks: dict[str, list[Watched]] = {}
    for one in watched:
        tasks.setdefault(one.task, []).append(one)
    exact: set[int] = set()

    def measure(one: Watched) -> int:
        """Its share, if that matters; a process whose share cannot be read counts fully."""
        if one.pid not in exact and one.pid in members:
            exact.add(one.pid)
            shares = {pid: proportional(pid) for pid in members[one.pid]}
            used[one.pid] = sum(processes[pid].resident if share is None else share for pid, share in shares.items())
        return used.get(one.pid, 0)

    killed: list[int] = []
    headrooms: list[int] = []
    for group in tasks.values():
        for one in group:
            if one.limit and used.get(one.pid, 0) > one.limit and measure(one) > one.limit:
                killed.append(one.pid)
            elif one.limit:
                headrooms.append(one.limit - used.get(one.pid, 0))
        limit = group[0].task_limit
        if limit and sum(used.get(one.pid, 0) for one in group) > limit and sum(map(measure, group)) > limit:
            largest = max(group, key=lambda one: used.get(one.pid, 0)).pid
            if not {one.pid for one in group} & set(killed):  # one at a time: killing it may be enough
                killed.append(largest)
        elif limit:
            headrooms.append(limit - sum(used.get(one.pid, 0) for one in group))
    return Over(tuple(killed), min(headrooms, default=0), told)


def members_of(firsts: Iterable[int], processes: Mapping[int, Process]) -> dict[int, list[int]]:
    """The processes of each container, by its first process: its descendants, and orphans that its shim has adopted.

    A session id would not be enough: programs make their own sessions (Airflow's BashOperator does).
    """
    owner: dict[int, int] = {0: 0, 1: 0}
    found: dict[int, list[int]] = {}
    for first in firsts:
        if first in processes:
            owner[first] = first
            found[first] = [first]
            shim = processes[first].parent
            if shim > 1:
                owner[shim] = first
    for pid in processes:
        trail = []
        at = pid
        while at not in owner and at in processes:
            trail.append(at)
            at = processes[at].parent
        belongs = owner.get(at, 0)
        for one in trail:
            owner[one] = belongs
            if belongs:
                found[belongs].append(one)
    return found


def read_processes() -> dict[int, Process]:
    """All processes of this machine (Linux): one small file each."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{name}/stat", "rb") as file:
                # The command's name, in brackets, may contain anything: fields count from the last bracket.
                fields = file.read().rpartition(b")")[2].split()
                cpu = sum(map(int, fields[11:15])) / _TICKS
                found[int(name)] = Process(int(fields[1]), int(fields[21]) * _PAGE, int(fields[3]), cpu)
    return found


def proportional_share(pid: int) -> int | None:
    """Bytes of a process, with shared pages divided among their users and swap included; 0 if it is gone, ``None`` if
    unknown."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = [line.split() for line in file if line.startswith((b"Pss:", b"SwapPss:"))]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError:
        return None
    return sum(int(line[1]) for line in lines) * 1024


def machine_in_use() -> int | None:
    """Bytes that the machine's processes use; ``None`` if the system does not say."""
    wanted = {b"AnonPages:", b"Mapped:", b"Shmem:"}
    try:
        with open("/proc/meminfo", "rb") as file:
            found = [int(line.split()[1]) for line in file if line.split()[0] in wanted]
    except OSError:
        return None
    return sum(found) * 1024 if len(found) == len(wanted) else None
