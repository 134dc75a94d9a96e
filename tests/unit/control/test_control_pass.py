"""Passes over the fake: a create, its failures, a crash between any two steps, a delete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest
from tests.control_scenes import spec

from skylift.control.blueprint import Part, blueprint
from skylift.control.one_pass import Outcome, look, one_pass
from skylift.control.part_context import PartContext
from skylift.control.parts.fake import FakeParts
from skylift.control.plan import Failure, PartPhase, Seen
from skylift.control.settings import ControlSettings
from skylift.core.clock import ManualClock
from skylift.core.environment import Status
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.unit
WANTED = spec(RequirementsS3Path="requirements.txt")
PARTS = blueprint(WANTED)
START = PartContext(WANTED, ControlSettings(), "once")


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as made:
        yield made


class Flight:
    """Passes in a row, with what a row would keep between them."""

    def __init__(self, world: FakeParts, pool: Executor) -> None:
        self.world, self.pool, self.clock = world, pool, ManualClock(0)
        self.context, self.status = START, Status.CREATING

    def step(self) -> Outcome:
        outcome = one_pass(self.context, PARTS, self.status, self.clock(), self.world, self.pool)
        self.context, self.status = replace(self.context, facts=outcome.facts), outcome.verdict.status
        self.clock.advance(1)
        return outcome

    def until_still(self) -> Outcome:
        first = self.status
        for _ in range(60):
            outcome = self.step()
            if self.status is not first:
                return outcome
        raise AssertionError(f"still {self.status} after 60 passes: {outcome.verdict}")


def test_a_create_becomes_available(pool: Executor) -> None:
    flight = Flight(FakeParts(), pool)
    outcome = flight.until_still()
    assert flight.status is Status.AVAILABLE
    assert sorted(flight.world.deeds) == sorted(f"put {part.name}" for part in PARTS)
    assert outcome.facts["database.ready"] == "yes"
    assert outcome.facts["layer.put"] == "yes"


def test_nothing_is_done_twice_or_too_early(pool: Executor) -> None:
    world = FakeParts(looks=3)
    Flight(world, pool).until_still()
    deeds = world.deeds
    assert len(set(deeds)) == len(deeds)
    for part in PARTS:
        for need in part.needs:
            assert deeds.index(f"put {need}") < deeds.index(f"put {part.name}")


def test_a_fault_ends_the_create_and_stops_further_deeds(pool: Executor) -> None:
    world = FakeParts()
    world.faults["layer"] = Failure("REQUIREMENTS_FAILED", "no such package")
    outcome = Flight(world, pool).until_still()
    assert outcome.verdict.status is Status.CREATE_FAILED
    assert outcome.verdict.fault == world.faults["layer"]
    assert not outcome.steps
    assert "put service/scheduler" not in world.deeds


def test_a_refusal_ends_the_create(pool: Executor) -> None:
    world = FakeParts()
    world.errors["balancer"] = Refused("elbv2 CreateLoadBalancer: no such subnet")
    outcome = Flight(world, pool).until_still()
    assert outcome.verdict.fault == Failure("INCORRECT_CONFIGURATION", "elbv2 CreateLoadBalancer: no such subnet")


def test_what_is_unavailable_costs_a_pass(pool: Executor) -> None:
    world = FakeParts()
    world.errors["database"] = Unavailable("PostgreSQL does not answer")
    flight = Flight(world, pool)
    assert flight.step().unavailable == "PostgreSQL does not answer"
    assert flight.status is Status.CREATING
    flight.until_still()
    assert flight.status is Status.AVAILABLE


def test_a_crash_after_any_deed_costs_one_pass(pool: Executor) -> None:
    """The facts of a pass are lost (the process died before it recorded them): the next passes still come to the
    end."""
    for lost in range(8):
        world = FakeParts()
        flight = Flight(world, pool)
        for number in range(60):
            before = flight.context
            flight.step()
            if number == lost:
                flight.context = before
                flight.status = Status.CREATING
            if flight.status is Status.AVAILABLE:
                break
        assert flight.status is Status.AVAILABLE, lost


def test_silence_while_looking_is_not_absence(pool: Executor) -> None:
    class Mute(FakeParts):
        def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
            if parts[0].name == "database":
                raise Unavailable("no answer")
            return super().observe(context, parts)

    world = Mute()
    outcome = one_pass(START, PARTS, Status.CREATING, 0, world, pool)
    assert "put database" not in world.deeds
    assert outcome.unavailable == "no answer"
    assert outcome.seen["database"].phase is PartPhase.MOVING
    assert outcome.seen["migration"].phase is PartPhase.BLOCKED


def test_what_is_known_is_not_asked_about(pool: Executor) -> None:
    class Counting(FakeParts):
        asked: ClassVar[list[str]] = []

        def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
            self.asked += [part.name for part in parts]
            return super().observe(context, parts)

    world = Counting()
    flight = Flight(world, pool)
    seen = flight.until_still().seen
    world.asked.clear()
    known = {name: one for name, one in seen.items() if not name.startswith(("service", "health"))}
    outcome = one_pass(START, PARTS, Status.CREATING, 0, world, pool, known)
    assert [name for name in world.asked if name in known] == []
    assert outcome.verdict.status is Status.AVAILABLE
    assert outcome.facts["database.ready"] == "yes"


def test_a_delete_removes_in_reverse_and_leaves_nothing(pool: Executor) -> None:
    world = FakeParts()
    flight = Flight(world, pool)
    flight.until_still()
    world.deeds.clear()
    flight.status = Status.DELETING
    flight.until_still()
    assert flight.status is Status.DELETED
    assert {name for _, name in world.standing} == {"source", "heartbeat", "health"}, "nothing to remove"
    order = {deed.removeprefix("remove "): place for place, deed in enumerate(world.deeds)}
    for part in PARTS:
        for need in part.needs:
            if part.name in order and need in order:
                assert order[need] > order[part.name]


def test_a_dry_run_changes_nothing() -> None:
    world = FakeParts()
    look(START, PARTS, world)
    assert world.deeds == []
