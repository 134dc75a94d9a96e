"""A service that does not know something yet, throttles, or has no capacity: work waits and nothing fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from tests.unit.executor_tower import Tower, ended

from skylift.core.attempt import Attempt, Exit, Submission
from skylift.core.errors import Unavailable
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.flight import Stage
from skylift.executors.fleet.rate_limiter import RateLimiter
from skylift.executors.fleet.settle import Event

pytestmark = pytest.mark.unit

VERBS = ("submit", "observe", "stop", "find", "renew", "explain")


class Throttles(FakeCompute):
    """Refuses all calls of some verbs for a time, and never takes more than so many launches a second."""

    def __init__(self, tower_clock: list[float], verbs: Sequence[str], until: float, rate: float = 1e9) -> None:
        super().__init__()
        self.clock = tower_clock
        self.verbs = verbs
        self.until = until
        self.tokens = rate
        self.rate = rate
        self.then = 0.0
        self.taken: list[float] = []

    def now(self) -> float:
        raise AssertionError("set by the test")

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        now = self.now()
        self.tokens = min(self.rate, self.tokens + (now - self.then) * self.rate)
        self.then = now
        if ("submit" in self.verbs and now < self.until) or self.tokens < 1:
            return [Submission(later="ThrottlingException: Rate exceeded", throttled=True) for _ in attempts]
        self.tokens -= 1
        self.taken.append(now)
        return super().submit(attempts)

    def _refuse(self, verb: str) -> None:
        if verb in self.verbs and self.now() < self.until:
            error = Unavailable("ThrottlingException: Rate exceeded")
            error.throttled = True
            raise error
        super()._refuse(verb)


def throttled(verbs: Sequence[str], seconds: float, rate: float = 1e9, **timing: float) -> Tower:
    compute = Throttles([], verbs, 0.0, rate)
    tower = Tower(compute, **timing)
    compute.now = tower.clock  # type: ignore[method-assign]
    compute.until = tower.clock() + seconds
    compute.then = tower.clock()
    return tower


@pytest.mark.parametrize("seconds", [1, 10, 60, 240])
def test_missing_after_the_launch_is_waited_out(seconds: float) -> None:
    tower = Tower(grace=300)
    tower.order()
    tower.compute.hidden = {"fake:x.1"}
    tower.fly(seconds)
    tower.compute.hidden = set()
    tower.compute.run("fake:x.1")
    tower.fly(30)
    tower.compute.exit("fake:x.1", Exit.DONE)
    tower.fly(60)
    assert ended(tower.news) == [("x", Event.NONE)]
    assert tower.compute.submitted == ["x.1"]
    assert tower.compute.stops == []


def test_missing_is_asked_for_less_and_less_often() -> None:
    tower = Tower(grace=300)
    tower.order()
    tower.compute.hidden = {"fake:x.1"}
    tower.fly(290)
    assert len(tower.compute.looks) < 70


@pytest.mark.parametrize("verb", VERBS)
def test_ten_minutes_of_throttling_on_one_verb_fail_nothing(verb: str, caplog: pytest.LogCaptureFixture) -> None:
    tower = throttled([verb], 600, token=300.0)
    tower.compute.by_reference = True
    for number in range(40):
        tower.order(f"x{number}")
    tower.order("found", began=True)
    tower.order("revoked", key="revoked")
    with caplog.at_level(logging.WARNING):
        tower.fly(5)
        tower.fleet.revoke("revoked", "test")
        for ref in tower.compute.alive()[:10]:
            tower.compute.run(ref)
        tower.fly(5)
        for ref in tower.compute.alive()[:5]:
            tower.compute.exit(ref, 137, "died")
        tower.fly(590)
    during = [event for _, event in ended(tower.news)]
    assert during.count(Event.FAILED) in {0, 5}, "those that died themselves, no other"
    tower.fly(120)
    for ref in tower.compute.alive():
        tower.compute.exit(ref, Exit.DONE)
    tower.fly(120)
    events = [event for _, event in ended(tower.news)]
    assert len(events) == 41
    assert events.count(Event.FAILED) == (0 if verb == "submit" else 5)
    assert tower.flights() == 0
    assert len(tower.compute.submitted) == len({*tower.compute.submitted}) == (40 if verb == "submit" else 41)
    assert tower.tally.sum("calls", verb=verb, outcome="throttled") > 0
    lines = [line for line in caplog.messages if "Rate exceeded" in line]
    assert 1 <= len(lines) <= 45, "a warning at most every 30 seconds and line of work"
    told = [record for record in caplog.records if "Rate exceeded" in record.getMessage()]
    assert [record for record in told if record.exc_info or record.levelno > logging.WARNING] == [], "no traceback"


def test_one_throttled_verb_does_not_stop_the_others() -> None:
    tower = throttled(["observe", "find", "stop"], 600)
    tower.order("first")
    tower.fly(100)
    for number in range(20):
        tower.order(f"x{number}")
    tower.fly(5)
    assert len(tower.compute.alive()) == 21


def test_after_the_throttling_launches_go_at_nine_tenths_of_what_is_allowed() -> None:
    tower = throttled(["submit"], 600, launches=20)
    for number in range(3000):
        tower.order(f"x{number}")
    tower.fly(600)
    assert tower.tally.sum("calls", verb="submit", outcome="throttled") < 600 * 2, "who is throttled asks less"
    began = tower.clock()
    tower.fly(100)
    assert len(tower.compute.taken) >= 0.9 * 20 * 100 * 0.95, "the climb costs a little"
    assert len([one for one in tower.compute.taken if one >= began + 15]) >= 0.98 * 20 * 85


@pytest.mark.parametrize("allowed", [4.0, 8.0, 15.0])
def test_where_aws_allows_less_than_we_ask_nine_tenths_of_it_are_used(allowed: float) -> None:
    """Others use the account as well: the bucket is smaller than the rate that is set."""
    tower = throttled([], 0, rate=allowed, launches=20)
    for number in range(4000):
        tower.order(f"x{number}")
    tower.fly(60)
    before = len(tower.compute.taken)
    tower.fly(200)
    assert len(tower.compute.taken) - before >= 0.9 * allowed * 200


def test_a_throttle_slows_down_and_the_pace_comes_back_by_itself() -> None:
    pace = RateLimiter(20, 20)
    now = 0.0
    for _ in range(200):
        pace.take(now)
        pace.slow_down(now)
        now += 1
    assert pace.rate < 3
    pace.wait(now + 15)
    assert pace.rate == 20


def test_a_lack_of_capacity_is_waited_out() -> None:
    tower = Tower(capacity=1800)
    tower.order()
    tower.compute.refusals["submit"] = [Submission(later="RESOURCE:MEMORY", shortage=True)] * 10_000
    assert ended(tower.fly(900)) == []
    tower.compute.refusals["submit"] = []
    tower.fly(90)
    assert tower.compute.alive() == ["fake:x.1"]
    assert {*tower.compute.submitted} == {"x.1"}, "the same token: a container made unseen would be found by it"


def test_the_compute_learns_how_often_so_that_it_can_fall_back() -> None:
    met: list[int] = []

    class Short(FakeCompute):
        def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
            met.append(attempts[0].shortages)
            if attempts[0].shortages < 2:
                return [Submission(later="no FARGATE_SPOT", shortage=True)]
            return super().submit(attempts)

    tower = Tower(Short())
    tower.order()
    tower.fly(10)
    assert met == [0, 1, 2]
    assert tower.compute.alive() == ["fake:x.1"]


def test_after_the_deadline_it_fails_with_the_reason() -> None:
    tower = Tower(capacity=600)
    tower.order()
    tower.compute.refusals["submit"] = [Submission(later="RESOURCE:GPU", shortage=True)] * 10_000
    tower.fly(570)
    assert ended(tower.news) == []
    tower.fly(130)
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert "RESOURCE:GPU" in tower.news[-1].reason
    assert "capacity_seconds" in tower.news[-1].reason
    assert tower.tally.sum("given_up", why="capacity") == 1


def test_no_room_for_one_lets_others_pass() -> None:
    class NoGpu(FakeCompute):
        def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
            if attempts[0].queue == "gpu":
                return [Submission(later="RESOURCE:GPU", shortage=True)]
            return super().submit(attempts)

    tower = Tower(NoGpu())
    for number in range(50):
        tower.order(f"gpu{number}", queue="gpu")
    for number in range(50):
        tower.order(f"cpu{number}")
    tower.fly(30)
    assert len(tower.compute.alive()) == 50


def test_a_container_that_found_no_room_is_repeated_and_not_counted_as_a_failure() -> None:
    """A capacity provider takes the ECS task, keeps it PROVISIONING, and stops it for want of capacity
    (prefect#22410)."""
    tower = Tower(most_attempts=2, capacity=3600)
    tower.order()
    for number in range(1, 8):
        tower.fly(60)
        assert tower.compute.alive() == [f"fake:x.{number}"]
        tower.compute.fail_to_start(f"fake:x.{number}", "Capacity is unavailable at this time", shortage=True)
    tower.fly(60)
    tower.compute.run("fake:x.8")
    tower.fly(10)
    assert ended(tower.news) == []
    assert {one.stage for one in tower.news} == {Stage.REPEATED}
    assert tower.tally.sum("repeats", why="shortage") == 7


def test_no_room_for_containers_that_were_placed_ends_at_the_deadline_too() -> None:
    tower = Tower(capacity=600)
    tower.order()
    for number in range(1, 30):
        tower.fly(60)
        if not tower.flights():
            break
        tower.compute.fail_to_start(f"fake:x.{number}", "Capacity is unavailable at this time", shortage=True)
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert "capacity_seconds" in tower.news[-1].reason
