"""The judge is pure: which status follows, with which reason."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from tests.control_scenes import spec

from skylift.control.blueprint import blueprint
from skylift.control.judge import MOST_MESSAGE, Verdict, judge, progress_of
from skylift.control.plan import Fault, Phase, Seen
from skylift.core.environment import ENVIRONMENT_LIFE, Status
from skylift.core.errors import Broken

pytestmark = pytest.mark.unit
PARTS = blueprint(spec(RequirementsS3Path="requirements.txt"))
READY = {part.name: Seen(Phase.READY) for part in PARTS}


def verdict(
    seen: dict[str, Seen], before: Status = Status.CREATING, age: float = 1, fault: Fault | None = None
) -> Verdict:
    return judge(before, PARTS, seen, age, 1800, fault)


def test_available_needs_every_part() -> None:
    assert verdict(READY).status is Status.AVAILABLE
    for part in PARTS:
        assert verdict(READY | {part.name: Seen(Phase.MOVING)}).status is Status.CREATING


def test_a_fault_fails_the_create_with_its_reason() -> None:
    fault = Fault("REQUIREMENTS_FAILED", "there is no frobnicate==9.9")
    found = verdict(READY | {"layer": Seen(Phase.FAILED, fault=fault), "health": Seen(Phase.BLOCKED)})
    assert (found.status, found.fault) == (Status.CREATE_FAILED, fault)


def test_the_first_fault_in_the_order_of_parts_is_told() -> None:
    early, late = Fault("INCORRECT_CONFIGURATION", "no bucket"), Fault("COMPONENT_FAILED", "died")
    seen = READY | {"service/scheduler": Seen(Phase.FAILED, fault=late), "source": Seen(Phase.FAILED, fault=early)}
    assert verdict(seen).fault == early


def test_what_aws_refuses_fails_the_create() -> None:
    refused = Fault("INCORRECT_CONFIGURATION", "no such subnet")
    assert verdict(READY | {"health": Seen(Phase.MOVING)}, fault=refused).fault == refused


def test_a_create_ends() -> None:
    seen = READY | {"service/triggerer": Seen(Phase.MOVING, note="0 of 1 running"), "health": Seen(Phase.BLOCKED)}
    assert verdict(seen, age=1799).status is Status.CREATING
    found = verdict(seen, age=1801)
    assert found.status is Status.CREATE_FAILED
    assert found.fault is not None
    assert "starting triggerer: 0 of 1 running" in found.fault.message


def test_long_messages_keep_both_ends() -> None:
    fault = Fault("MIGRATION_FAILED", "begin " + "x" * 5000 + " end")
    found = verdict(READY | {"migration": Seen(Phase.FAILED, fault=fault)}).fault
    assert found is not None
    assert len(found.message) <= MOST_MESSAGE
    assert found.message.startswith("begin ")
    assert found.message.endswith(" end")


def test_an_available_environment_stays_available_while_it_heals() -> None:
    fault = Fault("COMPONENT_FAILED", "died")
    assert verdict(READY | {"service/scheduler": Seen(Phase.FAILED, fault=fault)}, Status.AVAILABLE) == Verdict(
        Status.AVAILABLE, None, "nothing to do"
    )


def test_deleted_when_nothing_is_left() -> None:
    gone = {part.name: Seen(Phase.ABSENT) for part in PARTS}
    assert verdict(gone, Status.DELETING).status is Status.DELETED
    found = verdict(gone | {"database": Seen(Phase.READY)}, Status.DELETING)
    assert (found.status, found.progress) == (Status.DELETING, "removing database")


def test_progress_is_a_sentence() -> None:
    seen = READY | {"layer": Seen(Phase.MOVING, note="resolving and installing"), "migration": Seen(Phase.ABSENT)}
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
    gone = {part.name: Seen(Phase.ABSENT) for part in PARTS}
    broken = READY | {"layer": Seen(Phase.FAILED, fault=Fault("X", "y"))}
    for before in (Status.CREATING, Status.AVAILABLE, Status.DELETING):
        for seen in (READY, gone, broken):
            for age in (0.0, 1e9):
                after = replace(verdict(seen, before, age)).status
                assert ENVIRONMENT_LIFE.may(before, after)
