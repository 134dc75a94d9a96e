"""The reconciler's rounds over rows and parts in memory, on a clock that only the test sets: which environment is
handled when, what is observed again, what is written, and what a round does about errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.control_scenes import SETTINGS, spec
from tests.unit.control.test_control_provider import Rows, row

from skylift.control.blueprint import Part, PartKind, blueprint
from skylift.control.judge import StatusDecision
from skylift.control.notes import note
from skylift.control.part_context import PartContext
from skylift.control.parts.fake import FakeParts
from skylift.control.plan import Failure, PartPhase, Seen
from skylift.control.reconcile import KNOWN_SECONDS, LONGEST_PAUSE, MOST_BROKEN, Reconciler, last_update, progress
from skylift.control.store import LastUpdate, Row, Told
from skylift.core.clock import ManualClock
from skylift.core.environment import Generation, Spec, Status
from skylift.core.errors import Refused, SkyliftError, Unavailable

pytestmark = pytest.mark.unit
MOVING = SETTINGS.moving_milliseconds / 1000
PARTS = blueprint(spec())
FLEETING = {part.name for part in PARTS if part.kind in {PartKind.SERVICE, PartKind.HEALTH}}


class Table(Rows):
    """Rows in memory that also take what the reconciler writes."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock, self.prepared, self.written = clock, 0, 0
        self.error: SkyliftError | None = None
        self.bug = False
        self.events: list[Told] = []

    def prepare(self) -> None:
        self._serve()
        self.prepared += 1

    def create(self, wanted: Spec, tags: Mapping[str, str]) -> bool:
        at = datetime.fromtimestamp(self.clock(), UTC)
        last = LastUpdate("PENDING", self.clock(), "CreateEnvironment")
        self.rows[wanted.name] = row(
            wanted, status=Status.CREATING, created_at=at, requested_at=at, last_update=last, tags=tags
        )
        return True

    def all(self) -> list[Row]:
        self._serve()
        if self.bug:
            raise KeyError("a bug")
        return [self.rows[name] for name in sorted(self.rows)]

    def record(self, one: Row, *events: Told) -> bool:
        if self.error is not None:
            raise self.error
        mine = one.name in self.rows and self.rows[one.name].generation == one.generation
        if mine:
            self.rows[one.name] = one
            self.written += 1
            self.events += events
        return mine

    def forget(self, one: Row, event: Told) -> None:
        if self.rows[one.name].generation == one.generation:
            del self.rows[one.name]

    def request_delete(self, one: Row) -> bool:
        last = LastUpdate("PENDING", self.clock(), "DeleteEnvironment")
        newer = Generation(one.generation + 1)
        self.rows[one.name] = replace(one, status=Status.DELETING, generation=newer, last_update=last)
        return True


class World(FakeParts):
    """Remembers what was asked, and may break."""

    def __init__(self, looks: int = 1) -> None:
        super().__init__(looks)
        self.asked: list[tuple[str, str]] = []
        self.broken: Exception | None = None
        self.during: Any = None
        self.notes: dict[str, str] = {}

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        self.asked += [(context.spec.name, part.name) for part in parts]
        if self.during is not None:
            self.during(context)
        if self.broken is not None:
            raise self.broken
        found = super().observe(context, parts)
        return {name: replace(one, facts={**one.facts, **self.notes}) for name, one in found.items()}


class Rounds:
    """A reconciler and all that it touches."""

    def __init__(self, world: World | None = None, *names: str) -> None:
        self.clock, self.world, self.bell = ManualClock(), world or World(), threading.Event()
        self.store = Table(self.clock)
        self.reconciler = Reconciler(self.store, self.world, SETTINGS, self.clock, self.bell)  # type: ignore[arg-type]
        for name in names or ("flight",):
            self.store.create(spec(Name=name), {})

    @property
    def row(self) -> Row:
        return self.store.rows["flight"]

    def round(self) -> float:
        """One round; the seconds until the next one, without what floating point adds."""
        self.world.asked.clear()
        return round(self.reconciler.round(), 6)

    def step(self) -> float:
        pause = self.round()
        self.clock.advance(pause)
        return pause

    def until(self, status: Status) -> float:
        for _ in range(60):
            pause = self.round()
            if self.row.status is status:
                return pause
            self.clock.advance(pause)
        raise AssertionError(f"still {self.row}")

    @property
    def asked(self) -> set[str]:
        return {name for _, name in self.world.asked}


def test_the_first_round_makes_the_ground_and_later_ones_do_not() -> None:
    rounds = Rounds()
    rounds.step()
    rounds.step()
    assert rounds.store.prepared == 1
    assert rounds.world.deeds.count("prepare") == 1
    assert rounds.world.deeds[0] == "prepare", "before anything else"


def test_a_create_is_recorded_as_it_goes_and_ends_in_success() -> None:
    rounds = Rounds()
    assert rounds.round() == min(MOVING, 0.1), "what was just put may be ready already"
    assert rounds.row.status is Status.CREATING
    assert rounds.row.progress["doing"], "people are told what is being done"
    assert rounds.row.facts, "what was learnt is kept"
    assert rounds.row.last_update.status == "PENDING"
    assert rounds.until(Status.AVAILABLE) == SETTINGS.steady_seconds
    assert rounds.row.last_update == LastUpdate("SUCCESS", rounds.clock(), "CreateEnvironment")
    assert rounds.row.progress["doing"] == "available"
    assert {one["name"] for one in rounds.row.progress["parts"]} == {part.name for part in PARTS}
    assert rounds.row.facts["database.ready"] == "yes"


def test_while_it_moves_one_looks_again_soon_and_once_it_stands_seldom() -> None:
    rounds = Rounds(World(looks=3))
    pauses = [rounds.step() for _ in range(4)]
    assert pauses[0] == min(MOVING, 0.1)
    assert MOVING in pauses, "nothing was put: no hurry"
    rounds.until(Status.AVAILABLE)
    del rounds.world.standing["flight", "service/scheduler"]
    rounds.clock.advance(SETTINGS.steady_seconds)
    assert rounds.round() < SETTINGS.steady_seconds, "one of its parts is not ready: it is not left alone"


def test_before_its_time_nobody_is_asked_and_nothing_is_written() -> None:
    rounds = Rounds()
    rounds.until(Status.AVAILABLE)
    rounds.clock.advance(SETTINGS.steady_seconds - 1)
    assert rounds.round() == 1
    assert not rounds.asked
    written = rounds.store.written
    rounds.clock.advance(1)
    assert rounds.round() == SETTINGS.steady_seconds
    assert rounds.asked == {part.name for part in PARTS}
    assert rounds.store.written == written, "nothing has changed, so nothing is written"


def test_each_environment_has_a_time_of_its_own() -> None:
    rounds = Rounds(None, "flight", "other")
    rounds.until(Status.AVAILABLE)
    while rounds.store.rows["other"].status is not Status.AVAILABLE:
        rounds.step()
    del rounds.world.standing["other", "service/scheduler"]
    rounds.clock.advance(SETTINGS.steady_seconds)
    assert rounds.round() < SETTINGS.steady_seconds, "the earlier of the two"
    assert {name for name, _ in rounds.world.asked} == {"flight", "other"}
    rounds.clock.advance(MOVING)
    rounds.round()
    assert {name for name, _ in rounds.world.asked} == {"other"}


def test_without_environments_one_sleeps() -> None:
    rounds = Rounds()
    rounds.store.rows.clear()
    assert rounds.round() == SETTINGS.steady_seconds


@pytest.mark.parametrize("status", [Status.CREATE_FAILED, Status.DELETED])
def test_what_has_failed_is_left_as_it_is(status: Status) -> None:
    rounds = Rounds()
    rounds.store.rows["flight"] = replace(rounds.row, status=status)
    assert rounds.round() == SETTINGS.steady_seconds
    assert not rounds.asked


def test_what_stood_a_moment_ago_is_not_asked_again_but_for_what_may_die() -> None:
    world = World()
    rounds = Rounds(world)
    rounds.until(Status.AVAILABLE)
    del world.standing["flight", "service/scheduler"]
    rounds.clock.advance(SETTINGS.steady_seconds)
    rounds.round()
    assert rounds.asked == {part.name for part in PARTS if part.kind is not PartKind.HEALTH}, "all, after so long"
    rounds.clock.advance(MOVING)
    rounds.round()
    assert rounds.asked <= FLEETING, "the others stood a moment ago"
    assert "service/scheduler" in rounds.asked
    assert rounds.row.facts["database.ready"] == "yes", "what they showed is still known"


def test_what_stood_is_known_for_five_seconds_from_when_it_was_asked() -> None:
    world = World(looks=10_000)
    rounds = Rounds(world)
    for part in PARTS:
        if part.name not in FLEETING:
            world.standing["flight", part.name] = 0
    rounds.round()
    first = rounds.clock()
    while rounds.clock() - first + MOVING < KNOWN_SECONDS:
        rounds.clock.advance(MOVING)
        rounds.round()
        assert rounds.asked <= FLEETING
    rounds.clock.advance(MOVING)
    rounds.round()
    assert rounds.asked >= {part.name for part in PARTS} - FLEETING, "and is not renewed by not asking"


def test_another_request_is_attended_at_once_and_knows_nothing() -> None:
    rounds = Rounds()
    rounds.until(Status.AVAILABLE)
    rounds.store.request_delete(rounds.row)
    rounds.round()
    assert {part.name for part in PARTS} - rounds.asked == {
        part.name for part in PARTS if part.kind in {PartKind.SOURCE, PartKind.HEARTBEAT, PartKind.HEALTH}
    }
    assert rounds.row.progress["doing"].startswith("removing ")
    for _ in range(60):
        if "flight" not in rounds.store.rows:
            break
        rounds.step()
    assert not rounds.store.rows
    assert {name for _, name in rounds.world.standing} <= {"source", "heartbeat", "health"}, "only what was never ours"
    assert rounds.world.deeds[-1] == "forget payloads of flight"


def test_what_a_pass_learnt_about_an_older_request_is_not_recorded() -> None:
    rounds = Rounds()
    rounds.until(Status.AVAILABLE)
    rounds.clock.advance(SETTINGS.steady_seconds)
    del rounds.world.standing["flight", "service/scheduler"]
    before = rounds.row

    def somebody(_: PartContext) -> None:
        rounds.world.during = None
        rounds.store.request_delete(before)

    rounds.world.during = somebody
    rounds.round()
    assert (rounds.row.status, rounds.row.generation) == (Status.DELETING, before.generation + 1)


def test_silence_is_asked_ever_more_seldom_and_then_as_ever() -> None:
    rounds = Rounds()
    rounds.world.broken = Unavailable("no answer")
    pauses = [rounds.step() for _ in range(9)]
    assert pauses == [min(MOVING * 2**n, LONGEST_PAUSE) for n in range(1, 10)]
    assert rounds.row.status is Status.CREATING
    rounds.world.broken = None
    assert rounds.step() == min(MOVING, 0.1)
    rounds.world.broken = Unavailable("no answer")
    assert rounds.step() == MOVING * 2, "it begins anew"


def test_a_database_that_takes_nothing_costs_the_pass() -> None:
    rounds = Rounds()
    rounds.store.error = Unavailable("the disk is full")
    assert [rounds.step(), rounds.step()] == [MOVING * 2, MOVING * 4]
    rounds.store.error = None
    assert rounds.until(Status.AVAILABLE) == SETTINGS.steady_seconds


def test_a_bug_of_ours_fails_a_create_and_says_so() -> None:
    rounds = Rounds()
    rounds.world.broken = KeyError("taskArn")
    for number in range(1, MOST_BROKEN + 1):
        assert rounds.row.status is Status.CREATING, number
        rounds.step()
    assert rounds.row.status is Status.CREATE_FAILED
    failed = rounds.row.last_update
    assert (failed.status, failed.code, failed.source) == ("FAILED", "INTERNAL_FAILURE", "CreateEnvironment")
    assert failed.message == "skylift itself failed (KeyError: 'taskArn'). This is a bug: please report it."
    rounds.round()
    assert not rounds.asked, "a failed create is left as it is"


def test_a_bug_of_ours_does_not_fail_what_was_ready_once() -> None:
    rounds = Rounds()
    rounds.until(Status.AVAILABLE)
    rounds.world.broken = KeyError("taskArn")
    rounds.clock.advance(SETTINGS.steady_seconds)
    for _ in range(MOST_BROKEN + 2):
        rounds.step()
    assert rounds.row.status is Status.AVAILABLE


def test_stumbles_are_counted_for_one_request() -> None:
    rounds = Rounds()
    rounds.world.broken = Unavailable("no answer")
    for _ in range(4):
        rounds.step()
    rounds.store.request_delete(rounds.row)
    assert rounds.round() == MOVING * 2


def test_a_delete_that_aws_refuses_is_tried_again_ever_more_seldom() -> None:
    class Clinging(World):
        def remove(self, context: PartContext, part: Part) -> None:
            raise Refused("elbv2 DeleteTargetGroup: in use")

    rounds = Rounds(Clinging())
    rounds.until(Status.AVAILABLE)
    rounds.store.request_delete(rounds.row)
    assert [rounds.step(), rounds.step()] == [MOVING * 2, MOVING * 4]
    assert rounds.row.status is Status.DELETING


def test_who_is_attended_is_told_and_who_waits_for_whom() -> None:
    rounds = Rounds(None, "flight", "other", "third")
    seen: list[tuple[str, str, str]] = []
    together = threading.Barrier(2)

    def ask(context: PartContext) -> None:
        if context.spec.name in {"flight", "other"} and len(seen) < 2:
            together.wait(60)
            seen.append((context.spec.name, rounds.reconciler.doing(context.spec.name), rounds.reconciler.doing("new")))
            together.wait(60)

    assert rounds.reconciler.doing("flight") == "waiting for the control plane's next round"
    del rounds.store.rows["third"]
    rounds.world.during = ask
    rounds.round()
    waiting = "waiting for flight, other"
    looking = "looking at its bucket, role and network"
    assert sorted(seen) == [("flight", looking, waiting), ("other", looking, waiting)]
    assert rounds.reconciler.doing("flight") == "waiting for the control plane's next round"


def test_whether_it_was_looked_at_since_the_start() -> None:
    rounds = Rounds()
    assert not rounds.reconciler.has_looked("flight")
    rounds.round()
    assert rounds.reconciler.has_looked("flight")
    assert not rounds.reconciler.has_looked("other")


def test_a_part_sees_its_environment() -> None:
    rounds = Rounds()
    rounds.store.rows["flight"] = replace(rounds.row, facts={"a": "b"})
    context = rounds.reconciler.context(rounds.row)
    assert (context.spec, context.settings, context.facts) == (rounds.row.spec, SETTINGS, {"a": "b"})
    assert (context.incarnation, context.leaving) == (rounds.row.created_at.isoformat(), False)
    assert rounds.reconciler.context(rounds.row, leaving=True).leaving


def test_the_thread_outlives_whatever_a_round_raises() -> None:
    """The database away, then a bug, then all is well: it goes on, and ends when it is told to."""
    rounds = Rounds()
    stopping = threading.Event()
    rounds.store.away = True
    thread = threading.Thread(target=rounds.reconciler.run, args=(stopping,), daemon=True)
    thread.start()

    def until(look: Any) -> None:
        deadline = time.monotonic() + 60
        while not look():
            assert time.monotonic() < deadline
            assert thread.is_alive()
            rounds.clock.advance(1)
            rounds.bell.set()
            time.sleep(0.005)

    until(lambda: not rounds.bell.is_set())
    assert rounds.store.prepared == 0
    rounds.store.away = False
    until(lambda: rounds.row.status is Status.AVAILABLE)
    rounds.store.bug = True
    until(lambda: not rounds.bell.is_set())
    rounds.store.bug = False
    rounds.store.request_delete(rounds.row)
    until(lambda: not rounds.store.rows)
    stopping.set()
    rounds.bell.set()
    thread.join(60)
    assert not thread.is_alive()


class Bell(threading.Event):
    """Rings at once, and keeps for how long one would have waited; after so many times all is to end."""

    def __init__(self, stopping: threading.Event, most: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.stopping, self.most = stopping, most

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(round(timeout, 3))
        if len(self.waits) == self.most:
            self.stopping.set()
        return True


@pytest.mark.parametrize("bug", [True, False])
def test_rounds_that_fail_come_ever_more_seldom_and_the_first_that_does_not_ends_that(bug: bool) -> None:
    rounds, stopping = Rounds(), threading.Event()
    bell = Bell(stopping, 10)
    rounds.store.away, rounds.store.bug = not bug, bug
    Reconciler(rounds.store, rounds.world, SETTINGS, rounds.clock, bell).run(stopping)  # type: ignore[arg-type]
    assert bell.waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, LONGEST_PAUSE, LONGEST_PAUSE]
    stopping.clear()
    rounds.store.away = rounds.store.bug = False
    bell = Bell(stopping, 2)
    Reconciler(rounds.store, rounds.world, SETTINGS, rounds.clock, bell).run(stopping)  # type: ignore[arg-type]
    assert bell.waits == [0.1, 0.1], "as the round says"


def decision(status: Status, fault: Failure | None = None) -> StatusDecision:
    return StatusDecision(status, fault, "available")


@pytest.mark.parametrize(
    ("before", "after", "fault", "status"),
    [
        (Status.CREATING, Status.CREATING, None, "PENDING"),
        (Status.CREATING, Status.AVAILABLE, None, "SUCCESS"),
        (Status.CREATING, Status.CREATE_FAILED, Failure("LAYER", "why"), "FAILED"),
        (Status.AVAILABLE, Status.UNAVAILABLE, Failure("WEB", "why"), "PENDING"),
        (Status.UNAVAILABLE, Status.AVAILABLE, None, "PENDING"),
        (Status.DELETING, Status.DELETED, None, "PENDING"),
    ],
)
def test_the_last_update_changes_when_the_request_has_ended(
    before: Status, after: Status, fault: Failure | None, status: str
) -> None:
    last = LastUpdate("PENDING", 1.0, "CreateEnvironment")
    found = last_update(row(status=before, last_update=last), decision(after, fault), 7.0)
    if status == "PENDING":
        assert found == last
    else:
        failed = (fault.code, fault.message) if fault else ("", "")
        assert found == LastUpdate(status, 7.0, "CreateEnvironment", *failed)


def test_what_people_are_told() -> None:
    seen = {part.name: Seen(PartPhase.READY) for part in PARTS}
    seen["service/scheduler"] = Seen(PartPhase.MOVING, note="starting")
    told = progress(PARTS, seen, decision(Status.AVAILABLE))
    assert told["doing"] == "available"
    assert told["condition"] == "scheduler not running"
    shown = next(one for one in told["parts"] if one["name"] == "service/scheduler")
    assert (shown["phase"], shown["note"]) == ("moving", "starting")
    assert [one["name"] for one in told["parts"]] == [part.name for part in PARTS]
    assert progress(PARTS, seen, decision(Status.CREATING))["condition"] == "", "only of what was ready once"


def test_notes_become_events_once_and_stay_in_sight() -> None:
    rounds = Rounds()
    rounds.until(Status.AVAILABLE)
    told = note("scheduler was replaced, and works", 31.0)
    rounds.store.events.clear()
    rounds.world.notes = {"note.scheduler": told}
    for _ in range(3):
        rounds.clock.advance(SETTINGS.steady_seconds)
        rounds.round()
    assert rounds.store.events == [("AVAILABLE", "scheduler was replaced, and works", 31.0)]
    (shown,) = rounds.row.progress["told"]
    assert (shown["text"], shown["seconds"]) == ("scheduler was replaced, and works", 31.0)
    for n in range(5):
        rounds.world.notes = {"note.scheduler": note(f"number {n}")}
        rounds.clock.advance(SETTINGS.steady_seconds)
        rounds.round()
    assert [one["text"] for one in rounds.row.progress["told"]] == ["number 2", "number 3", "number 4"]


def test_how_long_it_was_not_well_is_told() -> None:
    rounds = Rounds()
    rounds.until(Status.AVAILABLE)
    rounds.store.events.clear()
    key = ("flight", "service/scheduler")
    rounds.world.standing[key] = 10_000
    rounds.clock.advance(SETTINGS.steady_seconds)
    rounds.round()
    assert rounds.store.events == [("AVAILABLE", "not well: scheduler not running", None)]
    rounds.clock.advance(SETTINGS.steady_seconds)
    rounds.round()
    rounds.world.standing[key] = 0
    rounds.clock.advance(SETTINGS.steady_seconds)
    rounds.round()
    text = "well again (it was: scheduler not running)"
    assert rounds.store.events[1:] == [("AVAILABLE", text, 2.0 * SETTINGS.steady_seconds)]
