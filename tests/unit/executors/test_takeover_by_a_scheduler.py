"""A scheduler takes over another's work without asking AWS in its loop; a stopping one launches nothing more."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from threading import Event as Bell
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.batch_double import World
from tests.unit.executor_airflow import task_workload
from tests.unit.executor_tower import Tower, ended
from tests.unit.executors.test_executor_heartbeat import TestedExecutor, makers, queue, until

from skylift.core.attempt import Attempt, Exit, Submission
from skylift.core.errors import Refused, Unavailable
from skylift.executors.airflow_compat import key_of
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.flight import Stage
from skylift.executors.fleet.settle import Event

pytestmark = pytest.mark.unit


def left_behind(number: int, state: str) -> FakeCompute:
    """What a scheduler left that was killed."""
    compute = FakeCompute()
    first = Tower(compute, launches=10_000)
    for one in range(number):
        first.order(f"x{one}")
    first.fly(1)
    for ref in compute.alive() if state == "running" else ():
        compute.run(ref)
    return compute


def test_five_hundred_running_ones_are_taken_over_in_seconds_and_none_is_started() -> None:
    compute = left_behind(500, "running")
    second = Tower(compute)
    for one in range(500):
        second.order(f"x{one}", began=True, adopted=True)
    second.fly(10)
    assert compute.listings == 1
    assert compute.finds == []
    for ref in compute.alive():
        compute.exit(ref, Exit.DONE)
    assert len(ended(second.fly(60))) == 500
    assert len(compute.submitted) == 500


def test_who_ended_while_nobody_looked_is_reported() -> None:
    compute = left_behind(30, "running")
    compute.exit("fake:x3.1", 137, "OutOfMemory")
    compute.exit("fake:x4.1", Exit.DONE)
    second = Tower(compute)
    for one in range(30):
        second.order(f"x{one}", began=True, adopted=True)
    assert sorted(ended(second.fly(15))) == [("x3", Event.FAILED), ("x4", Event.NONE)]


@pytest.mark.parametrize("error", [Unavailable("Rate exceeded"), Refused("ecs:ListTasks")])
def test_a_listing_that_fails_is_done_without(error: Exception) -> None:
    compute = left_behind(30, "running")
    compute.refusals["census"] = [error]
    compute.refusals["find"] = [Unavailable("Rate exceeded")] * 5
    second = Tower(compute)
    for one in range(30):
        second.order(f"x{one}", began=True, adopted=True)
    second.fly(60)
    assert second.flights() == 30
    assert ended(second.news) == []


def test_the_counter_of_attempts_has_nothing_to_do_with_airflows_try_number() -> None:
    compute = left_behind(1, "queued")
    second = Tower(compute, most_attempts=3)
    second.order("x0", adopted=True, labels={"try_number": "7"})
    second.fly(1)
    compute.fail_to_start("fake:x0.1")
    second.fly(20)
    assert compute.alive() == ["fake:x0.2"]


def test_what_the_amazon_providers_executor_left_is_watched_and_never_repeated() -> None:
    compute = FakeCompute()
    Tower(compute).order("arn:aws:ecs:t/1")
    first = Tower(compute)
    first.order("theirs")
    first.fly(1)
    compute.run("fake:theirs.1")
    second = Tower(compute)
    second.order("fake:theirs.1", ref="fake:theirs.1", began=True, repeat=False, adopted=True)
    second.fly(5)
    assert compute.finds == []
    compute.exit("fake:theirs.1", 137, "died")
    assert ended(second.fly(30)) == [("fake:theirs.1", Event.FAILED)]
    assert len(compute.submitted) == 1


def test_many_batch_jobs_of_the_amazon_providers_executor_are_taken_over_by_one_listing() -> None:
    """It keeps bare job ids, which look like Airflow's own external ids; to look for each would take minutes at AWS's
    rates."""
    world = World()
    theirs = [str(uuid.uuid4()) for _ in range(300)]
    for job_id in theirs:
        world.jobs[job_id] = {"jobName": "constant", "jobQueue": "jq"}
        world.shown[job_id] = {"status": "RUNNING", "startedAt": 1}
    tower = Tower(world.compute(together=False))  # type: ignore[arg-type]
    for job_id in theirs:
        tower.order(job_id, began=True, adopted=True)
    tower.fly(3)
    assert {flight.ref for flight in tower.fleet._context.index} == {*theirs}
    assert world.calls.count("ListJobs") <= 5, "one for each state that is alive"
    world.shown[theirs[7]] = {"status": "FAILED", "container": {"exitCode": 137}, "startedAt": 1}
    assert ended(tower.fly(30)) == [(theirs[7], Event.FAILED)]


def test_the_container_of_one_that_is_reset_is_found_and_stopped() -> None:
    compute = left_behind(1, "running")
    second = Tower(compute)
    second.order("x0", key="orphan", began=True, repeat=False, adopted=True)
    second.fleet.revoke("orphan", "Airflow starts this task instance anew")
    assert [one for one in second.fly(10) if one.stage is Stage.ENDED] == []
    assert compute.alive() == []
    assert second.flights() == 0


# The executor.


made = pytest.fixture(makers)


def instance(external_id: str | None, state: str, **fields: Any) -> Any:
    """A row of a task instance whose DAG is gone: nothing of its workload can be made."""
    key = key_of(task_workload(external_id or "t"))
    names = dict.fromkeys(("dag_id", "task_id", "run_id", "map_index", "try_number"), "1")
    return SimpleNamespace(
        external_executor_id=external_id, state=state, key=key, queue="default", executor_config={}, **names, **fields
    )


def test_a_running_one_whose_dag_is_gone_is_taken_over_all_the_same(made: Callable[..., TestedExecutor]) -> None:
    compute = left_behind(1, "running")
    executor = made(compute)
    ti = instance("x0", "running")
    assert executor.try_adopt_task_instances([ti]) == []
    compute.exit("fake:x0.1", 137, "OutOfMemory")
    until(lambda: executor.event_buffer, executor, 60)
    assert executor.event_buffer[ti.key] == ("failed", "OutOfMemory")


def test_a_queued_one_whose_dag_is_gone_is_reset_and_its_container_stopped(
    made: Callable[..., TestedExecutor],
) -> None:
    compute = left_behind(1, "queued")
    executor = made(compute)
    ti = instance("x0", "queued")
    assert executor.try_adopt_task_instances([ti]) == [ti]
    until(lambda: not compute.alive(), executor, 60)
    assert executor.event_buffer == {}
    assert not executor.running


def test_adopting_twice_is_adopting_once(made: Callable[..., TestedExecutor]) -> None:
    """``run_with_db_retries`` may run the scheduler's adoption again after a broken transaction."""
    compute = left_behind(1, "running")
    executor = made(compute)
    ti = instance("x0", "running")
    for _ in range(2):
        assert executor.try_adopt_task_instances([ti]) == []
    assert len(executor._live[ti.key]) == 1


def test_adoption_asks_aws_nothing_in_the_schedulers_loop(made: Callable[..., TestedExecutor]) -> None:
    class Slow(FakeCompute):
        def find(self, attempt: Any) -> list[str]:
            time.sleep(6)
            return super().find(attempt)

        def census(self) -> dict[str, list[str]]:
            time.sleep(6)
            return super().census()

    executor = made(Slow())
    began = time.perf_counter()
    executor.try_adopt_task_instances([instance(f"x{number}", "running") for number in range(200)])
    assert time.perf_counter() - began < 5


def test_the_end_is_there_with_the_answer_of_the_last_launch(made: Callable[..., TestedExecutor]) -> None:
    """Not after ``end_seconds`` (10): Airflow kills a scheduler that is slow to go."""
    asked, gate = Bell(), Bell()

    class Slow(FakeCompute):
        def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
            asked.set()
            gate.wait(60)
            return super().submit(attempts)

    executor = made(Slow())
    queue(executor, task_workload())
    until(asked.is_set, executor, 60)
    timer = Timer(0.3, gate.set)
    timer.start()
    began = time.perf_counter()
    executor.end()
    assert 0.2 < time.perf_counter() - began < 5
    timer.join()


def test_the_end_launches_nothing_leaves_what_runs_and_is_soon(made: Callable[..., TestedExecutor]) -> None:
    compute = FakeCompute()
    executor = made(compute)
    queue(executor, task_workload("runs"))
    until(compute.alive, executor, 60)
    compute.run(compute.alive()[0])
    queue(executor, *(task_workload(f"t{number}") for number in range(100)))
    began = time.perf_counter()
    executor.end()
    assert time.perf_counter() - began < 5
    before = list(compute.submitted)
    queue(executor, task_workload("late"))
    executor.heartbeat()
    time.sleep(0.2)
    assert compute.submitted == before
    assert compute.stops == []
    assert compute.alive()


def test_the_end_does_not_wait_for_a_call_that_hangs(made: Callable[..., TestedExecutor]) -> None:
    gate = Bell()

    class Hangs(FakeCompute):
        def submit(self, attempts: Any) -> Any:
            gate.wait(30)
            return super().submit(attempts)

    compute = Hangs()
    executor = made(compute)
    executor._threads._most = 0.5  # type: ignore[union-attr]
    queue(executor, task_workload())
    executor.heartbeat()
    time.sleep(0.1)
    began = time.perf_counter()
    executor.terminate()
    took = time.perf_counter() - began
    gate.set()
    assert took < 5
