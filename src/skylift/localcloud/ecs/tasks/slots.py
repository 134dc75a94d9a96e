"""How many ECS tasks the machine runs at a time: the others wait in PROVISIONING, first come, first served.

This is how a full capacity provider behaves. A service's ECS tasks always start: they are few, and an
environment whose scheduler waited behind its own Airflow tasks would never come up.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol

from skylift.core.settings import Setting, whole_number
from skylift.localcloud.ecs.tasks.start_limit import PER_CORE, StartLimiter

LEAST_SLOTS = 16
"""Even a small machine has this many: most Airflow tasks wait for something other than the CPU."""
SLOTS_PER_CORE = 4
BYTES_PER_SLOT = 256 * 1024 * 1024
"""What an ordinary Airflow task needs (0.2 GB, measured), and a little more."""

SLOTS: Setting[int] = Setting(
    "slots",
    whole_number(0, 100_000),
    0,
    "Most ECS tasks outside services that the local cloud runs at a time; others wait in PROVISIONING. "
    f"0: {SLOTS_PER_CORE} per core, at least {LEAST_SLOTS}, but not more than fit into the machine's memory.",
)


class SlotListener(Protocol):
    """Is told when there is room: Batch."""

    def slot_free(self) -> None:
        """A slot has become free and nobody waited for it. Must not block."""
        ...


class Slots:
    """Slots for ECS tasks, each held by one id from its start to its end.

    Args:
        start_limiter: delays those that have got a slot, one after the other.

    Attributes:
        most: how many may be held; more are held for a while if a restart finds more running.
    """

    def __init__(self, most: int, start_limiter: StartLimiter | None = None) -> None:
        self.most = most
        self._start_limiter = start_limiter
        self._listeners: list[SlotListener] = []
        self._held: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    def listen(self, listener: SlotListener) -> None:
        """From now on, reports free slots to the listener."""
        self._listeners.append(listener)

    @property
    def free(self) -> int:
        """Slots that nobody holds or waits for."""
        return max(0, self.most - len(self._held) - len(self._waiting))

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def hold(self, name: str) -> None:
        """Takes a slot for what already runs, even if none is free."""
        self._held.add(name)

    async def take(self, name: str) -> None:
        """Waits for a slot, and then a moment for the CPU, behind all who came before.

        Harmless if one has a slot; a cancelled wait leaves no trace.
        """
        if name in self._held:
            return
        try:
            await self._place(name)
            if self._start_limiter is not None:
                await self._start_limiter.through()
        except asyncio.CancelledError:
            self._waiting.pop(name, None)
            self.give_back(name)
            raise

    async def _place(self, name: str) -> None:
        if not self._waiting and len(self._held) < self.most:
            self._held.add(name)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name] = turn
        await turn

    def give_back(self, name: str) -> None:
        """Frees the slot for the next one. Harmless if one has none."""
        if name not in self._held:
            return
        self._held.discard(name)
        while self._waiting and len(self._held) < self.most:
            first = next(iter(self._waiting))
            turn = self._waiting.pop(first)
            if not turn.done():
                self._held.add(first)
                turn.set_result(None)
        if self.free:
            for listener in self._listeners:
                listener.slot_free()


def slots_of(wanted: int, cores: int, memory: int) -> int:
    """The number of slots: as requested, or, if that is 0, as this machine allows.

    Args:
        wanted: ``SLOTS``.
        cores: CPUs that we may use.
        memory: bytes of the machine; 0 if unknown.
    """
    if wanted:
        return wanted
    by_cores = max(LEAST_SLOTS, SLOTS_PER_CORE * cores)
    return max(2, min(by_cores, memory // BYTES_PER_SLOT)) if memory else by_cores


def machine_slots(wanted: int = 0) -> int:
    """``slots_of`` for this machine."""
    return slots_of(wanted, machine_cores(), _memory())


def machine_start_limiter() -> StartLimiter:
    """One for this machine."""
    return StartLimiter(PER_CORE * machine_cores())


def machine_cores() -> int:
    """CPUs that we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    try:
        first = Path("/proc/meminfo").read_text().splitlines()[0]
    except OSError:
        return 0
    return int(first.split()[1]) * 1024
