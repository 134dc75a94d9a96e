"""State by events.

The number of calls does not grow with the number of containers; lost, doubled and shuffled events give the same result
as none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.executors.test_executor_fleet import Tower, ended

from skylift.core.attempt import Attempt, Exit, Observation, Phase
from skylift.core.errors import Refused
from skylift.executors.events.fake import FakeSource
from skylift.executors.events.source import Feed
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.fleet import Fleet
from skylift.executors.fleet.flight import News, Stage
from skylift.executors.fleet.settle import Event, WorkloadKind
from skylift.executors.fleet.timing import Timing

pytestmark = pytest.mark.unit

LONG_POLLS = 3
"""Calls a minute to SQS while nothing comes: it is waited for 20 seconds."""


class Counting(FakeCompute):
    """A compute that counts the changes of a container, as ECS does, and tells of each."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[[Observation], object] = lambda _: None

    def place(self, ref: str) -> None:
        """It was made and waits for its start."""
        self._changed(ref, 1)

    def run(self, ref: str) -> None:
        super().run(ref)
        self._changed(ref, 2)

    def exit(self, ref: str, code: int, reason: str = "") -> None:
        super().exit(ref, code, reason)
        self._changed(ref, 3)

    def fail_to_start(self, ref: str, reason: str = "no image") -> None:
        super().fail_to_start(ref, reason)
        self._changed(ref, 3)

    def vanish(self, ref: str, reason: str = "host lost") -> None:
        super().vanish(ref, reason)
        self._changed(ref, 3)

    def _changed(self, ref: str, version: int) -> None:
        owner = ref.removeprefix("fake:").rpartition(".")[0]
        self._seen[ref] = replace(self._seen[ref], version=version, external_id=owner)
        self.tell(self._seen[ref])


class Airport(Tower):
    """A tower that hears events, all of them and at once unless a test says otherwise."""

    compute: Counting

    def __init__(self, *, heard: bool = True, **timing: float) -> None:
        super().__init__(Counting(), eventful=True, **timing)
        self.compute.tell = self.hear if heard else (lambda _: None)
        self.fleet.hear(True)

    def hear(self, *seen: Observation) -> list[str]:
        return self.fleet.sighted(seen)


def running(tower: Tower, number: int) -> list[str]:
    """Refs of so many attempts that run."""
    for one in range(number):
        tower.order(f"x{one}")
    refs = [f"fake:x{one}.1" for one in range(number)]
    for _ in range(100):
        if len(tower.compute.submitted) < number:
            tower.fly(1)
    assert len(tower.compute.submitted) == number
    for ref in refs:
        tower.compute.run(ref)
    tower.fly(1)
    return refs


def looks_a_minute(tower: Tower, minutes: int) -> float:
    tower.compute.looks.clear()
    tower.fly(60.0 * minutes)
    return len(tower.compute.looks) / minutes


def test_with_events_a_thousand_idle_attempts_cost_ten_calls_a_minute_and_no_more_than_ten_thousand_would() -> None:
    airport = Airport(launches=1000.0, calls=64)
    running(airport, 1000)
    airport.fly(120)
    assert looks_a_minute(airport, 10) + LONG_POLLS <= 10


def test_without_a_queue_a_thousand_idle_attempts_cost_sixty_calls_a_minute() -> None:
    tower = Tower(Counting(), launches=1000.0, calls=64)
    running(tower, 1000)
    tower.fly(120)
    assert 1 <= looks_a_minute(tower, 10) <= 60


def test_those_that_a_restart_took_over_soon_cost_no_more() -> None:
    airport = Airport(launches=1000.0, calls=64, looks=100.0)
    for one in range(1000):
        airport.compute.submit([Attempt(f"x{one}", 1, lambda: "{}")])
        airport.compute.run(f"fake:x{one}.1")
        airport.order(f"x{one}", began=True)
    airport.fly(60 * 15)
    assert looks_a_minute(airport, 10) + LONG_POLLS <= 10


def test_an_end_is_heard_without_a_look() -> None:
    airport = Airport()
    (ref,) = running(airport, 1)
    airport.compute.looks.clear()
    airport.compute.exit(ref, Exit.DONE)
    assert ended(airport.fly()) == [("x0", Event.NONE)]
    assert airport.compute.looks == []


def test_what_a_lost_event_hid_is_found_in_five_minutes() -> None:
    airport = Airport()
    (ref,) = running(airport, 1)
    airport.compute.tell = lambda _: None
    airport.compute.exit(ref, 137)
    assert airport.fly(200) == []
    assert ended(airport.fly(120)) == [("x0", Event.FAILED)]


def test_an_attempt_whose_events_do_not_come_here_is_looked_at_after_a_minute() -> None:
    airport = Airport(heard=False)
    airport.order()
    airport.fly(1)
    airport.compute.run("fake:x.1")
    airport.fly(80)
    airport.compute.exit("fake:x.1", Exit.DONE)
    assert ended(airport.fly(11)) == [("x", Event.NONE)]


def test_a_dead_queue_is_polling_until_it_lives(caplog: pytest.LogCaptureFixture) -> None:
    airport = Airport()
    refs = running(airport, 3)
    source = FakeSource()
    feed = Feed(source, airport.fleet, airport.clock)
    feed.turn()
    source.errors = [Refused("sqs ReceiveMessage: no such queue") for _ in range(3)]
    airport.compute.tell = lambda _: None
    feed.turn()
    airport.fly(70)
    airport.compute.exit(refs[0], Exit.DONE)
    assert ended(airport.fly(11)) == [("x0", Event.NONE)]
    feed.turn()
    feed.turn()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    airport.compute.tell = source.put
    airport.compute.exit(refs[1], 70)
    feed.turn()
    assert ended(airport.fly()) == [("x1", Event.SUCCESS)]
    airport.compute.tell = lambda _: None
    airport.compute.looks.clear()
    airport.fly(60)
    assert len(airport.compute.looks) <= 1, "events are trusted again"


class Late(Executor):
    """Runs calls only when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls.append(partial(fn, *args, **kwargs))
        return Future()


def test_an_event_may_come_before_the_answer_of_submit() -> None:
    airport, pool = Airport(), Late()
    airport.fleet = Fleet(airport.compute, pool, airport.clock, Timing(eventful=True))
    airport.fleet.hear(True)
    airport.order()
    airport.fly()
    done = Observation("fake:x.1", Phase.STOPPED, began=True, exit_code=0, version=9, external_id="x")
    assert airport.hear(done, replace(done, phase=Phase.RUNNING, exit_code=None, version=2)) == []
    assert airport.fly() == []
    for call in pool.calls:
        call()
    assert ended(airport.fly()) == [("x", Event.NONE)]


def test_a_late_event_of_an_earlier_attempt_says_nothing_of_the_next() -> None:
    airport = Airport(most_attempts=2)
    late = Observation("fake:x.1", Phase.STOPPED, version=9, external_id="x", reason="no image")
    airport.order()
    airport.fly(1)
    assert airport.hear(late) == []
    assert [one.stage for one in airport.fly(10)] == [Stage.REPEATED]
    assert airport.compute.submitted == ["x.1", "x.2"]
    assert airport.hear(late) == []
    assert airport.fly(1) == []
    airport.compute.run("fake:x.2")
    airport.compute.exit("fake:x.2", Exit.DONE)
    assert ended(airport.fly()) == [("x", Event.NONE)]
    assert airport.hear(late) == [], "known for a while after the landing, so it is not given back"


def test_a_strangers_event_is_told_apart() -> None:
    airport = Airport()
    running(airport, 2)
    theirs = Observation("fake:y.1", Phase.RUNNING, version=2, external_id="y")
    ours = Observation("fake:x0.1", Phase.RUNNING, version=2, external_id="x0")
    assert airport.hear(theirs, ours) == ["fake:y.1"]


@pytest.mark.parametrize("version", [0, 1])
def test_a_late_event_turns_nothing_back(version: int) -> None:
    airport = Airport()
    airport.order(kind=WorkloadKind.CALLBACK)
    airport.fly(1)
    airport.compute.run("fake:x.1")
    assert [one.stage for one in airport.fly(1)] == [Stage.RUNNING]
    airport.hear(Observation("fake:x.1", Phase.WAITING, version=version))
    airport.hear(Observation("fake:x.1", Phase.RUNNING, began=True, version=2))
    assert airport.fly(1) == []


@dataclass(frozen=True)
class Life:
    """How one container goes: seconds until it starts (if it does), seconds that it runs, its end."""

    starts: float
    runs: float
    end: int | None


LIVES = st.builds(
    Life,
    st.floats(0.5, 40),
    st.floats(0.5, 150),
    st.sampled_from([0, 0, 0, 1, 70, 71, 72, 137, None]),
)
PROGRAMS = st.lists(st.lists(LIVES, min_size=3, max_size=3), min_size=1, max_size=6)
"""For each order, the lives of its first, second and third container."""


def flown(
    tower: Tower,
    program: Sequence[Sequence[Life]],
    tell: Callable[[float, Observation], Iterable[tuple[float, Observation]]],
) -> list[News]:
    """All news of a program. ``tell`` says when which events come of a change."""
    compute = tower.compute
    assert isinstance(compute, Counting)
    agenda: list[tuple[float, int, Callable[[], object]]] = []

    def plan(when: float, deed: Callable[[], object]) -> None:
        agenda.append((when, len(agenda), deed))

    def told(seen: Observation) -> None:
        for when, one in tell(tower.clock(), seen):
            plan(when, lambda one=one: tower.fleet.sighted([one]))  # type: ignore[misc]

    compute.tell = told
    for number in range(len(program)):
        tower.order(f"x{number}")
    begun: set[str] = set()
    for _ in range(700):
        news = tower.fly(1)
        for ref in [ref for ref in compute.documents if ref not in begun]:
            begun.add(ref)
            name, _, attempt = ref.removeprefix("fake:x").partition(".")
            life = program[int(name)][int(attempt) - 1]
            compute.place(ref)
            now = tower.clock()
            plan(now + life.starts, lambda ref=ref: compute.run(ref))  # type: ignore[misc]
            plan(now + life.starts + life.runs, lambda ref=ref, life=life: over(compute, ref, life))  # type: ignore[misc]
        due = sorted(one for one in agenda if one[0] <= tower.clock())
        agenda[:] = [one for one in agenda if one not in due]
        for _, _, deed in due:
            deed()
        if not agenda and len(ended(tower.news)) == len(program) and not news:
            break
    return tower.news


def over(compute: Counting, ref: str, life: Life) -> None:
    if life.end is None:
        compute.vanish(ref)
    else:
        compute.exit(ref, life.end)


@settings(max_examples=100, deadline=None)
@given(PROGRAMS, st.integers(0, 2**32))
def test_lost_doubled_and_shuffled_events_come_to_the_same_end(program: list[list[Life]], seed: int) -> None:
    chance = random.Random(seed)

    def badly(now: float, seen: Observation) -> Iterable[tuple[float, Observation]]:
        copies = 0 if chance.random() < 0.1 else 2 if chance.random() < 0.1 else 1
        return [(now + chance.uniform(0, 30), seen) for _ in range(copies)]

    polled = Tower(Counting())
    without = flown(polled, program, lambda now, seen: ())
    airport = Airport(reconcile=60.0)
    by_events = flown(airport, program, badly)
    assert sorted(ended(by_events)) == sorted(ended(without))
    assert len(ended(by_events)) == len(program)
    assert sorted(airport.compute.submitted) == sorted(polled.compute.submitted), "no container more, none less"
