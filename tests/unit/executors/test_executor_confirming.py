"""An end is settled by the state in Airflow's database: what never began is repeated, whatever the exit code."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.unit.executor_tower import ByHand, Tower, ended

from skylift.core.attempt import Exit, Observation, Phase
from skylift.core.errors import Unavailable
from skylift.executors import exit_words
from skylift.executors.fleet.confirming import MOST_TRIES
from skylift.executors.fleet.flight import AirflowState, Order, Stage
from skylift.executors.fleet.settle import Event

pytestmark = pytest.mark.unit


class Database(AirflowState):
    """How Airflow has its task instances; ``None``: in no state in which a container may begin or run."""

    def __init__(self, state: str | None = "queued") -> None:
        self.state = state
        self.questions = 0
        self.down = 0

    def wanted(self, orders: Sequence[Order]) -> dict[str, str]:
        self.questions += 1
        if self.down:
            self.down -= 1
            raise Unavailable("the database is restarted")
        return {order.subject: self.state for order in orders if self.state is not None}


KILLED = 137


@pytest.mark.parametrize(
    ("code", "state", "containers", "events"),
    [
        (KILLED, "queued", 2, []),
        (143, "queued", 2, []),
        (1, "queued", 2, []),
        (Exit.DONE, "queued", 2, []),
        (Exit.NOT_OURS, "queued", 2, []),
        (Exit.NEVER_BEGAN, "queued", 2, []),
        (KILLED, "running", 1, [Event.FAILED]),
        (Exit.DONE, "running", 1, [Event.FAILED]),
        (Exit.NEVER_BEGAN, "running", 1, [Event.FAILED]),
        (Exit.NOT_OURS, "running", 1, [Event.FAILED]),
        (KILLED, "restarting", 1, [Event.SUCCESS]),
        (Exit.DONE, "restarting", 1, [Event.SUCCESS]),
        (KILLED, None, 1, [Event.NONE]),
        (Exit.DONE, None, 1, [Event.NONE]),
        (Exit.NEVER_BEGAN, None, 1, [Event.NONE]),
        (Exit.STOPPED_OUTSIDE, None, 1, [Event.NONE]),
        (KILLED, "", 1, [Event.FAILED]),
        (Exit.DONE, "", 1, [Event.NONE]),
    ],
)
def test_an_end_is_settled_by_how_airflow_has_it(
    code: int, state: str | None, containers: int, events: list[Event]
) -> None:
    tower = Tower(airflow=Database(state))
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(1)
    tower.compute.exit("fake:x.1", code, "because")
    tower.fly(20)
    assert len(tower.compute.submitted) == containers
    assert [event for _, event in ended(tower.news)] == events


def test_what_somebody_stopped_before_it_began_is_not_repeated() -> None:
    tower = Tower(airflow=Database())
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(1)
    tower.compute.stop("fake:x.1", "a person")
    tower.fly(20)
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert len(tower.compute.submitted) == 1


def test_what_dies_before_it_begins_again_and_again_fails_with_its_reason() -> None:
    tower = Tower(airflow=Database(), most_attempts=3)
    tower.order()
    for number in (1, 2, 3):
        tower.fly(30)
        tower.compute.exit(f"fake:x.{number}", 0, "exit code 0")
    news = tower.fly(30)
    assert ended(news) == [("x", Event.FAILED)]
    assert news[-1].reason.startswith("exit code 0")
    repeats = [one for one in tower.news if one.stage is Stage.REPEATED]
    assert ["never began" in one.reason for one in repeats] == [True, True]


def test_an_end_waits_while_the_database_is_away() -> None:
    database = Database()
    tower = Tower(airflow=database)
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(1)
    database.down = 2
    tower.compute.exit("fake:x.1", KILLED, "because")
    tower.fly(60)
    assert ended(tower.news) == []
    assert len(tower.compute.submitted) == 2


def test_a_database_that_stays_away_is_not_waited_for_for_ever() -> None:
    database = Database()
    tower = Tower(airflow=database)
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(1)
    database.down, database.questions = 10_000, 0
    tower.compute.exit("fake:x.1", KILLED, "because")
    tower.fly(600)
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert database.questions == MOST_TRIES == 5
    database.down = 0
    tower.order("y")
    tower.fly(1)
    tower.compute.run("fake:y.1")
    tower.fly(1)
    database.down = MOST_TRIES - 1
    tower.compute.exit("fake:y.1", KILLED, "because")
    tower.fly(600)
    assert tower.compute.alive() == ["fake:y.2"], "one that answers in the end says that it never began"


def test_news_and_revocation_while_airflow_is_asked() -> None:
    """An event comes twice, and Airflow revokes it meanwhile: one end, nothing is launched, nothing is left."""
    pool = ByHand()
    tower = Tower(airflow=Database(), pool=pool)

    def calls() -> None:
        waiting, pool.calls[:] = list(pool.calls), []
        for call in waiting:
            call()
        tower.fly(0)

    tower.order()
    tower.fly(1)
    calls()
    end = Observation("fake:x.1", Phase.STOPPED, True, KILLED, version=9)
    for _ in range(3):
        tower.fleet.sighted([end])
        tower.fly(0)
    tower.fleet.revoke("x", "too long in queued")
    tower.fly(0)
    for _ in range(10):
        calls()
        tower.fly(5)
    assert tower.flights() == 0
    assert len(tower.compute.submitted) == 1


def test_a_begin_that_airflow_hears_of_too_late_fails_without_another_container() -> None:
    """The API server was so slow that the container was dead by then: nobody is left to end the task instance."""
    database = Database()
    tower = Tower(airflow=database)
    tower.order()
    tower.fly(1)
    tower.compute.run("fake:x.1")
    tower.fly(1)
    tower.compute.exit("fake:x.1", KILLED, "because")
    while not any(one.stage is Stage.REPEATED for one in tower.news):
        tower.fly(0.1)
    database.state = "running"
    tower.fly(60)
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert len(tower.compute.submitted) == 1
    assert tower.flights() == 0


def test_without_an_api_server_a_launch_waits_and_the_first_failure_is_explained() -> None:
    tower = Tower(airflow=Database(), most_attempts=3, unanswered=600.0)
    tower.compute.explanations["fake:x.1"] = "PATCH http://airflow:8080/execution/: Connection refused"
    tower.order()
    number, seconds = 1, 0
    while seconds < 590:
        tower.fly(5)
        seconds += 5
        if f"fake:x.{number}" in tower.compute.alive():
            tower.compute.exit(f"fake:x.{number}", Exit.UNREACHABLE, exit_words.words(Exit.UNREACHABLE))
            number += 1
    assert ended(tower.news) == []
    assert number > 5
    first, *others = [one.reason for one in tower.news if one.stage is Stage.REPEATED]
    assert "execution_api_server_url" in first
    assert "http://airflow:8080/execution/: Connection refused" in first
    assert not any("Connection refused" in one for one in others)
    while not ended(tower.news):
        tower.fly(5)
        seconds += 5
        assert seconds < 900
        for ref in tower.compute.alive():
            tower.compute.exit(ref, Exit.UNREACHABLE, exit_words.words(Exit.UNREACHABLE))
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert "api_server_seconds" in tower.news[-1].reason


def test_an_api_server_that_comes_back_costs_nothing() -> None:
    database = Database()
    tower = Tower(airflow=database, most_attempts=3)
    tower.order()
    for number in range(1, 6):
        tower.fly(70)
        tower.compute.exit(f"fake:x.{number}", Exit.UNREACHABLE)
    tower.fly(70)
    tower.compute.run("fake:x.6")
    database.state = "running"
    tower.fly(20)
    database.state = None
    tower.compute.exit("fake:x.6", Exit.DONE)
    tower.fly(20)
    assert ended(tower.news) == [("x", Event.NONE)]


@pytest.mark.parametrize("code", [Exit.NOT_TLS, Exit.IS_TLS, Exit.NO_EXECUTION_API, Exit.NO_ACCESS, Exit.NOT_TRUSTED])
def test_what_is_set_wrongly_is_not_waited_for(code: Exit) -> None:
    tower = Tower(airflow=Database(), most_attempts=3)
    tower.order()
    for number in (1, 2, 3):
        tower.fly(60)
        tower.compute.exit(f"fake:x.{number}", code, exit_words.words(code))
    tower.fly(60)
    assert ended(tower.news) == [("x", Event.FAILED)]
    assert exit_words.words(code) in tower.news[-1].reason


@pytest.mark.parametrize(("code", "word"), [(137, "SIGKILL"), (143, "SIGTERM"), (139, "SIGSEGV"), (134, "SIGABRT")])
def test_a_signal_has_its_name(code: int, word: str) -> None:
    assert word in exit_words.words(code)
    assert exit_words.words(3) == exit_words.words(None) == exit_words.words(0) == ""
