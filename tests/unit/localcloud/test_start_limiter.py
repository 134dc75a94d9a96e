"""Starts wait for processors, one after the other, but never long."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from skylift.localcloud.ecs.tasks.slots import Slots
from skylift.localcloud.ecs.tasks.start_limit import StartLimiter, runnable

pytestmark = pytest.mark.unit
SOON = 0.5


class Machine:
    """How many programs want to compute."""

    busy = 0

    def count(self) -> int:
        return self.busy


def played(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_who_comes_to_an_idle_machine_goes_on_at_once() -> None:
    async def scenario() -> None:
        start_limiter = StartLimiter(4, Machine().count)
        began = time.monotonic()
        await start_limiter.through()
        assert time.monotonic() - began < SOON

    played(scenario())


def test_they_go_on_in_their_order_as_there_is_room() -> None:
    async def scenario() -> None:
        machine, gone = Machine(), []
        machine.busy = 4
        start_limiter = StartLimiter(4, machine.count, seconds=60)

        async def go(name: int) -> None:
            await start_limiter.through()
            gone.append(name)
            machine.busy += 1

        waiting = [asyncio.create_task(go(name)) for name in range(3)]
        await asyncio.sleep(0.1)
        assert gone == []
        for so_far in range(1, 4):
            machine.busy = 3
            while len(gone) < so_far:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)
            assert gone == list(range(so_far)), "one place, one start"
        await asyncio.gather(*waiting)

    played(scenario())


def test_many_at_once_are_not_all_taken_for_idle() -> None:
    """Who has just gone on computes only in a moment."""

    async def scenario() -> None:
        start_limiter, gone = StartLimiter(2, Machine().count, seconds=60), []

        async def go() -> None:
            await start_limiter.through()
            gone.append(time.monotonic())

        await asyncio.gather(*(go() for _ in range(6)))
        assert gone[-1] - gone[0] >= 0.035

    played(scenario())


def test_nobody_waits_longer_than_the_limit() -> None:
    async def scenario() -> None:
        machine = Machine()
        machine.busy = 100
        start_limiter = StartLimiter(4, machine.count, seconds=0.2)
        began = time.monotonic()
        await asyncio.gather(*(start_limiter.through() for _ in range(20)))
        assert 0.2 <= time.monotonic() - began < 0.2 + SOON, "their waits do not add up"

    played(scenario())


def test_a_cancelled_wait_leaves_no_trace() -> None:
    async def scenario() -> None:
        machine = Machine()
        machine.busy = 100
        slots = Slots(1, StartLimiter(4, machine.count, seconds=60))
        first = asyncio.create_task(slots.take("first"))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert slots.free == 1
        machine.busy = 0
        await slots.take("second")
        assert slots.free == 0

    played(scenario())


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="Linux only")
def test_what_computes_is_counted() -> None:
    """Eight more than before: whatever else this machine does comes and goes, these stay."""
    before = min(runnable() for _ in range(20))
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)]
    try:
        deadline = time.monotonic() + 60
        while runnable() < before + 8:
            assert time.monotonic() < deadline, (before, runnable())
            time.sleep(0.01)
    finally:
        for program in programs:
            program.kill()
            program.wait()


@pytest.mark.parametrize(
    ("text", "count"), [("0.50 0.40 0.30 7/512 4711\n", 6), ("", 0), ("0.50 0.40 0.30", 0), ("0 0 0 many/x", 0)]
)
def test_a_machine_that_does_not_tell_counts_none(tmp_path: Path, text: str, count: int) -> None:
    assert runnable(str(tmp_path / "none")) == 0
    (tmp_path / "loadavg").write_text(text)
    assert runnable(str(tmp_path / "loadavg")) == count
