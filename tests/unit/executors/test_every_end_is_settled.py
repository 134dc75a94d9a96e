"""What began is never launched again; every end is settled and frees its slot; unwanted work is stopped."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.executor_tower import ByHand, Tower, ended

from skylift.core.attempt import Exit, Submission
from skylift.core.errors import Refused, Unavailable
from skylift.executors.fleet.flight import AirflowState, Order, Stage
from skylift.executors.fleet.settle import Event, WorkloadKind

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("why", "kind", "began", "code", "launches", "event"),
    [
        ("out of memory", WorkloadKind.TASK, True, 137, 1, Event.FAILED),
        ("exit 1", WorkloadKind.TASK, True, 1, 1, Event.FAILED),
        ("user cancel of what runs", WorkloadKind.TASK, True, Exit.ENDED_BADLY, 1, Event.SUCCESS),
        ("user cancel of what waits", WorkloadKind.TASK, True, Exit.NOT_OURS, 1, Event.NONE),
        ("failing callback", WorkloadKind.CALLBACK, True, Exit.ENDED_BADLY, 1, Event.FAILED),
        ("callback killed", WorkloadKind.CALLBACK, True, 137, 1, Event.FAILED),
        ("connection test that failed", WorkloadKind.CONNECTION_TEST, True, Exit.DONE, 1, Event.NONE),
        ("Spot after the start", WorkloadKind.TASK, True, None, 1, Event.FAILED),
        ("Spot before the start", WorkloadKind.TASK, False, None, 2, None),
        ("Airflow's API away", WorkloadKind.TASK, True, Exit.NEVER_BEGAN, 2, None),
    ],
)
def test_containers_for_each_kind_of_end(
    why: str, kind: WorkloadKind, began: bool, code: int | None, launches: int, event: Event | None
) -> None:
    tower = Tower()
    tower.order(kind=kind)
    tower.fly(1)
    if not began:
        tower.compute.fail_to_start("fake:x.1", why)
    elif code is None:
        tower.compute.vanish("fake:x.1", why)
    else:
        tower.compute.run("fake:x.1")
        tower.fly(1)
        tower.compute.exit("fake:x.1", code, why)
    tower.fly(60)
    assert len(tower.compute.submitted) == launches, why
    assert [one for _, one in ended(tower.news)] == ([event] if event is not None else [])


def test_a_stop_without_exit_code_is_an_end() -> None:
    """W12: the host is lost, there is no exit code and no container."""
    tower = Tower()
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(2)
    tower.compute.vanish("fake:x.1", "Host EC2 terminated")
    assert ended(tower.fly(10)) == [("x", Event.FAILED)]
    assert tower.flights() == 0


@pytest.mark.parametrize(("began", "launches"), [(False, 2), (True, 1)])
def test_what_the_service_forgot_is_an_end(began: bool, launches: int) -> None:
    """W18: DescribeJobs does not answer for it any more."""
    tower = Tower(grace=300)
    tower.order()
    tower.fly(1)
    if began:
        tower.compute.run("fake:x.1")
        tower.fly(5)
    tower.compute.forget("fake:x.1")
    tower.fly(400)
    assert len(tower.compute.submitted) == launches
    if launches == 2:
        tower.compute.exit("fake:x.2", Exit.DONE)
        tower.fly(60)
    assert tower.flights() == 0


def test_an_empty_answer_to_a_launch_is_asked_again_with_the_same_token() -> None:
    """W19: RunTask answers with neither tasks nor failures."""
    tower = Tower()
    tower.compute.refusals["submit"] = [Submission(), Submission()]
    tower.order()
    tower.fly(10)
    assert tower.compute.submitted == ["x.1"] * 3
    assert tower.compute.alive() == ["fake:x.1"]


def test_half_an_hour_of_provisioning_that_ends_without_containers_is_repeated() -> None:
    """prefect#22410: stopCode TaskFailedToStart with empty ``containers``."""
    tower = Tower()
    tower.order()
    tower.fly(1800)
    assert tower.compute.submitted == ["x.1"]
    tower.compute.fail_to_start("fake:x.1", "TaskFailedToStart")
    tower.fly(60)
    assert tower.compute.submitted == ["x.1", "x.2"]


LIVES = st.sampled_from(
    ["done", "killed", "vanished", "no start", "forgotten early", "forgotten late", "stopped by hand"]
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    lives=st.lists(st.tuples(LIVES, st.sampled_from(list(WorkloadKind)), st.booleans()), min_size=1, max_size=10),
    errors=st.lists(st.sampled_from(["observe", "submit", "explain", "find"]), max_size=12),
)
def test_no_slot_outlives_its_container(lives: list[tuple[str, WorkloadKind, bool]], errors: list[str]) -> None:
    tower = Tower(grace=60)
    for number, (_, kind, began) in enumerate(lives):
        tower.order(f"x{number}", kind=kind, began=began and number % 3 == 0)
    for verb in errors:
        failure = Submission(later="no") if verb == "submit" else Unavailable("no")
        tower.compute.refusals.setdefault(verb, []).append(failure)
    tower.fly(30)
    for _ in range(4):
        for ref in tower.compute.alive():
            life = lives[int(ref.split(".", maxsplit=1)[0].removeprefix("fake:x"))][0]
            if life == "no start":
                tower.compute.fail_to_start(ref)
            elif life == "forgotten early":
                tower.compute.forget(ref)
            elif life == "vanished":
                tower.compute.vanish(ref)
            elif life == "stopped by hand":
                tower.compute.stop(ref, "by hand")
            else:
                tower.compute.run(ref)
                tower.fly(2)
                if life == "forgotten late":
                    tower.compute.forget(ref)
                else:
                    tower.compute.exit(ref, Exit.DONE if life == "done" else 137)
        tower.fly(200)
    assert tower.flights() == 0
    ends = [name for name, _ in ended(tower.news)]
    assert sorted(ends) == sorted(f"x{number}" for number in range(len(lives)))


# Revoking, and what the user cancelled.


def test_a_revoked_launch_whose_answer_was_lost_is_looked_for_and_stopped() -> None:
    tower = Tower()
    tower.compute.lost_answer = True
    tower.compute.refusals["submit"] = [Submission(later="read time-out")]
    tower.order("x", key="k")
    tower.fly(0)
    tower.fleet.revoke("k", "stuck in queued")
    tower.fly(30)
    assert tower.compute.stops == ["fake:x.1"]
    assert tower.compute.alive() == []
    assert tower.flights() == 0


def test_a_revocation_while_the_launch_is_on_its_way_stops_its_container() -> None:
    pool = ByHand()
    tower = Tower(pool=pool)
    tower.order("x", key="k")
    tower.fleet.step()
    tower.fleet.revoke("k", "test")
    tower.fleet.step()
    while pool.calls:
        pool.calls.pop(0)()
        tower.fleet.step()
    assert tower.compute.stops == ["fake:x.1"]
    assert tower.fleet.drain() == []


def test_a_stop_that_is_not_allowed_is_said_once_and_frees_the_slot(caplog: pytest.LogCaptureFixture) -> None:
    tower = Tower()
    tower.order("x", key="k")
    tower.fly(1)
    tower.compute.refusals["stop"] = [Refused("AccessDeniedException: ecs:StopTask")]
    tower.fleet.revoke("k", "test")
    tower.fly(60)
    assert tower.flights() == 0
    assert any("ecs:StopTask" in line for line in caplog.messages)


class Database(AirflowState):
    """What Airflow still wants, and how often it was asked."""

    def __init__(self) -> None:
        self.unwanted: set[str] = set()
        self.asked: list[int] = []
        self.down = False

    def wanted(self, orders: Sequence[Order]) -> Collection[str]:
        self.asked.append(len(orders))
        if self.down:
            raise OSError("the database is down")
        return {order.subject for order in orders} - self.unwanted


def test_a_cancelled_one_is_not_launched_again() -> None:
    database = Database()
    tower = Tower(airflow=database)
    tower.order()
    tower.fly(1)
    database.unwanted = {"x"}
    tower.compute.fail_to_start("fake:x.1")
    tower.fly(60)
    assert tower.compute.submitted == ["x.1"]
    assert ended(tower.news) == [("x", Event.NONE)]
    assert "does not want it" in tower.news[-1].reason
    assert tower.flights() == 0


def test_the_container_of_a_cancelled_one_that_waits_is_stopped() -> None:
    database = Database()
    tower = Tower(airflow=database, ask=30)
    tower.order("x")
    tower.order("y")
    tower.fly(5)
    database.unwanted = {"x"}
    tower.fly(90)
    assert tower.compute.stops == ["fake:x.1"]
    assert ended(tower.news) == [("x", Event.NONE)]
    assert tower.tally.sum("unwanted") == 1


def test_one_that_waits_for_capacity_and_is_cancelled_is_forgotten() -> None:
    database = Database()
    tower = Tower(airflow=database)
    tower.compute.refusals["submit"] = [Submission(later="RESOURCE:CPU", shortage=True)] * 1000
    tower.order()
    tower.fly(60)
    database.unwanted = {"x"}
    assert ended(tower.fly(60)) == [("x", Event.NONE)]
    assert tower.flights() == 0


def test_what_runs_is_not_asked_about() -> None:
    database = Database()
    tower = Tower(airflow=database)
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    database.unwanted = {"x"}
    tower.fly(300)
    assert tower.compute.stops == []
    assert database.asked == []


def test_a_database_that_is_down_stops_nothing() -> None:
    database = Database()
    database.down = True
    tower = Tower(airflow=database)
    tower.order()
    tower.fly(1)
    tower.compute.fail_to_start("fake:x.1")
    tower.fly(120)
    assert tower.compute.alive() == ["fake:x.2"]
    assert database.asked


def test_five_thousand_that_wait_are_few_questions() -> None:
    database = Database()
    tower = Tower(airflow=database, launches=10_000)
    for number in range(5000):
        tower.order(f"x{number}")
    tower.fly(85)
    assert sum(database.asked) in {5000, 10_000}
    assert max(database.asked) == 500


# A bad end is told with all that can be said.


def test_a_bad_end_is_explained_before_it_is_told() -> None:
    tower = Tower()
    tower.compute.explanations["fake:x.1"] = "last lines: MemoryError"
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(1)
    tower.compute.exit("fake:x.1", 137, "OutOfMemory")
    tower.fly(3)
    assert [one.reason for one in tower.news if one.stage is Stage.ENDED] == ["OutOfMemory\nlast lines: MemoryError"]


@pytest.mark.parametrize("error", [Unavailable("logs throttled"), Refused("logs:GetLogEvents"), KeyError("bug")])
def test_an_explanation_that_cannot_be_had_costs_no_news(error: Exception) -> None:
    tower = Tower()
    tower.compute.refusals["explain"] = [error]
    tower.order()
    tower.fly(1)
    tower.compute.exit("fake:x.1", 137, "OutOfMemory")
    assert ended(tower.fly(3)) == [("x", Event.FAILED)]
    assert tower.news[-1].reason == "OutOfMemory"


def test_an_explanation_that_takes_too_long_is_not_waited_for() -> None:
    pool = ByHand()
    tower = Tower(pool=pool, explain=15)
    tower.order()
    tower.fleet.step()
    pool.calls.pop(0)()
    tower.compute.exit("fake:x.1", 137, "OutOfMemory")
    tower.fly(2)
    pool.calls.pop(0)()
    tower.fly(14)
    assert ended(tower.news) == []
    assert ended(tower.fly(3)) == [("x", Event.FAILED)]
    late = pool.calls.pop(0)
    late()
    assert ended(tower.fly(3)) == []


def test_a_thousand_bad_ends_at_once_hold_up_nobody() -> None:
    tower = Tower(launches=10_000, looks=10_000)
    for number in range(1000):
        tower.order(f"x{number}")
    tower.fly(2)
    for ref in tower.compute.alive():
        tower.compute.exit(ref, 137)
    assert len(ended(tower.fly(30))) == 1000
