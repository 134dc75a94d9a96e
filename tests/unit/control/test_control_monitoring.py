"""MWAA's metrics of an environment, from what ECS and CloudWatch say; and PublishMetrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skylift.aws.ecs.services import DescribedService
from skylift.aws.ecs.tasks import DescribedTask
from skylift.aws.metrics import Series
from skylift.control.api.publish_metrics import publish
from skylift.control.monitoring import MOST_DESCRIBED, EnvironmentMonitor
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@dataclass
class Aws:
    """ECS and CloudWatch, as far as the monitor asks them."""

    running: dict[str, int] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    values: dict[tuple[str, ...], tuple[datetime, float]] = field(default_factory=dict)
    error: SkyliftError | None = None
    put_calls: list[tuple[str, list[Mapping[str, Any]]]] = field(default_factory=list)
    described: int = 0

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        if names and names[0].startswith("arn:"):
            assert len(names) <= MOST_DESCRIBED
            self.described += 1
            return {name: self._task(name) for name in names}
        return {name: self._service(name) for name in names if name in self.running}

    def family_tasks(self, family: str) -> list[str]:
        assert family == "skylift-mine-task"
        return [f"arn:{number}" for number in range(len(self.states))]

    def put(self, namespace: str, data: Sequence[Mapping[str, Any]]) -> None:
        if self.error is not None:
            raise self.error
        for one in data:
            assert {*one} == {"MetricName", "Value", "Unit", "Timestamp", "Dimensions"}
            assert all({*pair} == {"Name", "Value"} for pair in one["Dimensions"])
        self.put_calls.append((namespace, list(data)))

    def newest(self, series: Sequence[Series], since: datetime) -> list[tuple[datetime, float] | None]:
        assert since == NOW - timedelta(minutes=10), "CloudWatch has ECS's values some minutes late"
        owner = {"AWS/ECS": "ServiceName", "ECS/ContainerInsights": "TaskDefinitionFamily"}
        assert all([*one.dimensions] == ["ClusterName", owner[one.namespace]] for one in series)
        return [self.values.get((one.namespace, one.name, *one.dimensions.values())) for one in series]

    def taken(self) -> dict[tuple[str, ...], float]:
        found = {
            (one["MetricName"], *(pair["Value"] for pair in one["Dimensions"])): one["Value"]
            for _, data in self.put_calls
            for one in data
        }
        self.put_calls = []
        return found

    def _service(self, name: str) -> DescribedService:
        return DescribedService(name, "ACTIVE", "d", 2, self.running[name], 0, failed=0, settled=True, events=())

    def _task(self, arn: str) -> DescribedTask:
        state = self.states[int(arn.partition(":")[2])]
        return DescribedTask(arn, state, "RUNNING", "", "", True, "", ())


def monitor(aws: Aws, namespace: str = "AWS/MWAA") -> EnvironmentMonitor:
    return EnvironmentMonitor(lambda: ["mine"], aws, aws, aws, "c", namespace, NOW.timestamp)


def test_what_runs_is_counted() -> None:
    aws = Aws(running={"skylift-mine-scheduler": 2, "skylift-mine-api-server": 3}, states=["RUNNING"] * 2)
    aws.states += ["PROVISIONING", "PENDING", "DEPROVISIONING"]
    monitor(aws).look()
    assert {namespace for namespace, _ in aws.put_calls} == {"AWS/MWAA"}
    assert aws.taken() == {
        ("NumSchedulers", "Scheduler", "mine"): 2,
        ("NumWebServers", "WebServer", "mine"): 3,
        ("QueuedTasks", "skylift-mine-task", "mine"): 2,
        ("RunningTasks", "skylift-mine-task", "mine"): 2,
    }


def test_dimensions_and_units_are_mwaas() -> None:
    """MWAA user guide, "Container, queue, and database metrics for Amazon MWAA"."""
    aws = Aws(running={"skylift-mine-scheduler": 1}, states=["RUNNING"])
    aws.values = {("AWS/ECS", "CPUUtilization", "c", "skylift-mine-triggerer"): (NOW, 1.0)}
    monitor(aws).look()
    told = {
        (one["MetricName"], one["Unit"], *(pair["Name"] for pair in one["Dimensions"]))
        for _, data in aws.put_calls
        for one in data
    }
    assert told == {
        ("NumSchedulers", "Count", "Cluster", "Environment"),
        ("NumWebServers", "Count", "Cluster", "Environment"),
        ("QueuedTasks", "Count", "Queue", "Environment"),
        ("RunningTasks", "Count", "Queue", "Environment"),
        ("CPUUtilization", "Percent", "Cluster", "Environment"),
    }
    assert ("CPUUtilization", "Triggerer", "mine") in aws.taken()


def test_a_component_that_is_missing_counts_none_and_an_environment_without_services_is_left_out() -> None:
    aws = Aws(running={"skylift-mine-api-server": 1})
    monitor(aws).look()
    assert aws.taken()["NumSchedulers", "Scheduler", "mine"] == 0
    aws.running = {}
    monitor(aws).look()
    assert aws.put_calls == []


def test_thousands_of_ecs_tasks_are_described_by_the_hundred() -> None:
    aws = Aws(running={"skylift-mine-scheduler": 1}, states=["RUNNING"] * 250)
    monitor(aws).look()
    assert aws.described == 3
    assert aws.taken()["RunningTasks", "skylift-mine-task", "mine"] == 250


def test_cpu_and_memory_are_those_of_ecs_told_once() -> None:
    insights = "ECS/ContainerInsights"
    aws = Aws()
    aws.values = {
        ("AWS/ECS", "CPUUtilization", "c", "skylift-mine-scheduler"): (NOW, 12.5),
        ("AWS/ECS", "MemoryUtilization", "c", "skylift-mine-dag-processor"): (NOW, 40.0),
        (insights, "CpuUtilized", "c", "skylift-mine-task"): (NOW, 512.0),
        (insights, "CpuReserved", "c", "skylift-mine-task"): (NOW, 1024.0),
        (insights, "MemoryUtilized", "c", "skylift-mine-task"): (NOW, 100.0),
    }
    mine = monitor(aws)
    mine.look()
    assert aws.taken() == {
        ("CPUUtilization", "Scheduler", "mine"): 12.5,
        ("MemoryUtilization", "DagProcessor", "mine"): 40.0,
        ("CPUUtilization", "BaseWorker", "mine"): 50.0,
    }
    mine.look()
    assert aws.taken() == {}
    aws.values["AWS/ECS", "CPUUtilization", "c", "skylift-mine-scheduler"] = (NOW + timedelta(minutes=1), 13.0)
    mine.look()
    assert aws.taken() == {("CPUUtilization", "Scheduler", "mine"): 13.0}


def test_an_error_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    aws = Aws(running={"skylift-mine-scheduler": 1}, error=Unavailable("ecs DescribeServices: no answer"))
    mine = monitor(aws)
    mine.look()
    mine.look()
    assert len(caplog.records) == 1
    aws.error = None
    mine.look()
    assert aws.taken()["NumSchedulers", "Scheduler", "mine"] == 1


def request(**metric: Any) -> dict[str, Any]:
    return {"EnvironmentName": "mine", "MetricData": [{"MetricName": "M", "Timestamp": NOW, **metric}]}


def test_published_metrics_are_the_environments() -> None:
    aws = Aws()
    other = [{"Name": "Environment", "Value": "theirs"}, {"Name": "Pool", "Value": "p"}]
    publish(request(Value=3.0, Unit="Count", Dimensions=other), aws)
    ((namespace, (one,)),) = aws.put_calls
    assert namespace == "AmazonMWAA"
    assert one["Dimensions"] == [{"Name": "Pool", "Value": "p"}, {"Name": "Environment", "Value": "mine"}]
    assert (one["MetricName"], one["Value"], one["Unit"], one["Timestamp"]) == ("M", 3.0, "Count", NOW)


def test_no_metrics_are_no_call() -> None:
    aws = Aws(error=Unavailable("away"))
    publish({"EnvironmentName": "mine", "MetricData": []}, aws)
    assert aws.put_calls == []


@pytest.mark.parametrize("metric", [{}, {"Value": 1.0, "StatisticValues": {"Sum": 1.0}}])
def test_a_metric_has_one_value(metric: dict[str, Any]) -> None:
    with pytest.raises(AwsError, match="Metric M: give Value or StatisticValues") as error:
        publish(request(**metric), Aws())
    assert error.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [(Refused("bad unit"), "ValidationException", 400), (Unavailable("away"), "InternalServerException", 500)],
)
def test_what_cloudwatch_says_is_told_in_mwaas_words(error: SkyliftError, code: str, status: int) -> None:
    with pytest.raises(AwsError) as raised:
        publish(request(Value=1.0), Aws(error=error))
    assert (raised.value.code, raised.value.status) == (code, status)
