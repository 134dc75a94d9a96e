"""Every way in which ECS says that there is no room is a shortage, and nothing else is; what events and clusters
add to a task."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.executor_airflow import ecs_conf
from tests.unit.executors.test_executor_ecs import Ecs, attempt, ecs_task, refusal

from skylift.aws.ecs.tasks import EcsTasks, task_of
from skylift.core.attempt import Attempt, Phase, Verdict, verdict
from skylift.executors.ecs import EcsCompute, airflows, observation, sighting
from skylift.executors.in_container.payload import Payloads
from skylift.executors.options.ecs import ecs_options

pytestmark = pytest.mark.unit
ARN = "arn:aws:ecs:us-east-1:123456789012:task/{}/{}"


def compute_of(ecs: Any, **options: str) -> EcsCompute:
    return EcsCompute(EcsTasks(ecs, "c"), ecs_options(ecs_conf(launch_type="FARGATE", **options)), Payloads())


FAILURES = [
    "RESOURCE:MEMORY",
    "RESOURCE:CPU",
    "RESOURCE:GPU",
    "RESOURCE:ENI",
    "RESOURCE:PORTS",
    "AGENT",
    "EMPTY CAPACITY PROVIDER",
    "NO ACTIVE INSTANCES",
    "Capacity is unavailable at this time. Please try again later or in a different availability zone",
]

ERRORS = [
    ("ClientException", "The quota of tasks in the PROVISIONING state per cluster has been reached."),
    ("ClientException", "Capacity is unavailable at this time. Please try again later"),
    ("InvalidParameterException", "No Container Instances were found in your cluster."),
    ("InvalidParameterException", "Unexpected EC2 error: (Error Code: InsufficientInstanceCapacity; Status Code: 500)"),
    ("ServerException", "We currently do not have sufficient capacity: InsufficientInstanceCapacity"),
    ("ClientException", "Unexpected EC2 error while attempting to create network interface: "
                        "InsufficientFreeAddressesInSubnet"),
]  # fmt: skip


@pytest.mark.parametrize("reason", FAILURES)
def test_a_failure_for_want_of_room_is_a_shortage(reason: str) -> None:
    (answer,) = compute_of(Ecs(run_task={"tasks": [], "failures": [{"reason": reason}]})).submit([attempt()])
    assert answer.shortage
    assert reason in answer.later
    assert not answer.throttled


@pytest.mark.parametrize(("code", "text"), ERRORS)
def test_an_error_for_want_of_room_is_a_shortage(code: str, text: str) -> None:
    (answer,) = compute_of(Ecs(run_task=refusal(code, text))).submit([attempt()])
    assert answer.shortage
    assert text in answer.later


@pytest.mark.parametrize(
    "error",
    [
        refusal("AccessDeniedException", "not authorized on resource: arn:aws:ecs:::task-definition/AGENT"),
        refusal("ClientException", "TaskDefinition not found."),
        refusal("InvalidParameterException", "The specified capacity provider X was not found."),
    ],
)
def test_other_refusals_are_none(error: Exception) -> None:
    (answer,) = compute_of(Ecs(run_task=error)).submit([attempt()])
    assert answer.refused
    assert not answer.shortage


def test_throttling_is_no_shortage() -> None:
    text = "Unexpected EC2 error: Rate exceeded (ErrorCode: Throttling): InsufficientInstanceCapacity"
    (answer,) = compute_of(Ecs(run_task=refusal("InvalidParameterException", text))).submit([attempt()])
    assert answer.throttled
    assert not answer.shortage


@pytest.mark.parametrize(
    ("stop", "began", "shortage"),
    [
        (
            "Capacity is unavailable at this time. Please try again later or in a different availability zone",
            False,
            True,
        ),
        ("EMPTY CAPACITY PROVIDER", False, True),
        ("CannotPullContainerError: not found", False, False),
        ("Capacity is unavailable at this time.", True, False),
    ],
)
def test_an_ecs_task_that_failed_to_start_for_want_of_room(stop: str, began: bool, shortage: bool) -> None:
    document = ecs_task(stopCode="TaskFailedToStart", stoppedReason=stop, containers=[])
    if began:
        document["startedAt"] = 1
    seen = observation("arn:1", task_of(document), "airflow")
    assert seen.shortage is shortage
    assert verdict(seen) is (Verdict.DIED if began else Verdict.LOST)


def test_a_token_whose_first_request_came_to_nothing_waits_and_one_that_was_placed_is_taken() -> None:
    class Tokens(Ecs):
        """RunTask answers a conflict without saying with what; ListTasks knows more."""

        arns: tuple[str, ...] = ()

        def get_paginator(self, name: str) -> Any:
            return self

        def paginate(self, **request: Any) -> Any:
            return [{"taskArns": [arn for arn in self.arns if request["desiredStatus"] == "RUNNING"]}]

    ecs = Tokens(run_task=refusal("ConflictException"))
    (answer,) = compute_of(ecs).submit([attempt()])
    assert answer.later
    assert not answer.refused
    ecs.arns = ("arn:1",)
    (answer,) = compute_of(ecs).submit([attempt()])
    assert answer.ref == "arn:1"


class Clusters:
    """DescribeTasks and StopTask by cluster, as ECS has them; one of the clusters is gone."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def describe_tasks(self, cluster: str, tasks: list[str]) -> Any:
        self.asked += [(cluster, arn) for arn in tasks]
        if cluster == "gone":
            raise refusal("ClusterNotFoundException")
        return {"tasks": [{"taskArn": arn, "lastStatus": "RUNNING"} for arn in tasks]}

    def stop_task(self, cluster: str, task: str, reason: str) -> None:
        self.asked.append((cluster, task))


def test_each_ecs_task_is_looked_for_in_its_own_cluster_and_a_deleted_one_hides_no_other() -> None:
    ecs = Clusters()
    arns = [
        ARN.format("c", 1),
        ARN.format("second", 2),
        ARN.format("gone", 3),
        "arn:aws:ecs:us-east-1:123456789012:task/4",
    ]
    phases = {one.ref: one.phase for one in compute_of(ecs).observe(arns)}
    assert [phases[arn] for arn in arns] == [Phase.RUNNING, Phase.RUNNING, Phase.MISSING, Phase.RUNNING]
    assert sorted(ecs.asked) == sorted([("c", arns[0]), ("second", arns[1]), ("gone", arns[2]), ("c", arns[3])])
    ecs.asked.clear()
    compute_of(ecs).stop(arns[1], "why")
    assert ecs.asked == [("second", arns[1])]


def test_airflows_container_is_the_one_that_the_overrides_tell() -> None:
    ours = {"name": "work", "environment": [{"name": "AIRFLOW_IS_EXECUTOR_CONTAINER", "value": "true"}]}
    containers = [{"name": "proxy", "exitCode": 143}, {"name": "work", "exitCode": 0}]
    document = ecs_task(containers=containers, overrides={"containerOverrides": [{"name": "proxy"}, ours]}, startedAt=1)
    assert observation("arn:1", task_of(document), "airflow").exit_code == 0
    alone = task_of(ecs_task(containers=[{"name": "other", "exitCode": 3}], startedAt=1))
    assert getattr(airflows(alone, "airflow"), "name", "") == "other"


def test_an_event_is_read_as_describe_tasks_is() -> None:
    detail = ecs_task(code=137, startedAt="2026-01-01T00:00:00Z", version=7, startedBy="the-id", group="family:t")
    seen = sighting(detail, "airflow")
    assert seen is not None
    assert (seen.ref, seen.version, seen.external_id, seen.exit_code) == ("arn:1", 7, "the-id", 137)
    assert sighting(detail | {"group": "service:web"}, "airflow") is None


def test_what_is_looked_for_after_a_restart_is_looked_for_where_its_queue_put_it() -> None:
    class Lists:
        """ListTasks, which keeps the clusters that it was asked for."""

        def __init__(self) -> None:
            self.clusters: list[str] = []

        def get_paginator(self, name: str) -> Any:
            return self

        def paginate(self, cluster: str, **request: Any) -> Any:
            self.clusters.append(cluster)
            return [{"taskArns": []}]

    ecs = Lists()
    compute = compute_of(ecs, skylift_queues='{"gpu": {"cluster": "second"}}')
    for fields in ({}, {"queue": "gpu"}, {"queue": "gpu", "executor_config": {"cluster": "third"}}):
        compute.find(Attempt("id", 1, lambda: "{}", **fields))
    assert ecs.clusters == ["c", "c", "second", "second", "third", "third"]
