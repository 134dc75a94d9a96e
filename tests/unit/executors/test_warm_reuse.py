"""Warm reuse: what it saves with a cold start of a minute, and that it neither loses a workload nor runs one twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skylift.core.attempt import Attempt, Exit, Observation, Phase, Submission
from skylift.core.clock import ManualClock
from skylift.core.errors import Unavailable
from skylift.executors.events.warm import WarmSource
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.in_container.mailboxes import FakeMailboxes, Mailbox
from skylift.executors.in_container.warm import WarmCompute

pytestmark = pytest.mark.unit
COLD = 60.0
WORK = 5.0
AT_ONCE = 50
STAY = 120.0


def attempt(
    name: str, executor_config: dict[str, object] | None = None, *, adopted: bool = False, dag: str = "d"
) -> Attempt:
    labels = {"dag_id": dag, "run_id": "r"}
    return Attempt(name, 1, lambda: json.dumps({"name": name}), executor_config or {}, labels, adopted=adopted)


@dataclass
class Box:
    """A simulated container that stays, as ``stay.py`` does."""

    name: str
    born: float
    number: int = 1
    until: float = 0.0
    idle_until: float = 0.0
    state: str = "cold"
    ended: float | None = None


class World:
    """Containers with a cold start, on a manual clock; ``stay`` 0 for containers that end with their workload."""

    def __init__(self, clock: ManualClock, mailboxes: FakeMailboxes, fake: FakeCompute, stay: float) -> None:
        self.clock, self.mailboxes, self.fake, self.stay = clock, mailboxes, fake, stay
        self.boxes: dict[str, Box] = {}
        self.began: dict[str, list[float]] = {}

    def step(self) -> None:
        for ref in self.fake.alive():
            box = self.boxes.setdefault(ref, Box(ref.removeprefix("fake:"), self.clock()))
            self._move(ref, box)

    def _move(self, ref: str, box: Box) -> None:
        now = self.clock()
        if box.state == "cold" and now >= box.born + COLD:
            self.fake.run(ref)
            self._begin(box, self.fake.documents[ref])
        elif box.state == "working" and now >= box.until:
            self.mailboxes.end(Mailbox(box.name, box.number), Exit.DONE)
            box.state, box.idle_until = "idle", now + self.stay
        if box.state == "idle":
            document = self.mailboxes.take(Mailbox(box.name, box.number + 1))
            if document:
                box.number += 1
                self._begin(box, document)
            elif now >= box.idle_until and self.mailboxes.close(Mailbox(box.name, box.number + 1)):
                box.state, box.ended = "over", now
                self.fake.exit(ref, Exit.DONE)

    def _begin(self, box: Box, document: str) -> None:
        box.state, box.until = "working", self.clock() + WORK
        self.began.setdefault(json.loads(document)["name"], []).append(self.clock())

    @property
    def container_seconds(self) -> float:
        return sum((box.ended if box.ended is not None else self.clock()) - box.born for box in self.boxes.values())


@dataclass
class Figures:
    makespan: float
    container_seconds: float
    p95: float
    containers: int
    world: World


def simulated(total: int, stay: float) -> Figures:
    """``total`` workloads, ``AT_ONCE`` at a time; every second the world moves, ends are seen, free slots are
    filled."""
    clock, mailboxes, fake = ManualClock(), FakeMailboxes(), FakeCompute(most_per_observe=10_000)
    world = World(clock, mailboxes, fake, stay)
    compute = WarmCompute(fake, mailboxes, STAY, clock=clock) if stay else fake
    todo = [f"w{number}" for number in range(total)]
    queued: dict[str, float] = {}
    flying: dict[str, str] = {}
    done = 0
    began, makespan = clock(), 0.0
    while done < total or fake.alive():
        while todo and len(flying) < AT_ONCE:
            name = todo.pop(0)
            (answer,) = compute.submit([attempt(name)])
            flying[answer.ref] = name
            queued[name] = clock()
        clock.advance(1)
        world.step()
        for seen in compute.observe(list(flying)) if flying else []:
            if seen.phase is Phase.STOPPED:
                assert seen.exit_code == Exit.DONE
                del flying[seen.ref]
                done += 1
                makespan = clock() - began
    assert {name: len(times) for name, times in world.began.items()} == dict.fromkeys(queued, 1)
    waits = sorted(times[0] - queued[name] for name, times in world.began.items())
    return Figures(makespan, world.container_seconds, waits[int(0.95 * total) - 1], len(world.boxes), world)


def test_a_thousand_short_workloads_with_a_cold_start_of_a_minute() -> None:
    cold, warm = simulated(1000, 0.0), simulated(1000, STAY)
    print(f"cold {cold.makespan:.0f} s, {cold.container_seconds:.0f} container seconds, p95 {cold.p95:.0f} s")
    print(f"warm {warm.makespan:.0f} s, {warm.container_seconds:.0f} container seconds, p95 {warm.p95:.0f} s")
    assert (cold.containers, warm.containers) == (1000, AT_ONCE)
    # Twenty rounds of 65 s each become one of them and nineteen of some 6 s.
    assert warm.makespan < cold.makespan / 5
    assert warm.container_seconds < cold.container_seconds / 4
    # Only the first of each container waits for it: 5 % of a thousand.
    assert cold.p95 >= COLD
    assert warm.p95 < 5


def idle_container(
    executor_config: dict[str, object] | None = None,
) -> tuple[WarmCompute, FakeMailboxes, FakeCompute, str]:
    """A container that has done its first workload."""
    mailboxes, fake = FakeMailboxes(), FakeCompute()
    compute = WarmCompute(fake, mailboxes, STAY, "dag")
    (answer,) = compute.submit([attempt("first", executor_config)])
    fake.run(answer.ref)
    mailboxes.end(Mailbox("first.1", 1), Exit.ENDED_BADLY)
    (seen,) = compute.observe([answer.ref])
    assert (seen.phase, seen.exit_code) == (Phase.STOPPED, Exit.ENDED_BADLY)
    return compute, mailboxes, fake, answer.ref


@pytest.mark.parametrize("other", [attempt("x", {"cpu": "1"}), attempt("x", dag="another")])
def test_only_its_own_kind_is_handed_to_it(other: Attempt) -> None:
    compute, _, fake, ref = idle_container()
    assert compute.submit([other]) == [Submission(ref="fake:x.1")]
    assert len(fake.submitted) == 2
    assert compute.submit([attempt("second")]) == [Submission(ref=f"{ref}#2")]


def test_one_that_closed_just_now_gets_nothing() -> None:
    compute, mailboxes, _, _ = idle_container()
    mailboxes.close(Mailbox("first.1", 2))
    assert compute.submit([attempt("second")]) == [Submission(ref="fake:second.1")]


@pytest.mark.parametrize("taken", [False, True])
def test_one_that_died_repeats_what_it_did_not_take(taken: bool) -> None:
    compute, mailboxes, fake, ref = idle_container()
    (answer,) = compute.submit([attempt("second")])
    if taken:
        assert json.loads(mailboxes.take(Mailbox("first.1", 2))) == {"name": "second"}
    fake.exit(ref, 137, "OutOfMemoryError")
    (seen,) = compute.observe([answer.ref])
    assert (seen.ref, seen.phase, seen.began) == (f"{ref}#2", Phase.STOPPED, taken)
    assert (seen.exit_code, seen.reason, seen.external_id) == (137 if taken else None, "OutOfMemoryError", "")
    assert compute.submit([attempt("third")]) == [Submission(ref="fake:third.1")]


def test_stopping_a_workload_that_is_over_does_not_touch_the_next_one() -> None:
    compute, _, fake, ref = idle_container()
    compute.submit([attempt("second")])
    compute.stop(ref, "late")
    assert fake.stops == []
    compute.stop(f"{ref}#2", "now")
    assert fake.stops == [ref]


def test_events_of_a_container_are_of_the_workload_in_it() -> None:
    compute, mailboxes, _, ref = idle_container()
    assert compute.reread(Observation(ref, Phase.RUNNING, began=True, version=4)) is None
    compute.submit([attempt("second")])
    seen = compute.reread(Observation(ref, Phase.RUNNING, began=True, version=5))
    assert seen is not None
    assert seen.ref == f"{ref}#2"
    mailboxes.take(Mailbox("first.1", 2))
    mailboxes.end(Mailbox("first.1", 2), Exit.DONE)
    (over,) = WarmSource(compute).receive()
    assert (over.ref, over.exit_code) == (f"{ref}#2", Exit.DONE)


@pytest.mark.parametrize("step", ["promised", "offered", "taken"])
def test_a_new_scheduler_finds_what_was_handed_over(step: str) -> None:
    _, mailboxes, fake, ref = idle_container()
    mailbox = Mailbox("first.1", 2)
    mailboxes.promise("second", mailbox, f"{ref}#2")
    if step != "promised":
        mailboxes.offer(mailbox, attempt("second").document())
    if step == "taken":
        mailboxes.take(mailbox)
    successor = WarmCompute(fake, mailboxes, STAY)
    assert successor.submit([attempt("second", adopted=True)]) == [Submission(ref=f"{ref}#2")]
    assert successor.find(attempt("second")) == [f"{ref}#2"]
    assert mailboxes.take(mailbox) == ("" if step == "taken" else attempt("second").document())
    assert len(fake.submitted) == 1


class Flaky(FakeMailboxes):
    """Loses answers as told: before the work, or after it."""

    def __init__(self, losses: Sequence[str]) -> None:
        super().__init__()
        self.losses = list(losses)

    def offer(self, mailbox: Mailbox, document: str) -> bool:
        loss = self.losses.pop(0) if self.losses else ""
        if loss == "before":
            raise Unavailable("cut")
        result = super().offer(mailbox, document)
        if loss == "after":
            raise Unavailable("cut")
        return result


@settings(max_examples=50, deadline=None)
@given(
    losses=st.lists(st.sampled_from(["", "before", "after"]), max_size=4), taking=st.lists(st.booleans(), max_size=5)
)
def test_a_lost_answer_never_hands_a_workload_over_twice(losses: list[str], taking: list[bool]) -> None:
    mailboxes, fake = Flaky(losses), FakeCompute()
    compute = WarmCompute(fake, mailboxes, STAY)
    refs = [answer.ref for answer in compute.submit([attempt("a"), attempt("b")])]
    for ref, name in zip(refs, ("a", "b"), strict=True):
        fake.run(ref)
        mailboxes.end(Mailbox(f"{name}.1", 1), Exit.DONE)
    compute.observe(refs)
    taken: list[str] = []
    answer = Submission()
    for turn in range(6):
        (answer,) = compute.submit([attempt("next")])
        if turn < len(taking) and taking[turn]:
            taken += filter(None, (mailboxes.take(Mailbox(f"{name}.1", 2)) for name in ("a", "b")))
        if answer.ref:
            break
    taken += filter(None, (mailboxes.take(Mailbox(f"{name}.1", 2)) for name in ("a", "b")))
    assert answer.ref.endswith("#2")
    assert len(taken) == 1
