"""The judge is a pure function: which status results, with which reason."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from tests.control_scenes import spec

from skylift.control.blueprint import blueprint
from skylift.control.judge import MOST_MESSAGE, WEB, Observed, StatusDecision, condition_of, judge, progress_of
from skylift.control.plan import NO_ANSWER, SILENT, Failure, PartPhase, Seen
from skylift.core.environment import ENVIRONMENT_LIFE, Status
from skylift.core.errors import Broken

pytestmark = pytest.mark.unit
PARTS = blueprint(spec(RequirementsS3Path="requirements.txt"))
READY = {part.name: Seen(PartPhase.READY) for part in PARTS}


def verdict(
    seen: dict[str, Seen], before: Status = Status.CREATING, age: float = 1, fault: Failure | None = None
) -> StatusDecision:
    return judge(Observed(before, PARTS, seen, age, 1800, fault))


def test_available_needs_every_part() -> None:
    assert verdict(READY).status is Status.AVAILABLE
    for part in PARTS:
        assert verdict(READY | {part.name: Seen(PartPhase.MOVING)}).status is Status.CREATING


def test_a_fault_fails_the_create_with_its_reason() -> None:
    fault = Failure("REQUIREMENTS_FAILED", "there is no frobnicate==9.9")
    found = verdict(READY | {"layer": Seen(PartPhase.FAILED, fault=fault), "health": Seen(PartPhase.BLOCKED)})
    assert (found.status, found.fault) == (Status.CREATE_FAILED, fault)


def test_the_first_fault_in_the_order_of_parts_is_told() -> None:
    early, late = Failure("INCORRECT_CONFIGURATION", "no bucket"), Failure("COMPONENT_FAILED", "died")
    seen = READY | {
        "service/scheduler": Seen(PartPhase.FAILED, fault=late),
        "source": Seen(PartPhase.FAILED, fault=early),
    }
    assert verdict(seen).fault == early


def test_what_aws_refuses_fails_the_create() -> None:
    refused = Failure("INCORRECT_CONFIGURATION", "no such subnet")
    assert verdict(READY | {"health": Seen(PartPhase.MOVING)}, fault=refused).fault == refused


def test_a_create_ends() -> None:
    seen = READY | {
        "service/triggerer": Seen(PartPhase.MOVING, note="0 of 1 running"),
        "health": Seen(PartPhase.BLOCKED),
    }
    assert verdict(seen, age=1799).status is Status.CREATING
    found = verdict(seen, age=1801)
    assert found.status is Status.CREATE_FAILED
    assert found.fault is not None
    assert "starting triggerer: 0 of 1 running" in found.fault.message


def test_long_messages_keep_both_ends() -> None:
    fault = Failure("MIGRATION_FAILED", "begin " + "x" * 5000 + " end")
    found = verdict(READY | {"migration": Seen(PartPhase.FAILED, fault=fault)}).fault
    assert found is not None
    assert len(found.message) <= MOST_MESSAGE
    assert found.message.startswith("begin ")
    assert found.message.endswith(" end")


def test_an_available_environment_stays_available_while_it_heals() -> None:
    fault = Failure("COMPONENT_FAILED", "died")
    assert verdict(
        READY | {"service/scheduler": Seen(PartPhase.FAILED, fault=fault)}, Status.AVAILABLE
    ) == StatusDecision(Status.AVAILABLE, None, "nothing to do")


def test_deleted_when_nothing_is_left() -> None:
    gone = {part.name: Seen(PartPhase.ABSENT) for part in PARTS}
    assert verdict(gone, Status.DELETING).status is Status.DELETED
    found = verdict(gone | {"database": Seen(PartPhase.READY)}, Status.DELETING)
    assert (found.status, found.progress) == (Status.DELETING, "removing database")


def test_progress_is_a_sentence() -> None:
    seen = READY | {
        "layer": Seen(PartPhase.MOVING, note="resolving and installing"),
        "migration": Seen(PartPhase.ABSENT),
    }
    assert progress_of(PARTS, seen) == "building layer: resolving and installing, migrating database"


def test_every_status_can_be_reached_and_left_as_the_table_says() -> None:
    reached, waiting = {Status.CREATING}, deque([Status.CREATING])
    while waiting:
        for after in ENVIRONMENT_LIFE.moves[waiting.popleft()] - reached:
            reached.add(after)
            waiting.append(after)
    assert reached == set(Status) == set(ENVIRONMENT_LIFE.moves)
    assert [status for status in Status if ENVIRONMENT_LIFE.is_final(status)] == [Status.DELETED]
    with pytest.raises(Broken, match="no move from CREATE_FAILED to AVAILABLE"):
        ENVIRONMENT_LIFE.move(Status.CREATE_FAILED, Status.AVAILABLE)


def test_a_verdict_is_always_a_lawful_move() -> None:
    gone = {part.name: Seen(PartPhase.ABSENT) for part in PARTS}
    broken = READY | {"layer": Seen(PartPhase.FAILED, fault=Failure("X", "y"))}
    for before in (Status.CREATING, Status.AVAILABLE, Status.DELETING):
        for seen in (READY, gone, broken):
            for age in (0.0, 1e9):
                after = replace(verdict(seen, before, age)).status
                assert ENVIRONMENT_LIFE.may(before, after)


DEAD = Seen(PartPhase.FAILED, fault=Failure("COMPONENT_FAILED", "api-server keeps ending"))


@pytest.mark.parametrize(
    ("web", "after"),
    [
        (Seen(PartPhase.MOVING, note="0 of 1 running", restarts=3), Status.AVAILABLE),
        (Seen(PartPhase.DIFFERENT, note="gets 600 s to start", running=1), Status.AVAILABLE),
        (Seen(PartPhase.READY, running=1), Status.AVAILABLE),
        (Seen(PartPhase.ABSENT), Status.AVAILABLE),
        (Seen(PartPhase.MOVING, note=NO_ANSWER), Status.AVAILABLE),
        (replace(DEAD, running=1), Status.AVAILABLE),
        (DEAD, Status.UNAVAILABLE),
    ],
)
def test_unavailable_only_while_no_api_server_is_on_its_way(web: Seen, after: Status) -> None:
    seen = READY | {WEB: web, "health": Seen(PartPhase.BLOCKED)}
    assert verdict(seen, Status.AVAILABLE).status is after
    ENVIRONMENT_LIFE.move(Status.AVAILABLE, after) if after is not Status.AVAILABLE else None


def test_what_aws_refuses_to_start_is_unavailable() -> None:
    seen = READY | {WEB: Seen(PartPhase.ABSENT), "health": Seen(PartPhase.BLOCKED)}
    refused = Failure("INCORRECT_CONFIGURATION", "no such subnet")
    assert verdict(seen, Status.AVAILABLE, fault=refused).status is Status.UNAVAILABLE
    other = READY | {"service/scheduler": Seen(PartPhase.ABSENT), "health": Seen(PartPhase.BLOCKED)}
    assert verdict(other, Status.AVAILABLE, fault=refused).status is Status.AVAILABLE


def test_unavailable_ends_once_an_api_server_is_on_its_way() -> None:
    def after(web: Seen) -> Status:
        return verdict(READY | {WEB: web, "health": Seen(PartPhase.BLOCKED)}, Status.UNAVAILABLE).status

    assert after(Seen(PartPhase.MOVING, note="0 of 1 running")) is Status.AVAILABLE
    assert after(DEAD) is Status.UNAVAILABLE
    assert after(Seen(PartPhase.READY, running=1)) is Status.UNAVAILABLE, "it runs, as it did before it died"
    assert after(Seen(PartPhase.MOVING, note=NO_ANSWER)) is Status.UNAVAILABLE
    assert verdict(READY, Status.UNAVAILABLE).status is Status.AVAILABLE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({WEB: Seen(PartPhase.READY, restarts=4)}, ""),
        ({WEB: Seen(PartPhase.MOVING, note="0 of 1 running", restarts=3)}, "UI not answering, 3 restarts"),
        (
            {"health": Seen(PartPhase.MOVING, note=SILENT), WEB: Seen(PartPhase.READY, restarts=1)},
            "UI not answering, 1 restart",
        ),
        ({"service/scheduler": Seen(PartPhase.MOVING)}, "scheduler not running"),
        (
            {WEB: DEAD, "service/triggerer": Seen(PartPhase.MOVING, restarts=2)},
            "UI not answering, triggerer not running, 2 restarts",
        ),
        ({"health": Seen(PartPhase.MOVING, note="no heartbeat of scheduler")}, "no heartbeat of scheduler"),
        ({WEB: Seen(PartPhase.MOVING, note=NO_ANSWER)}, ""),
    ],
)
def test_the_condition_is_told_in_a_few_words(changes: dict[str, Seen], words: str) -> None:
    assert condition_of(READY | changes) == words


@pytest.mark.parametrize("before", [Status.UPDATING, Status.MAINTENANCE])
def test_an_update_ends_available_or_goes_back_with_the_reason(before: Status) -> None:
    assert verdict(READY, before).status is Status.AVAILABLE
    moving = READY | {"service/scheduler": Seen(PartPhase.MOVING)}
    assert verdict(moving, before).status is before
    fault = Failure("DAGS_FAILED", "a.py: no")
    failed = verdict(moving | {"layer": Seen(PartPhase.FAILED, fault=fault)}, before)
    assert (failed.status, failed.fault) == (Status.ROLLING_BACK, fault)
    assert verdict(moving, before, fault=fault).status is Status.ROLLING_BACK
    late = verdict(moving, before, age=1801)
    assert late.status is Status.ROLLING_BACK
    assert late.fault is not None
    assert late.fault.code == "TIMED_OUT"
    assert late.fault.message.endswith("It goes back to what it was before the update.")


def test_a_rollback_ends_when_what_was_serves_again() -> None:
    assert verdict(READY, Status.ROLLING_BACK).status is Status.UPDATE_FAILED
    moving = READY | {"service/scheduler": Seen(PartPhase.MOVING)}
    assert verdict(moving, Status.ROLLING_BACK).status is Status.ROLLING_BACK
    assert verdict(moving, Status.ROLLING_BACK).progress.startswith("rolling back: ")
    gone = Failure("COMPONENT_FAILED", "scheduler keeps ending")
    failed = verdict(READY | {"service/scheduler": Seen(PartPhase.FAILED, fault=gone)}, Status.ROLLING_BACK)
    assert (failed.status, failed.fault) == (Status.UNAVAILABLE, gone)
    assert verdict(moving, Status.ROLLING_BACK, age=1801).status is Status.UNAVAILABLE


def test_an_update_that_failed_stays_so_while_the_ui_serves() -> None:
    assert verdict(READY, Status.UPDATE_FAILED).status is Status.UPDATE_FAILED
    moving = READY | {WEB: Seen(PartPhase.MOVING, running=0)}
    assert verdict(moving, Status.UPDATE_FAILED).status is Status.UPDATE_FAILED
    dead = READY | {WEB: Seen(PartPhase.FAILED, fault=Failure("COMPONENT_FAILED", "it ends"), running=0)}
    assert verdict(dead, Status.UPDATE_FAILED).status is Status.UNAVAILABLE


def test_what_is_replaced_by_its_successor_runs() -> None:
    rolling = READY | {name: Seen(PartPhase.DIFFERENT, running=1) for name in (WEB, "service/scheduler")}
    rolling |= {"health": Seen(PartPhase.BLOCKED)}
    assert condition_of(rolling) == ""
    assert condition_of(rolling | {"service/scheduler": Seen(PartPhase.MOVING)}) == "scheduler not running"
