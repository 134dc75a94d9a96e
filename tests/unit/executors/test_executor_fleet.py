"""The fleet on the fake compute with a fixed clock: launches, polls, ends, repeats, throttles, revocations."""

from __future__ import annotations

import pytest
from tests.unit.executor_tower import Tower, ended

from skylift.core.attempt import Exit, Phase, Submission
from skylift.core.errors import Refused, Unavailable
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.flight import Stage
from skylift.executors.fleet.settle import Event, WorkloadKind

pytestmark = pytest.mark.unit


def test_an_order_is_launched_once_and_its_end_is_heard_within_a_second() -> None:
    tower = Tower()
    tower.order()
    tower.fly(5)
    assert tower.compute.submitted == ["x.1"]
    tower.compute.exit("fake:x.1", Exit.DONE)
    assert ended(tower.fly(1)) == [("x", Event.NONE)]
    assert tower.fly(100) == []


@pytest.mark.parametrize(
    ("code", "event"), [(137, Event.FAILED), (1, Event.FAILED), (70, Event.SUCCESS), (71, Event.NONE)]
)
def test_what_began_is_never_launched_again(code: int, event: Event) -> None:
    tower = Tower()
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(1)
    tower.compute.exit("fake:x.1", code, "why it ended")
    news = tower.fly(100)
    assert ended(news) == [("x", event)]
    assert news[-1].reason == "why it ended"
    assert tower.compute.submitted == ["x.1"]


def test_what_never_began_is_repeated_with_back_off_and_then_given_up() -> None:
    tower = Tower(most_attempts=3)
    tower.order()
    tower.fly(0.5)
    for number in (1, 2, 3):
        assert tower.compute.submitted == [f"x.{one}" for one in range(1, number + 1)]
        tower.compute.fail_to_start(f"fake:x.{number}", "CannotPullContainerError")
        before = tower.clock()
        while len(tower.compute.submitted) == number and tower.clock() < before + 30 and not ended(tower.news):
            tower.fly(0.5)
        assert tower.clock() - before >= 1, "no back-off"
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert [one.stage for one in tower.news] == [Stage.REPEATED, Stage.REPEATED, Stage.ENDED]
    assert "CannotPullContainerError" in tower.news[-1].reason
    assert tower.compute.submitted == ["x.1", "x.2", "x.3"]


def test_missing_within_the_grace_time_is_not_a_failure() -> None:
    tower = Tower(grace=300)
    tower.order()
    tower.compute.hidden = {"fake:x.1"}
    tower.fly(290)
    assert tower.compute.submitted == ["x.1"]
    tower.compute.hidden = set()
    tower.compute.run("fake:x.1")
    tower.fly(20)
    tower.compute.hidden = {"fake:x.1"}
    tower.fly(290)
    assert ended(tower.news) == []
    assert ended(tower.fly(60)) == [("x", Event.NONE)], "it began and ECS forgot it: Airflow's heartbeat decides"
    assert tower.compute.submitted == ["x.1"]


def test_one_that_stays_missing_and_never_began_is_stopped_and_repeated() -> None:
    tower = Tower(grace=300)
    tower.order()
    tower.compute.hidden = {"fake:x.1"}
    tower.fly(330)
    assert tower.compute.stops == ["fake:x.1"]
    assert tower.compute.submitted == ["x.1", "x.2"]


def test_a_stop_without_exit_code_is_an_end() -> None:
    tower = Tower()
    tower.order()
    tower.fly(1)
    tower.compute.vanish("fake:x.1")
    assert ended(tower.fly(2)) == [("x", Event.FAILED)]


def test_ten_minutes_of_throttling_slow_down_and_fail_nothing() -> None:
    tower = Tower(launches=20)
    throttle = Submission(later="Rate exceeded", throttled=True)
    tower.compute.refusals["submit"] = [throttle] * 200
    for number in range(50):
        tower.order(f"x{number}")
    tower.fly(600)
    assert ended(tower.news) == []
    tower.compute.refusals["submit"] = []
    tower.fly(120)
    assert len(tower.compute.alive()) == 50
    assert len({*tower.compute.submitted}) == 50, "the same tokens all the way"


def test_a_throttled_look_fails_nothing_and_stops_no_launch() -> None:
    tower = Tower()
    tower.order("x")
    tower.fly(1)
    tower.compute.refusals["observe"] = [Unavailable("Rate exceeded")] * 20
    tower.compute.exit("fake:x.1", Exit.DONE)
    tower.order("y")
    tower.fly(5)
    assert "y.1" in tower.compute.submitted
    tower.compute.refusals["observe"] = []
    assert ("x", Event.NONE) in ended(tower.fly(70))


def test_one_failed_page_does_not_lose_the_others() -> None:
    tower = Tower(FakeCompute(most_per_observe=10), launches=1000, looks=1000)
    for number in range(30):
        tower.order(f"x{number}")
    tower.fly(0.5)
    for number in range(30):
        tower.compute.exit(f"fake:x{number}.1", Exit.DONE)
    tower.compute.refusals["observe"] = [Unavailable("no")]
    tower.fly(10)
    assert len(ended(tower.news)) == 30


def test_a_time_out_after_the_launch_gives_one_container() -> None:
    tower = Tower()
    tower.compute.lost_answer = True
    tower.compute.refusals["submit"] = [Submission(later="read time-out")]
    tower.order()
    tower.fly(5)
    assert tower.compute.submitted == ["x.1", "x.1"]
    assert tower.compute.alive() == ["fake:x.1"]


@pytest.mark.parametrize("crash_before", ["submit", "answer", "second attempt"])
def test_a_crash_of_the_scheduler_leaves_one_container_and_loses_none(crash_before: str) -> None:
    compute = FakeCompute()
    first = Tower(compute)
    first.order()
    if crash_before == "answer":
        compute.lost_answer = True
        compute.refusals["submit"] = [Submission(later="the scheduler was killed here")]
    if crash_before != "submit":
        first.fly(0)
    if crash_before == "second attempt":
        compute.fail_to_start("fake:x.1")
        first.fly(10)
        assert compute.alive() == ["fake:x.2"]
    second = Tower(compute)
    second.order()
    second.fly(30)
    (ref,) = compute.alive()
    compute.run(ref)
    second.fly(2)
    compute.exit(ref, Exit.DONE)
    assert ended(second.fly(2)) == [("x", Event.NONE)]


def test_a_running_one_is_found_again_and_none_is_started() -> None:
    compute = FakeCompute()
    first = Tower(compute)
    first.order()
    first.fly(0)
    compute.run("fake:x.1")
    second = Tower(compute)
    compute.refusals["find"] = [Unavailable("Rate exceeded"), Unavailable("Rate exceeded")]
    second.order(began=True)
    second.fly(20)
    assert compute.submitted == ["x.1"]
    compute.exit("fake:x.1", 137, "OutOfMemory")
    assert ended(second.fly(60)) == [("x", Event.FAILED)]


def test_a_running_one_that_nobody_knows_is_left_to_airflow() -> None:
    tower = Tower()
    tower.order(began=True)
    assert ended(tower.fly(20)) == [("x", Event.NONE)]
    assert tower.compute.submitted == []
    assert len(tower.compute.finds) == 3


def test_a_revoked_one_is_stopped_and_not_heard_of_again() -> None:
    tower = Tower()
    tower.order("x", key="k")
    tower.fly(1)
    tower.compute.refusals["stop"] = [Unavailable("Rate exceeded")]
    tower.fleet.revoke("k", "stuck in queued")
    assert tower.fly(30) == []
    assert tower.compute.alive() == []
    assert tower.compute.stops == ["fake:x.1", "fake:x.1"]


def test_one_revoked_before_its_launch_is_never_launched() -> None:
    tower = Tower()
    tower.order("x", key="k")
    tower.fleet.revoke("k", "cancelled")
    tower.fly(10)
    assert tower.compute.submitted == []


def test_a_refused_launch_fails_at_once_with_the_reason() -> None:
    tower = Tower()
    tower.compute.refusals["submit"] = [Submission(refused="TaskDefinition not found")]
    tower.order()
    news = tower.fly(0)
    assert ended(news) == [("x", Event.FAILED)]
    assert news[-1].reason == "TaskDefinition not found"


@pytest.mark.parametrize("error", [Refused("no"), Unavailable("no"), KeyError("taskArn"), RuntimeError("bug")])
@pytest.mark.parametrize("verb", ["submit", "observe", "stop", "find"])
def test_no_exception_of_a_compute_ends_the_fleet(error: Exception, verb: str) -> None:
    tower = Tower()
    tower.compute.refusals[verb] = [error]
    tower.order("x")
    tower.order("found", began=True)
    tower.fly(1)
    tower.fleet.revoke("found", "test")
    tower.fly(5)
    tower.order("y")
    tower.fly(60)
    assert "fake:y.1" in tower.compute.alive()


def test_after_close_nothing_is_launched() -> None:
    tower = Tower()
    tower.order()
    tower.fleet.close()
    tower.fly(100)
    assert tower.compute.submitted == []


def test_old_attempts_are_looked_at_less_often_and_in_full_pages() -> None:
    tower = Tower(launches=1000, looks=100)
    for number in range(1000):
        tower.order(f"x{number}")
    tower.fly(1)
    for ref in tower.compute.alive():
        tower.compute.run(ref)
    tower.fly(120)
    before = len(tower.compute.looks)
    tower.fly(60)
    assert len(tower.compute.looks) - before <= 66, "more than about one call a second for 1,000 running ones"
    assert all(len(page) == 100 for page in tower.compute.looks[before:])


def test_callbacks_are_heard_of_when_they_run_and_end() -> None:
    tower = Tower()
    tower.order(kind=WorkloadKind.CALLBACK)
    tower.fly(1)
    tower.compute.run("fake:x.1")
    assert [one.stage for one in tower.fly(1)] == [Stage.RUNNING]
    tower.compute.exit("fake:x.1", 1, "it raised")
    assert ended(tower.fly(1)) == [("x", Event.FAILED)]
    assert tower.compute.submitted == ["x.1"]
    assert Phase.STOPPED in {one.phase for one in tower.compute.observe(["fake:x.1"])}
