"""Whatever is lost and whenever the scheduler dies, one launch has one live container, and every end is heard
once.

A random walk (hypothesis): calls are answered late, with effect and without an answer, or die with the scheduler;
containers begin, fail to begin, end; lists and looks lag behind. A new scheduler knows only what the database kept: the
external id that was committed with QUEUED, and the task instance's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.executor_tower import ByHand, Tower

from skylift.core.attempt import Exit, Phase, Submission
from skylift.core.clock import ManualClock
from skylift.core.errors import Unavailable
from skylift.executors.fleet.fake import FakeCompute, owner_of
from skylift.executors.fleet.flight import Stage
from skylift.executors.fleet.settle import Event

pytestmark = pytest.mark.unit

WORKLOADS = ("a", "b", "c")


@dataclass
class Row:
    """A task instance in Airflow's database."""

    state: str = "queued"
    taken_by: str = ""
    events: int = 0


class Crashes(RuleBasedStateMachine):
    """Three workloads, one scheduler after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.compute = FakeCompute()
        self.clock = ManualClock()
        self.rows: dict[str, Row] = {}
        self.crashes = 0
        self.begin()

    def begin(self) -> None:
        self.pool = ByHand()
        self.tower = Tower(
            self.compute, clock=self.clock, pool=self.pool, most_attempts=50, explain=0, token=90.0, eventful=True
        )
        for name, row in self.rows.items():
            if row.state in {"queued", "running"}:
                self.tower.order(name, began=row.state == "running", adopted=True)

    # The scheduler.

    @precondition(lambda self: len(self.rows) < len(WORKLOADS))
    @rule()
    def queue(self) -> None:
        name = WORKLOADS[len(self.rows)]
        self.rows[name] = Row()
        self.tower.order(name)

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 30.0]))
    def step(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.tower.fleet.step()
        self.take_news()

    @precondition(lambda self: self.pool.calls)
    @rule(choice=st.integers(0, 99), how=st.sampled_from(["well", "well", "lost answer", "no effect"]))
    def answer(self, choice: int, how: str) -> None:
        call = self.pool.calls.pop(choice % len(self.pool.calls))
        timed_out = Unavailable("read time-out")
        self.compute.lost_answer = how == "lost answer"
        if how != "well":
            self.compute.refusals = {verb: [timed_out] for verb in ("observe", "find", "stop")}
            self.compute.refusals["submit"] = [Submission(later="read time-out")]
        call()
        self.compute.refusals, self.compute.lost_answer = {}, False

    @precondition(lambda self: self.crashes < 20)
    @rule(reached=st.lists(st.booleans(), max_size=5))
    def crash(self, reached: list[bool]) -> None:
        """Killed: of the calls on their way some had reached AWS, some not; news that nobody took are lost."""
        for call, did in zip(self.pool.calls, reached, strict=False):
            if did:
                call()
        self.crashes += 1
        self.begin()

    # The containers.

    @precondition(lambda self: self.compute.alive())
    @rule(choice=st.integers(0, 99), how=st.sampled_from(["begins", "begins", "fails", "ends", "dies"]))
    def live(self, choice: int, how: str) -> None:
        alive = self.compute.alive()
        self.lead(alive[choice % len(alive)], how)

    def lead(self, ref: str, how: str) -> None:
        row = self.rows[owner_of(ref)]
        waits = self.compute.seen(ref).phase is Phase.WAITING
        if waits and how == "fails":
            self.compute.fail_to_start(ref)
        elif waits and how == "begins":
            if row.state == "queued":
                row.state, row.taken_by = "running", ref
                self.compute.run(ref)
            else:
                self.compute.exit(ref, Exit.NOT_OURS)
        elif not waits and how in {"ends", "dies"}:
            # One that ends in order has told Airflow; for one that died the executor has to.
            row.state = "done" if how == "ends" else row.state
            self.compute.exit(ref, Exit.DONE if how == "ends" else 137)

    @rule(choice=st.integers(0, 99))
    def lag(self, choice: int) -> None:
        """The service is slow to know a container, or knows all of them again."""
        alive = self.compute.alive()
        self.compute.hidden = {alive[choice % len(alive)]} if alive and choice % 2 else set()

    @rule(well=st.booleans())
    def hear(self, well: bool) -> None:
        self.tower.fleet.hear(well)

    @precondition(lambda self: self.compute.history)
    @rule(choices=st.lists(st.integers(0, 999), max_size=4))
    def tell(self, choices: list[int]) -> None:
        """Events: some, in any order, twice."""
        history = self.compute.history
        self.tower.fleet.sighted([history[choice % len(history)] for choice in choices])

    @precondition(lambda self: self.rows)
    @rule(choice=st.integers(0, 99))
    def revoke(self, choice: int) -> None:
        """Queued for too long: Airflow takes it back, and would queue it again under another id."""
        name = [*self.rows][choice % len(self.rows)]
        if self.rows[name].state == "queued":
            self.rows[name].state = "done"
            self.tower.fleet.revoke(name, "stuck in queued")

    # What must hold.

    @invariant()
    def one_live_container(self) -> None:
        alive = [owner_of(ref) for ref in self.compute.alive()]
        assert len(alive) == len({*alive}), f"two at once: {self.compute.alive()}"

    def take_news(self) -> None:
        for news in self.tower.fleet.drain():
            if news.stage is Stage.ENDED:
                row = self.rows[news.order.external_id]
                row.events += news.event is Event.FAILED
                row.state = "done" if news.event is Event.FAILED else row.state

    def teardown(self) -> None:
        """All is well again: then everything ends, and nothing is left over."""
        self.compute.hidden = set()
        for _ in range(400):
            self.clock.advance(5.0)
            self.tower.fleet.step()
            while self.pool.calls:
                self.pool.calls.pop(0)()
            self.take_news()
            self.one_live_container()
            for ref in self.compute.alive():
                self.lead(ref, "begins")
                self.lead(ref, "ends")
            if not self.tower.flights() and not self.compute.alive():
                break
        assert not self.tower.flights(), "a slot outlives its container"
        assert not self.compute.alive(), "an orphan"
        for name, row in self.rows.items():
            gone = row.state == "running" and not row.events
            assert row.state == "done" or gone, f"{name} is lost: {row}"
            assert row.events <= 1 + self.crashes


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
