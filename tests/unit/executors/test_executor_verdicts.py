"""What an observation means, and what Airflow's scheduler gets: the two tables."""

from __future__ import annotations

import pytest

from skylift.core.attempt import Exit, Observation, Phase, Verdict, verdict
from skylift.executors.fleet.settle import Event, Settlement, WorkloadKind, settle
from skylift.executors.in_container import api, main, stop

pytestmark = pytest.mark.unit

WAITING = Observation("a", Phase.WAITING)
RUNNING = Observation("a", Phase.RUNNING, began=True)
MISSING = Observation("a", Phase.MISSING)


def stopped(code: int | None = None, *, began: bool = True, by_request: bool = False) -> Observation:
    return Observation("a", Phase.STOPPED, began=began, exit_code=code, by_request=by_request)


@pytest.mark.parametrize(
    ("seen", "ever_began", "missing_for", "means"),
    [
        (WAITING, False, 0, Verdict.UNDERWAY),
        (RUNNING, False, 0, Verdict.UNDERWAY),
        (stopped(Exit.DONE), False, 0, Verdict.FINISHED),
        (stopped(Exit.ENDED_BADLY), False, 0, Verdict.FINISHED),
        (stopped(Exit.NOT_OURS), False, 0, Verdict.FINISHED),
        (stopped(Exit.NEVER_BEGAN), True, 0, Verdict.LOST),
        (stopped(Exit.NEVER_BEGAN, by_request=True), False, 0, Verdict.DIED),
        (stopped(Exit.DONE, by_request=True), False, 0, Verdict.FINISHED),
        (stopped(Exit.ENDED_BADLY, by_request=True), False, 0, Verdict.FINISHED),
        (stopped(1), False, 0, Verdict.DIED),
        (stopped(137), False, 0, Verdict.DIED),
        (stopped(143), False, 0, Verdict.DIED),
        (stopped(None), False, 0, Verdict.DIED),
        (stopped(None, began=False), True, 0, Verdict.DIED),
        (stopped(None, began=False), False, 0, Verdict.LOST),
        (stopped(None, began=False, by_request=True), False, 0, Verdict.DIED),
        (MISSING, False, 0, Verdict.UNDERWAY),
        (MISSING, True, 299.9, Verdict.UNDERWAY),
        (MISSING, False, 300, Verdict.LOST),
        (MISSING, True, 300, Verdict.GONE),
    ],
)
def test_verdicts(seen: Observation, ever_began: bool, missing_for: float, means: Verdict) -> None:
    assert verdict(seen, ever_began=ever_began, missing_for=missing_for, grace=300) is means


FAILED = Settlement(event=Event.FAILED, record=True)
NOTHING = Settlement()
SUCCESS = Settlement(event=Event.SUCCESS)


@pytest.mark.parametrize(
    ("means", "code", "kind", "number", "settlement"),
    [
        (Verdict.FINISHED, Exit.DONE, WorkloadKind.TASK, 1, NOTHING),
        (Verdict.FINISHED, Exit.NOT_OURS, WorkloadKind.TASK, 1, NOTHING),
        (Verdict.FINISHED, Exit.ENDED_BADLY, WorkloadKind.TASK, 1, SUCCESS),
        (Verdict.DIED, 137, WorkloadKind.TASK, 1, FAILED),
        (Verdict.GONE, None, WorkloadKind.TASK, 1, Settlement(record=True)),
        (Verdict.LOST, None, WorkloadKind.TASK, 1, Settlement(repeat=True, record=True)),
        (Verdict.LOST, None, WorkloadKind.TASK, 2, Settlement(repeat=True, record=True)),
        (Verdict.LOST, None, WorkloadKind.TASK, 3, FAILED),
        (Verdict.FINISHED, Exit.DONE, WorkloadKind.CALLBACK, 1, SUCCESS),
        (Verdict.FINISHED, Exit.NOT_OURS, WorkloadKind.CALLBACK, 1, Settlement(event=Event.FAILED)),
        (Verdict.DIED, 1, WorkloadKind.CALLBACK, 1, FAILED),
        (Verdict.GONE, None, WorkloadKind.CALLBACK, 1, Settlement(event=Event.FAILED)),
        (Verdict.LOST, None, WorkloadKind.CALLBACK, 1, Settlement(repeat=True, record=True)),
    ],
)
def test_settlements(means: Verdict, code: int | None, kind: WorkloadKind, number: int, settlement: Settlement) -> None:
    assert settle(means, code, kind, number=number, most=3) == settlement


def test_the_container_repeats_the_exit_codes_right() -> None:
    ours = {code.name: int(code) for code in Exit}
    there = vars(api) | vars(stop) | vars(main)
    assert ours == {name: there[name] for name in ours}
    assert there["DIED"] not in ours.values()
