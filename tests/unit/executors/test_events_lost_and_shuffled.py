"""Lost, doubled and shuffled events give the same ends as none; with events there are few polls, without a queue
enough."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.executor_tower import ByHand, Tower, ended

from skylift.core.attempt import Exit, Observation, Phase
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.settle import Event

pytestmark = pytest.mark.unit

LIVES = st.sampled_from(["done", "failed", "killed", "refused", "no image twice", "vanished", "long"])
ENDS = {
    "done": Event.NONE,
    "failed": Event.SUCCESS,
    "killed": Event.FAILED,
    "refused": Event.NONE,
    "no image twice": Event.NONE,
    "vanished": Event.FAILED,
    "long": Event.NONE,
}


def lead(compute: FakeCompute, ref: str, life: str, chance: random.Random) -> None:
    """One moment in the life of a container that is alive."""
    if chance.random() < 0.5:
        return
    number = int(ref.rpartition(".")[2])
    if compute.seen(ref).phase is Phase.WAITING:
        if life == "no image twice" and number < 3:
            compute.fail_to_start(ref)
        else:
            compute.run(ref)
    elif life == "vanished":
        compute.vanish(ref)
    elif life != "long" or chance.random() < 0.05:
        codes = {"failed": Exit.ENDED_BADLY, "killed": 137, "refused": Exit.NOT_OURS}
        compute.exit(ref, codes.get(life, Exit.DONE))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lives=st.lists(LIVES, min_size=1, max_size=12),
    seed=st.integers(0, 10_000),
    lost=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    twice=st.sampled_from([0.0, 0.1, 0.5]),
    shuffled=st.booleans(),
)
def test_whatever_happens_to_events_the_ends_are_the_same(
    lives: list[str], seed: int, lost: float, twice: float, shuffled: bool
) -> None:
    chance = random.Random(seed)
    tower = Tower(eventful=True, explain=0, reconcile=300.0)
    tower.fleet.hear(True)
    for number, _ in enumerate(lives):
        tower.order(f"x{number}")
    heard = 0
    bag: list[Observation] = []
    for _ in range(600):
        tower.fly(5)
        for ref in tower.compute.alive():
            lead(tower.compute, ref, lives[int(ref.rpartition(".")[0].removeprefix("fake:x"))], chance)
        bag += [one for one in tower.compute.history[heard:] for _ in range(1 + (chance.random() < twice))]
        heard = len(tower.compute.history)
        if shuffled:
            chance.shuffle(bag)
        now, bag = bag[: len(bag) // 2 + 1], bag[len(bag) // 2 + 1 :]
        assert tower.fleet.sighted([one for one in now if chance.random() >= lost]) == []
        if not tower.flights():
            break
    assert sorted(ended(tower.news)) == sorted((f"x{n}", ENDS[life]) for n, life in enumerate(lives))
    most = {life: 3 if life == "no image twice" else 1 for life in ENDS}
    assert len({*tower.compute.submitted}) == sum(most[life] for life in lives)


def running(tower: Tower, number: int) -> None:
    for one in range(number):
        tower.order(f"x{one}")
    tower.fly(number / 500)
    for ref in tower.compute.alive():
        tower.compute.run(ref)


def test_with_events_a_thousand_running_ones_cost_few_looks() -> None:
    tower = Tower(eventful=True, launches=1000, reconcile=300.0)
    tower.fleet.hear(True)
    running(tower, 1000)
    tower.fleet.sighted(tower.compute.history)
    tower.fly(60)
    before = len(tower.compute.looks)
    tower.fly(600)
    assert len(tower.compute.looks) - before <= 10 * 10, "more than ten calls a minute"
    tower.compute.exit("fake:x7.1", Exit.DONE)
    tower.fleet.sighted(tower.compute.history[-1:])
    assert ended(tower.fly(0.1)) == [("x7", Event.NONE)], "an event is news at once"


def test_without_events_a_thousand_running_ones_cost_sixty_looks_a_minute() -> None:
    tower = Tower(launches=1000)
    running(tower, 1000)
    tower.fly(120)
    before = len(tower.compute.looks)
    tower.fly(600)
    assert len(tower.compute.looks) - before <= 60 * 10


def test_without_events_a_crowd_of_ends_is_seen_soon_and_a_few_hasten_nothing() -> None:
    """One of 4,000 is looked at every 40 seconds; when all end together, their slots must not come back one page a
    second."""
    tower = Tower(launches=10_000)
    running(tower, 4000)
    tower.fly(120)
    before = len(tower.compute.looks)
    for number in range(4000):
        if number % 50 == 0:
            tower.compute.exit(f"fake:x{number}.1", Exit.DONE)
    tower.fly(60)
    assert len(tower.compute.looks) - before <= 80, "two ends in one poll do not cause extra polls"
    assert tower.flights() == 3920
    before = len(tower.compute.looks)
    for ref in tower.compute.alive():
        tower.compute.exit(ref, Exit.DONE)
    tower.fly(8)
    assert tower.flights() == 0
    assert len(tower.compute.looks) - before <= 50


def test_a_lost_event_is_found_by_the_reconciling_look() -> None:
    tower = Tower(eventful=True, reconcile=300.0)
    tower.fleet.hear(True)
    running(tower, 5)
    tower.fleet.sighted(tower.compute.history)
    tower.fly(5)
    tower.compute.exit("fake:x3.1", 137, "its event was lost")
    assert ended(tower.fly(320)) == [("x3", Event.FAILED)]
    assert tower.tally.sum("drift") == 1


def test_a_queue_that_fails_brings_the_looks_back() -> None:
    tower = Tower(eventful=True, reconcile=300.0)
    tower.fleet.hear(True)
    running(tower, 5)
    tower.fleet.sighted(tower.compute.history)
    tower.fly(30)
    tower.fleet.hear(False)
    tower.fly(10)
    tower.compute.exit("fake:x3.1", Exit.DONE)
    assert ended(tower.fly(15)) == [("x3", Event.NONE)]


def test_a_rule_that_is_gone_is_noticed_though_the_queue_answers() -> None:
    tower = Tower(eventful=True, reconcile=300.0)
    tower.fleet.hear(True)
    running(tower, 50)
    tower.fleet.sighted(tower.compute.history)
    tower.fly(200)
    tower.compute.exit("fake:x3.1", Exit.DONE)
    tower.fly(320)
    tower.compute.exit("fake:x4.1", Exit.DONE)
    assert ended(tower.fly(15)) == [("x4", Event.NONE)], "polled since the first that no event told"


def test_events_that_never_come_for_a_container_leave_it_to_polling() -> None:
    tower = Tower(eventful=True)
    tower.fleet.hear(True)
    running(tower, 3)
    tower.fly(90)
    tower.compute.exit("fake:x1.1", Exit.DONE)
    assert ended(tower.fly(15)) == [("x1", Event.NONE)]


def test_an_event_before_the_answer_of_submit_is_kept() -> None:
    pool = ByHand()
    tower = Tower(pool=pool, eventful=True, explain=0)
    tower.fleet.hear(True)
    tower.order()
    tower.fleet.step()
    ends = Observation("fake:x.1", Phase.STOPPED, began=True, exit_code=137, version=9, external_id="x", reason="early")
    assert tower.fleet.sighted([ends]) == []
    tower.fleet.step()
    pool.calls.pop()()
    assert ended(tower.fly(0)) == [("x", Event.FAILED)]
    assert tower.tally.sum("events", use="early") == 1


def test_strangers_are_named_and_past_ones_of_ours_are_not() -> None:
    tower = Tower(eventful=True)
    tower.order()
    tower.fly(1)
    stranger = Observation("fake:other.1", Phase.RUNNING, began=True, version=2, external_id="other")
    assert tower.fleet.sighted([stranger]) == ["fake:other.1"]
    tower.compute.exit("fake:x.1", Exit.DONE)
    tower.fly(2)
    assert tower.flights() == 0
    assert tower.fleet.sighted(tower.compute.history) == []


def test_an_old_event_does_not_undo_what_is_known() -> None:
    tower = Tower(eventful=True)
    tower.fleet.hear(True)
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fleet.sighted(tower.compute.history[::-1])
    tower.fleet.step()
    (flight,) = tower.fleet._context.index
    assert (flight.phase, flight.version) == (Phase.RUNNING, 2)
    tower.compute.fail_to_start("fake:x.1")
    assert ended(tower.fly(400)) == [("x", Event.FAILED)], "it began, so it is Airflow's to repeat"
    assert tower.compute.submitted == ["x.1"]


def test_an_event_while_a_look_is_on_its_way_starts_one_attempt_and_no_other() -> None:
    pool = ByHand()
    tower = Tower(pool=pool, eventful=True)
    tower.order()
    tower.fleet.step()
    pool.calls.pop()()
    tower.fly(2)
    (look,) = pool.calls
    tower.compute.fail_to_start("fake:x.1")
    tower.fleet.sighted(tower.compute.history)
    tower.fleet.step()
    (flight,) = tower.fleet._context.index
    due = flight.due
    look()
    tower.fleet.step()
    assert (flight.due, flight.missing_since, flight.number) == (due, None, 2)
    pool.calls.clear()
    tower.fly(5)
    pool.calls.pop(0)()
    tower.fly(0)
    assert tower.compute.submitted == ["x.1", "x.2"]


# What is over stays over, whatever still comes of it.


def test_an_end_that_is_told_again_while_it_is_being_explained_is_one_end() -> None:
    tower = Tower(explain=15)
    running(tower, 1)
    end = Observation("fake:x0.1", Phase.STOPPED, True, 137, reason="killed", version=9)
    tower.fleet.sighted([end])
    tower.fleet.sighted([end])
    assert ended(tower.fly(20)) == [("x0", Event.FAILED)]
    assert tower.tally.sum("ends") == 1
    assert tower.tally.sum("calls", verb="explain") == 1


def test_an_answer_that_is_older_than_the_event_of_the_end_is_no_drift() -> None:
    pool = ByHand()
    tower = Tower(pool=pool, eventful=True, reconcile=300.0)
    tower.fleet.hear(True)
    tower.order("x0")
    tower.fly(0.1)
    pool.calls.pop()()
    tower.fly(0.1)
    tower.compute.run("fake:x0.1")
    tower.fleet.sighted(tower.compute.history)
    tower.fly(301)
    tower.fleet.sighted([Observation("fake:x0.1", Phase.STOPPED, True, Exit.DONE, version=9)])
    pool.calls.pop()()
    assert ended(tower.fly(1)) == [("x0", Event.NONE)]
    assert len(tower.compute.looks) == 1
    assert tower.tally.sum("drift") == 0


def test_an_end_that_is_being_explained_is_told_though_airflow_revokes_it() -> None:
    tower = Tower(pool=ByHand(), explain=15)
    tower.order("x0", ref="fake:x0.1", began=True)
    tower.fly(0.1)
    tower.fleet.sighted([Observation("fake:x0.1", Phase.STOPPED, True, 137, reason="killed", version=9)])
    tower.fly(1)
    tower.fleet.revoke("x0", "stuck in queued")
    assert ended(tower.fly(20)) == [("x0", Event.FAILED)]
    assert tower.flights() == 0
    assert tower.compute.stops == []


def test_what_is_not_known_for_four_minutes_is_not_launched_again() -> None:
    """ECS's own advice is to ask for up to five minutes (RunTask, API reference)."""
    tower = Tower()
    tower.order()
    tower.fly(1)
    tower.compute.hidden = {"fake:x.1"}
    assert tower.fly(240) == []
    tower.compute.hidden = set()
    tower.compute.exit("fake:x.1", Exit.DONE)
    assert ended(tower.fly(30)) == [("x", Event.NONE)]
    assert tower.compute.submitted == ["x.1"]
