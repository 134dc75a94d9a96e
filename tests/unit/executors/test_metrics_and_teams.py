"""Events are counted under declared names with tags, without slowing the heartbeat; every kind of workload; teams."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.unit.executor_airflow import task_workload
from tests.unit.executor_tower import Tower
from tests.unit.executors.test_executor_heartbeat import TestedExecutor, queue, until

from skylift.core.attempt import Exit, Submission
from skylift.core.errors import Unavailable
from skylift.executors import airflow_compat
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.flight import AirflowState, Order
from skylift.executors.fleet.metrics import METRICS, AirflowMeter, Sort

pytestmark = pytest.mark.unit


class AllButOne(AirflowState):
    """Airflow wants everything but ``x9``."""

    def wanted(self, orders: Sequence[Order]) -> list[str]:
        return [one.subject for one in orders if one.subject != "x9"]


def test_every_declared_metric_is_reported_by_a_day_with_everything_in_it() -> None:
    compute = FakeCompute()
    tower = Tower(compute, token=100.0, grace=20.0, airflow=AllButOne())
    compute.refusals["submit"] = [
        Submission(later="Rate exceeded", throttled=True),
        Submission(later="RESOURCE:CPU", shortage=True),
        Submission(refused="no such task definition"),
    ]
    for number in range(10):
        tower.order(f"x{number}", queue="gpu")
    tower.fly(20)
    one, two, three, four, *_ = [ref for ref in compute.alive() if "x9" not in ref]
    compute.run(one)
    compute.fail_to_start(two)
    compute.fail_to_start(three, shortage=True)
    compute.refusals["observe"] = [Unavailable("no")]
    tower.fly(20)
    compute.exit(one, 137)
    compute.hidden = {four}
    tower.fly(400)
    tower.fleet.sighted(compute.history)
    tower.fly(1)
    missing = {metric.name for metric in METRICS} - {*tower.tally.values} - {"drift"}
    assert missing == set()
    given = {name: {frozenset(tags) for _, tags in values} for name, values in tower.tally.values.items()}
    declared = {metric.name: {frozenset(metric.tags)} for metric in METRICS}
    assert given == {name: declared[name] for name in given}, "what docs/metrics.md says of each"
    assert tower.tally.sum("launches", queue="gpu", kind="task") >= 9
    assert tower.tally.sum("calls", verb="submit", outcome="shortage") == 1
    assert {tags["why"] for _, tags in tower.tally.values["repeats"]} >= {"lost", "shortage", "missing", "token"}
    assert all(0 <= value < 500 for value, _ in tower.tally.values["queued_seconds"])


def test_the_figures_of_three_workloads() -> None:
    """One runs, one waits for its container, one has none yet."""
    compute = FakeCompute()
    tower = Tower(compute, gauge=10.0, capacity=1000.0)
    tower.order("runs", queue="gpu")
    tower.fly(2)
    compute.run(compute.alive()[0])
    tower.order("waits")
    tower.fly(3)
    compute.refusals["submit"] = [Submission(later="RESOURCE:CPU", shortage=True)] * 9
    tower.order("has none")
    tower.fly(15)
    values = tower.tally.values
    last = {name: values[name][-1][0] for name in ("pending", "waiting", "running")}
    assert last == {"pending": 1, "waiting": 1, "running": 1}
    # Waits have a random part, so the clock may stand a little after a whole second.
    assert int(values["oldest_pending_seconds"][-1][0]) in (8, 18), "since the second was ordered"
    assert {round(value) for value, _ in values["launch_rate"]} == {20}
    assert values["queued_seconds"] == [(0.0, {"queue": "gpu", "kind": "task"}), (0.0, {"queue": "", "kind": "task"})]
    ((took, tags),) = values["start_seconds"]
    assert (2.0 <= took <= 5.0, tags) == (True, {"queue": "gpu", "kind": "task"})
    assert {value for value, _ in values["call_seconds"]} == {0.0}, "the clock stood still meanwhile"
    assert tower.tally.sum("launches") == 2


class Stats:
    """Has what Airflow's Stats has."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, float, dict[str, str]]] = []

    def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: dict[str, str]) -> None:
        self.lines.append(("incr", stat, count, tags))

    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None:
        self.lines.append(("gauge", stat, value, tags))

    def timing(self, stat: str, dt: float, *, tags: dict[str, str]) -> None:
        self.lines.append(("timing", stat, dt, tags))


def test_airflows_stats_get_names_tags_and_milliseconds() -> None:
    stats = Stats()
    meter = AirflowMeter(stats, executor="AwsEcsExecutor", team=None)
    meter.count("launches", queue="gpu", kind="task")
    meter.gauge("pending", 3)
    meter.time("call_seconds", 0.25, verb="submit")
    assert stats.lines == [
        ("incr", "skylift.launches", 1, {"executor": "AwsEcsExecutor", "queue": "gpu", "kind": "task"}),
        ("gauge", "skylift.pending", 3, {"executor": "AwsEcsExecutor"}),
        ("timing", "skylift.call_seconds", 250.0, {"executor": "AwsEcsExecutor", "verb": "submit"}),
    ]


def test_a_metrics_server_that_is_broken_costs_no_work(caplog: pytest.LogCaptureFixture) -> None:
    meter = AirflowMeter(object(), executor="x")
    for _ in range(5):
        meter.count("launches")
        meter.gauge("pending", 1)
        meter.time("call_seconds", 1)
    assert len([line for line in caplog.messages if "cannot be reported" in line]) == 1


def test_airflows_own_stats_take_them() -> None:
    """The real ones of this Airflow: names that its validators refuse would raise here."""
    meter = AirflowMeter(airflow_compat.stats, executor="AwsEcsExecutor", team="a")
    for metric in METRICS:
        tags = dict.fromkeys(metric.tags, "x")
        if metric.sort is Sort.COUNTER:
            meter.count(metric.name, **tags)
        elif metric.sort is Sort.GAUGE:
            meter.gauge(metric.name, 1.0, **tags)
        else:
            meter.time(metric.name, 1.0, **tags)
    assert not meter._broken


@pytest.fixture
def executors() -> Iterator[list[TestedExecutor]]:
    made: list[TestedExecutor] = []
    yield made
    for executor in made:
        executor.end()


def connection_test() -> Any:
    kind: Any = airflow_compat.TestConnection
    return kind(token="t", connection_test_id=uuid.uuid4(), connection_id="c", timeout=60)


@pytest.mark.skipif(airflow_compat.TestConnection is None, reason="connection tests came with Airflow 3.3")
def test_connection_tests_run_once_and_are_stopped_when_their_time_is_over(executors: list[TestedExecutor]) -> None:
    compute = FakeCompute()
    executors.append(executor := TestedExecutor(compute))
    executor.start()
    first, second = connection_test(), connection_test()
    queue(executor, first, second)
    until(lambda: len(compute.alive()) == 2, executor, 60)
    assert not executor.queued_connection_tests
    assert '"type":"TestConnection"' in compute.documents[f"fake:{first.connection_test_id}.1"]
    compute.exit(f"fake:{first.connection_test_id}.1", Exit.DONE)
    until(lambda: executor.running == {second.key}, executor, 60)
    executor.fail_connection_test(second.key)
    until(lambda: not compute.alive(), executor, 60)
    assert not executor.running
    assert len(compute.submitted) == 2


class TeamExecutor(TestedExecutor):
    """As ``TestedExecutor``, of a team."""

    __test__ = False

    def __init__(self, compute: FakeCompute, team: str) -> None:
        super().__init__(compute)
        self.team_name = team


def test_two_teams_in_one_scheduler_do_not_meet(executors: list[TestedExecutor]) -> None:
    east, west = FakeCompute(), FakeCompute()
    executors += [TeamExecutor(east, "east"), TeamExecutor(west, "west")]
    for number, executor in enumerate(executors):
        executor.start()
        queue(executor, task_workload(f"t{number}"))
    until(east.alive, executors[0], 60)
    until(west.alive, executors[1], 60)
    east.exit(east.alive()[0], 137, "east only")
    until(lambda: executors[0].event_buffer, executors[0], 60)
    executors[1].heartbeat()
    assert len(east.submitted) == len(west.submitted) == 1
    assert executors[1].event_buffer == {}
    assert len(executors[1].running) == 1
