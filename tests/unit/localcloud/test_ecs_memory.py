"""Which container is over its limit, when to check, and which run when not all can."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import pytest

from skylift.localcloud.containers.cpu_shares import nice_of
from skylift.localcloud.containers.memory import (
    MemoryWatch,
    Over,
    PassTiming,
    Process,
    Watched,
    find_over,
    machine_in_use,
    members_of,
    proportional_share,
    read_processes,
)
from skylift.localcloud.ecs.tasks.slots import SLOTS, SlotListener, Slots, machine_slots, slots_of

pytestmark = pytest.mark.unit
MB = 1024 * 1024


def processes(**resident: tuple[int, int]) -> dict[int, Process]:
    """``p12=(parent, MB)``."""
    return {int(name[1:]): Process(parent, mb * MB) for name, (parent, mb) in resident.items()}


def watched(pid: int, limit: int = 0, task: str = "t", task_limit: int = 0) -> Watched:
    return Watched(pid, limit * MB, task, task_limit * MB, lambda: None)


def shares(found: Mapping[int, int]) -> object:
    return lambda pid: found.get(pid, 0) * MB


def test_a_container_is_its_descendants_and_its_shims_orphans() -> None:
    found = processes(
        p1=(0, 1),
        p10=(1, 5),
        p11=(10, 50),
        p20=(11, 1),
        p21=(20, 1),
        p22=(21, 1),
        p23=(20, 1),
        p30=(11, 1),
        p31=(30, 1),
    )
    members = members_of({21, 31}, found)
    assert members == {21: [21, 22, 23], 31: [31]}, "neither the shims (20, 30) nor the server (11) are counted"


def test_a_container_of_a_killed_shim_does_not_own_the_machine() -> None:
    assert members_of({21}, processes(p1=(0, 1), p21=(1, 1), p50=(1, 900))) == {21: [21]}


def test_shared_pages_are_counted_once() -> None:
    found = processes(p1=(0, 1), p20=(1, 1), p21=(20, 200), p22=(21, 200), p23=(21, 200))
    forked = find_over([watched(21, 300)], found, shares({21: 70, 22: 65, 23: 65}))
    assert forked == Over((), 100 * MB)
    fat = find_over([watched(21, 300)], found, shares({21: 150, 22: 90, 23: 65}))
    assert fat.pids == (21,)


def test_a_share_that_may_not_be_read_counts_whole() -> None:
    found = processes(p1=(0, 1), p20=(1, 1), p21=(20, 301))
    assert find_over([watched(21, 300)], found, lambda pid: None).pids == (21,)


def test_the_largest_container_of_an_ecs_task_over_its_limit() -> None:
    found = processes(p1=(0, 1), p20=(1, 1), p21=(20, 200), p30=(1, 1), p31=(30, 330), p40=(1, 1), p41=(40, 400))
    group = [watched(21, 0, "a", 512), watched(31, 0, "a", 512), watched(41, 0, "b", 512)]
    assert find_over(group, found, shares({21: 200, 31: 330, 41: 400})).pids == (31,)
    assert find_over(group, found, shares({21: 180, 31: 330, 41: 400})) == Over((), 2 * MB)


def test_one_container_is_enough_for_an_ecs_task() -> None:
    found = processes(p1=(0, 1), p20=(1, 1), p21=(20, 300), p30=(1, 1), p31=(30, 330))
    group = [watched(21, 256, "a", 512), watched(31, 0, "a", 512)]
    assert find_over(group, found, shares({21: 300, 31: 330})).pids == (21,)


def test_no_pass_while_the_machine_has_not_grown_by_what_is_free() -> None:
    pace = PassTiming(at=100.0, cost=0.003, in_use=1000 * MB, headroom=400 * MB)
    assert not pace.due(100.1, 1100 * MB)
    assert pace.due(100.1, 1200 * MB)
    assert pace.due(100.9, 1000 * MB), "memory may move from one to another"
    assert pace.due(100.1, None)
    pace.admit(50 * MB)
    assert pace.due(100.1, 1030 * MB)
    slow = PassTiming(at=100.0, cost=0.02, in_use=1000 * MB, headroom=0)
    assert not slow.due(100.1, 2000 * MB)
    assert slow.due(100.3, 2000 * MB)
    assert slow.due(101.0, 1000 * MB)


def test_the_watch_kills_once_and_sleeps_when_nobody_is_watched() -> None:
    async def play() -> None:
        killed: list[str] = []
        table = processes(p1=(0, 1), p20=(1, 1), p21=(20, 50))
        watch = MemoryWatch(lambda: table, lambda pid: 999 * MB, lambda: None, tick=0.001)
        watch.add(Watched(21, 100 * MB, "t", 0, lambda: killed.append("t")))
        watch.add(watched(77))
        await asyncio.sleep(0.05)
        assert killed == []
        table[21] = Process(20, 101 * MB)
        async with asyncio.timeout(5):
            while not killed:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        assert killed == ["t"]
        watch.remove(21)
        await asyncio.sleep(0)
        assert "memory-watch" not in {task.get_name() for task in asyncio.all_tasks()}

    asyncio.run(play())


def test_this_machine_can_be_read() -> None:
    found = read_processes()
    assert found[os.getpid()].parent == os.getppid()
    share = proportional_share(os.getpid())
    assert share is not None
    assert MB < share <= found[os.getpid()].resident * 1.1
    assert proportional_share(2**22) == 0
    in_use = machine_in_use()
    assert in_use is None or in_use > share


def test_first_come_first_served() -> None:
    async def play() -> None:
        slots, order = Slots(2), []
        slots.hold("found")

        async def live(name: str) -> None:
            await slots.take(name)
            order.append(name)

        running = [asyncio.create_task(live(name)) for name in "abcd"]
        await asyncio.sleep(0.01)
        assert (order, slots.free, slots.waiting) == (["a"], 0, 3)
        running[1].cancel()
        await asyncio.sleep(0.01)
        told: list[int] = []

        class Counts(SlotListener):
            def slot_free(self) -> None:
                told.append(slots.free)

        slots.listen(Counts())
        slots.give_back("found")
        slots.give_back("found")
        await asyncio.sleep(0.01)
        assert order == ["a", "c"]
        for name in "acd":
            slots.give_back(name)
            await asyncio.sleep(0.01)
        assert order == ["a", "c", "d"]
        assert (slots.free, told) == (2, [1, 2])

    asyncio.run(play())


def test_a_place_given_to_one_who_just_left_is_not_lost() -> None:
    async def play() -> None:
        slots = Slots(1)
        await slots.take("a")
        waiting = asyncio.create_task(slots.take("b"))
        await asyncio.sleep(0)
        slots.give_back("a")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert slots.free == 1

    asyncio.run(play())


def test_a_restart_may_find_more_than_there_are_places() -> None:
    async def play() -> None:
        slots = Slots(1)
        for name in "abc":
            slots.hold(name)
        waiting = asyncio.create_task(slots.take("d"))
        for name in "ab":
            slots.give_back(name)
            await asyncio.sleep(0)
            assert not waiting.done()
        slots.give_back("c")
        await waiting

    asyncio.run(play())


@pytest.mark.parametrize(
    ("wanted", "cores", "memory", "slots"),
    [
        (0, 2, 23 << 30, 16),
        (0, 16, 64 << 30, 64),
        (0, 16, 4 << 30, 16),
        (0, 1, 1 << 28, 2),
        (5, 16, 1, 5),
        (0, 8, 0, 32),
    ],
)
def test_places_of_a_machine(wanted: int, cores: int, memory: int, slots: int) -> None:
    assert slots_of(wanted, cores, memory) == slots


def test_the_setting() -> None:
    assert SLOTS.read({"SKYLIFT_SLOTS": "7"}) == 7
    assert machine_slots(7) == 7
    assert machine_slots() >= 2


@pytest.mark.parametrize(("cpu", "nice"), [(1024, 5), (0, 5), (512, 8), (256, 11), (2048, 2), (4096, 1), (2, 14)])
def test_half_the_units_are_half_the_share(cpu: int, nice: int) -> None:
    assert nice_of(cpu) == nice
