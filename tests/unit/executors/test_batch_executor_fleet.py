"""The fleet on Batch: arrays, lost answers, restarts, throttles, and how many calls of AWS they cost."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from tests.unit.batch_double import World
from tests.unit.executor_tower import Tower, ended

from skylift.executors.fleet.flight import Stage
from skylift.executors.fleet.settle import Event

pytestmark = pytest.mark.unit
LABELS = {"dag_id": "d", "task_id": "t"}
DONE = {"status": "SUCCEEDED", "startedAt": 1, "container": {"exitCode": 0}}


def tower(world: World, **how: Any) -> Tower:
    """A scheduler's fleet; ``how`` goes to its compute."""
    timing = {name: how.pop(name) for name in ("linger", "launches", "grace") if name in how}
    given = {"linger": 2.0, "launches": 40.0} | timing
    return Tower(world.compute(**how), clock=world.clock, **given)  # type: ignore[arg-type]


def ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def order(made: Tower, names: list[str], **fields: Any) -> None:
    for name in names:
        made.order(name, labels=LABELS, **fields)


def refs(world: World) -> dict[str, list[str]]:
    """By external id."""
    return {token.rpartition(".")[0]: found for token, found in world.tokens().items()}


def test_a_thousand_together_are_one_submit_job_and_as_airflow_queues_them_few() -> None:
    world = World()
    made = tower(world)
    order(made, ids(1000))
    made.fly(10)
    assert world.calls.count("SubmitJob") == 1
    assert len(refs(world)) == 1000

    world = World()
    made = tower(world)
    for _ in range(63):
        order(made, ids(16))
        made.fly(0.3)
    made.fly(10)
    assert world.calls.count("SubmitJob") <= 12, "sixteen at a time, each 0.3 s"
    assert len(refs(world)) == 63 * 16
    assert all(len(one) == 1 for one in refs(world).values())


def test_each_child_ends_for_itself_and_one_that_never_began_goes_again_alone() -> None:
    world, names = World(), ids(4)
    made = tower(world)
    order(made, names)
    made.fly(5)
    done, lost, died, revoked = (refs(world)[name][0] for name in names)
    world.shown[done] = DONE
    world.shown[lost] = {"status": "FAILED", "statusReason": "Task failed to start"}
    world.shown[died] = {
        "status": "FAILED",
        "startedAt": 1,
        "container": {"exitCode": 137, "reason": "OutOfMemoryError"},
    }
    made.fleet.revoke(names[3], "cancelled")
    made.fly(60)
    assert dict(ended(made.news)) == {names[0]: Event.NONE, names[2]: Event.FAILED}
    assert [one.order.external_id for one in made.news if one.stage is Stage.REPEATED] == [names[1]]
    assert world.shown[revoked]["isTerminated"]
    assert {ref: world.shown[ref]["status"] for ref in (done, died)} == {done: "SUCCEEDED", died: "FAILED"}
    again = world.tokens()[f"{names[1]}.2"]
    assert len(again) == 1
    assert ":" not in again[0], "alone"
    assert len(world.tokens()) == 5


@pytest.mark.parametrize(("fault", "most_jobs"), [("after", 1), ("before", 12)])
def test_an_array_whose_answer_is_lost_is_found_or_submitted_once_more(fault: str, most_jobs: int) -> None:
    world, names = World(n51=fault), ids(49)
    world.late = 3.0
    made = tower(world)
    order(made, names)
    made.fly(60)
    assert {name: len(found) for name, found in refs(world).items()} == dict.fromkeys(names, 1)
    assert len(world.jobs) <= most_jobs, "the second time they come in a few groups"


def test_another_scheduler_takes_over_every_child_and_submits_none() -> None:
    world, names = World(), ids(100)
    first = tower(world)
    order(first, names)
    first.fly(5)
    submitted = world.calls.count("SubmitJob")
    second = tower(world)
    order(second, names[:50], adopted=True)
    order(second, names[50:], adopted=True, began=True)
    second.fly(120)
    assert world.calls.count("SubmitJob") == submitted
    for found in refs(world).values():
        world.shown[found[0]] = DONE
    second.fly(60)
    assert {name for name, _ in ended(second.news)} == {*names}


@pytest.mark.parametrize("operation", ["SubmitJob", "DescribeJobs", "ListJobs", "TerminateJob"])
@pytest.mark.parametrize("together", [True, False])
def test_ten_minutes_of_throttling_fail_nothing(operation: str, together: bool) -> None:
    world, names = World(), ids(20)
    made = tower(world, together=together)
    world.throttled = operation
    order(made, names[:10])
    order(made, names[10:], adopted=True)
    made.fly(600)
    assert ended(made.news) == []
    world.throttled = ""
    made.fly(120)
    assert {name: len(found) for name, found in refs(world).items()} == dict.fromkeys(names, 1)


def test_a_job_that_batch_forgets_leaves_no_slot_behind() -> None:
    world, names = World(), ids(2)
    made = tower(world, together=False, grace=300)
    order(made, names)
    made.fly(5)
    began = refs(world)[names[0]][0]
    world.shown[began] = {"status": "RUNNING", "startedAt": 1}
    made.fly(30)
    world.jobs.clear()
    made.fly(400)
    assert (names[0], Event.NONE) in ended(made.news), "Airflow's heartbeat decides"
    assert f"{names[1]}.2" in world.tokens(), "the one that never began is repeated"
