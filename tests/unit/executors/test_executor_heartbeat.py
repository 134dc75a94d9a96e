"""The executor in front of Airflow's scheduler: no exception, no waiting, the right event, revoking, adopting,
ending."""

from __future__ import annotations

import inspect
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from threading import Event as Bell
from types import SimpleNamespace
from typing import Any

import botocore.exceptions
import pytest
from tests.unit.executor_airflow import callback_workload, ecs_conf, task_workload

from skylift.aws.ecs.tasks import EcsTasks
from skylift.core.attempt import Attempt, Compute, Exit, Submission
from skylift.executors.airflow_compat import ExecuteCallback, document_of, key_of
from skylift.executors.ecs import EcsCompute
from skylift.executors.executor import SkyliftExecutor
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.flight import AirflowState, Order
from skylift.executors.fleet.timing import Timing
from skylift.executors.in_container.payload import Payloads
from skylift.executors.options.ecs import ecs_options

pytestmark = pytest.mark.unit


class AllWanted(AirflowState):
    """All are wanted, without a word how they stand: there is no database of Airflow here."""

    def wanted(self, orders: Sequence[Order]) -> Collection[str]:
        return {order.subject for order in orders}


class TestedExecutor(SkyliftExecutor):
    """Our executor on the fake compute."""

    __test__ = False

    def __init__(self, compute: Compute, **timing: float) -> None:
        super().__init__(parallelism=1000)
        self.given = compute
        self.changes = timing

    def timing(self) -> Timing:
        return replace(super().timing(), **{"young": 0.1, **self.changes})  # type: ignore[arg-type]

    def make_compute(self) -> Compute:
        return self.given

    def most_attempts(self) -> int:
        return 3

    def airflow_state(self) -> AirflowState:
        return AllWanted()


def makers() -> Iterator[Callable[..., TestedExecutor]]:
    """Makes executors that are started, and ends them."""
    executors: list[TestedExecutor] = []

    def make(compute: Compute, **timing: float) -> TestedExecutor:
        executors.append(TestedExecutor(compute, **timing))
        executors[-1].start()
        return executors[-1]

    yield make
    for executor in executors:
        executor.end()


made = pytest.fixture(makers)


def until(condition: Callable[[], Any], executor: TestedExecutor | None = None, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        if executor:
            executor.heartbeat()
        time.sleep(0.02)


def queue(executor: TestedExecutor, *workloads: Any) -> None:
    for workload in workloads:
        executor.queue_workload(workload, session=None)


def botocore_errors() -> list[Exception]:
    """One of every class in botocore.exceptions that can be made."""
    made: list[Exception] = []
    for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass):
        if issubclass(kind, botocore.exceptions.BotoCoreError):
            words = {word.split("}")[0].split("!")[0]: "x" for word in getattr(kind, "fmt", "").split("{")[1:]}
            words |= {"last_response": {}} if kind is botocore.exceptions.WaiterError else {}
            made.append(kind(**words))
    made.append(botocore.exceptions.ClientError({"Error": {"Code": "ExpiredToken", "Message": "x"}}, "RunTask"))
    return made


class BrokenEcs:
    """Stands where boto3's client would: every second RunTask works, every other call raises, each time another
    error."""

    def __init__(self) -> None:
        self.errors = botocore_errors()
        self.raised: Counter[str] = Counter()
        self.launches = 0

    def run_task(self, **request: Any) -> Any:
        self.launches += 1
        if self.launches % 2:
            return {"tasks": [{"taskArn": f"arn:{self.launches}"}]}
        return self.fail("run")

    def describe_tasks(self, **request: Any) -> Any:
        return self.fail("describe")

    def get_paginator(self, name: str) -> Any:
        return self.fail(name)

    def fail(self, call: str) -> Any:
        error = self.errors[self.raised[call] % len(self.errors)]
        self.raised[call] += 1
        raise error


def test_heartbeat_never_raises_whatever_botocore_raises(made: Callable[..., TestedExecutor]) -> None:
    ecs = BrokenEcs()
    assert len(ecs.errors) > 50
    executor = made(
        EcsCompute(EcsTasks(ecs), ecs_options(ecs_conf(launch_type="FARGATE")), Payloads()),
        launches=1000.0,
        looks=1000.0,
    )
    for number in range(len(ecs.errors)):
        queue(executor, task_workload(), callback_workload() if ExecuteCallback else task_workload(f"t{number}"))
        executor.heartbeat()
    until(lambda: ecs.raised["run"] >= len(ecs.errors) and ecs.raised["describe"] >= 2, executor)


@pytest.mark.parametrize("config", [{"command": ["x"]}, {"name": "x"}, {"overrides": 3}, {1: 2}])
def test_heartbeat_never_raises_whatever_an_author_writes(
    made: Callable[..., TestedExecutor], config: dict[Any, Any]
) -> None:
    executor = made(FakeCompute())
    queue(executor, task_workload(executor_config=config))
    executor.heartbeat()
    assert not executor.queued_tasks


def test_heartbeat_does_not_wait_for_the_network(made: Callable[..., TestedExecutor]) -> None:
    gate = Bell()

    class Slow(FakeCompute):
        def submit(self, attempts: Any) -> list[Submission]:
            gate.wait(20)
            return super().submit(attempts)

    executor = made(Slow())
    queue(executor, *(task_workload(f"t{number}") for number in range(50)))
    started = time.perf_counter()
    for _ in range(5):
        executor.heartbeat()
    elapsed = time.perf_counter() - started
    gate.set()
    assert elapsed < 0.5, f"{elapsed:.3f} s for 5 heartbeats with 50 launches"
    assert len(executor.running) == 50


def test_a_finished_task_frees_its_slot_without_an_event(made: Callable[..., TestedExecutor]) -> None:
    compute = FakeCompute()
    executor = made(compute)
    queue(executor, task_workload())
    until(compute.alive, executor)
    (ref,) = compute.alive()
    assert '"token":"secret-token"' in compute.documents[ref]
    compute.exit(ref, Exit.DONE)
    until(lambda: not executor.running, executor)
    assert executor.get_event_buffer() == {}


def test_the_scheduler_does_not_sleep_when_slots_have_come_free(made: Callable[..., TestedExecutor]) -> None:
    """By the length of what is left of the events when it has popped them, the scheduler knows whether it was idle."""
    compute = FakeCompute()
    executor = made(compute)
    executor.parallelism = 4
    assert len(executor.get_event_buffer()) == 0
    for code in (Exit.DONE, 137):
        queue(executor, task_workload())
        until(compute.alive, executor)
        compute.exit(compute.alive()[0], code)
        until(lambda: not executor.running, executor)
        events = executor.get_event_buffer()
        for key in list(events):
            del events[key]
        assert len(events) == 1
        assert len(executor.get_event_buffer()) == 0


def test_the_scheduler_sleeps_when_few_of_many_slots_have_come_free(made: Callable[..., TestedExecutor]) -> None:
    """It would look into the database for each container that ends; it sees the slots when it has slept."""
    compute = FakeCompute()
    executor = made(compute)
    executor.parallelism = 8
    heard = []
    for _ in range(3):
        queue(executor, task_workload())
        until(compute.alive, executor)
        compute.exit(compute.alive()[0], Exit.DONE)
        until(lambda: not executor.running, executor)
        heard.append(len(executor.get_event_buffer()))
    assert heard == [0, 2, 0]
    assert executor.slots_available == 8


def test_a_slot_that_came_free_since_the_last_heartbeat_is_free_for_the_scheduler(
    made: Callable[..., TestedExecutor],
) -> None:
    """It counts slots before each heartbeat."""
    compute = FakeCompute()
    executor = made(compute)
    queue(executor, task_workload())
    until(compute.alive, executor)
    assert executor.slots_occupied == 1
    compute.exit(compute.alive()[0], 137, "OutOfMemoryError")
    until(lambda: executor.slots_occupied == 0)
    assert len(executor.get_event_buffer()) == 1


@pytest.mark.parametrize("workload", [task_workload, callback_workload])
def test_what_goes_well_leaves_no_line_in_any_log(
    made: Callable[..., TestedExecutor], workload: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    compute = FakeCompute()
    executor = made(compute)
    queue(executor, workload())
    until(compute.alive, executor)
    (ref,) = compute.alive()
    compute.run(ref)
    fleet = executor._fleet
    assert fleet is not None
    until(lambda: all(flight.began for flight in fleet._context.index), executor)
    compute.exit(ref, Exit.DONE)
    until(lambda: not executor.running, executor)
    executor.heartbeat()
    assert [*executor._task_event_logs] == []
    assert [record.getMessage() for record in caplog.records if ref in record.getMessage()] == []


def test_a_death_is_an_event_with_its_reason_and_a_line_in_the_event_log(
    made: Callable[..., TestedExecutor],
) -> None:
    compute = FakeCompute()
    executor = made(compute)
    workload = task_workload()
    queue(executor, workload)
    until(compute.alive, executor)
    compute.exit(compute.alive()[0], 137, "OutOfMemoryError")
    until(lambda: not executor.running, executor)
    assert executor.get_event_buffer() == {key_of(workload): ("failed", "OutOfMemoryError")}
    assert [(line.extra, line.task_id) for line in executor._task_event_logs] == [("OutOfMemoryError", "t")]


def test_a_deferred_task_that_is_back_before_its_first_container_is_seen_to_end(
    made: Callable[..., TestedExecutor],
) -> None:
    """Same key, same try, two launches: the first one's end must not be taken for the second's."""
    compute = FakeCompute()
    executor = made(compute)
    first = task_workload()
    again = first.model_copy(deep=True)
    again.ti.external_executor_id = "second-launch"
    queue(executor, first)
    until(compute.alive, executor)
    (ref,) = compute.alive()
    queue(executor, again)
    until(lambda: len(compute.alive()) == 2, executor)
    compute.exit(ref, 137, "died after it had deferred")
    until(lambda: len(executor._live[key_of(first)]) == 1, executor)
    assert executor.get_event_buffer() == {}
    assert executor.running == {key_of(first)}
    compute.exit("fake:second-launch.1", Exit.DONE)
    until(lambda: not executor.running, executor)


def test_callbacks_run_and_their_end_is_an_event(made: Callable[..., TestedExecutor]) -> None:
    compute = FakeCompute()
    executor = made(compute)
    callback = callback_workload()
    queue(executor, callback)
    until(compute.alive, executor)
    (ref,) = compute.alive()
    compute.run(ref)
    until(lambda: executor.event_buffer.get(key_of(callback), ("",))[0] == "running", executor)
    compute.exit(ref, Exit.DONE)
    until(lambda: executor.event_buffer[key_of(callback)][0] == "success", executor)


def test_a_revoked_task_is_stopped_without_an_event(made: Callable[..., TestedExecutor]) -> None:
    compute = FakeCompute()
    executor = made(compute)
    workload = task_workload()
    queue(executor, workload)
    until(compute.alive, executor)
    executor.revoke_task(ti=workload.ti)
    assert not executor.running
    until(lambda: compute.stops, executor)
    executor.heartbeat()
    assert executor.get_event_buffer() == {}


def test_what_cannot_be_taken_over_goes_back_to_airflow(made: Callable[..., TestedExecutor]) -> None:
    executor = made(FakeCompute())
    stranger = SimpleNamespace(external_executor_id=None)
    unreadable = SimpleNamespace(external_executor_id="x")
    assert executor.try_adopt_task_instances([stranger, unreadable]) == [stranger, unreadable]


def test_after_the_end_nothing_is_launched_and_the_end_is_soon(made: Callable[..., TestedExecutor]) -> None:
    compute = FakeCompute()
    executor = made(compute)
    started = time.perf_counter()
    executor.terminate()
    queue(executor, task_workload())
    executor.heartbeat()
    assert time.perf_counter() - started < 2
    assert compute.submitted == []


def test_a_renewed_token_reaches_the_next_attempt() -> None:
    workload = task_workload().model_copy(update={"token": ""})
    generator = SimpleNamespace(generate=lambda extras, valid_for=0: f"new for {extras['sub']}")
    attempt = Attempt("x", 2, document_of(workload, lambda: generator))
    assert f'"token":"new for {workload.ti.id}"' in attempt.document()
    assert workload.token == "", "Airflow's object is left as it is"
    assert "new for" not in repr(attempt)
