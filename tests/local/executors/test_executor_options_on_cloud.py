"""Bad input, queues, fallbacks, tags and connections of ``AwsEcsExecutor`` on the local cloud's ECS: the author sees
AWS's error."""

from __future__ import annotations

import json
import os
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.local.ecs_cloud import OWNER, REGION, Cloud, definition, furnished
from tests.unit.executor_airflow import task_workload

from skylift.aws import signed
from skylift.aws.clients import client
from skylift.core.attempt import Attempt, Compute, Submission
from skylift.core.errors import Refused
from skylift.executors import Container
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.options.connection import session_of

pytestmark = pytest.mark.local

QUEUES = {
    "other-cluster": {"cluster": "second", "container_name": "main"},
    "wrong-container": {"container_name": "nobody"},
    "old": {"task_definition": "old:1"},
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with furnished(tmp_path_factory.mktemp("cloud")) as running:
        ecs = running.client()
        ecs.put_cluster_capacity_providers(
            cluster="default", capacityProviders=["FARGATE", "FARGATE_SPOT"], defaultCapacityProviderStrategy=[]
        )
        ecs.create_cluster(clusterName="second")
        tagged = [{"key": "from", "value": "definition"}]
        ecs.register_task_definition(**definition("sleep", "60"), tags=tagged)
        old = definition("sleep", "60") | {"family": "old"}
        ecs.register_task_definition(**old)
        ecs.deregister_task_definition(taskDefinition="old:1")
        yield running


@pytest.fixture(autouse=True)
def _configured(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that reaches AWS stands in an Airflow connection; nothing in AWS's own variables."""
    extra = {"region_name": REGION, "endpoint_url": cloud.url}
    connection = {"conn_type": "aws", "login": OWNER.access_key, "password": OWNER.secret, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(connection))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ECS_EXECUTOR__CONN_ID": "cloud",
        "AWS_ECS_EXECUTOR__CLUSTER": "default",
        "AWS_ECS_EXECUTOR__CONTAINER_NAME": "main",
        "AWS_ECS_EXECUTOR__TASK_DEFINITION": "work",
        "AWS_ECS_EXECUTOR__SUBNETS": "subnet-1",
        "AWS_ECS_EXECUTOR__LAUNCH_TYPE": "FARGATE",
        "SKYLIFT__QUEUES": json.dumps(QUEUES),
        "SKYLIFT__CAPACITY_FALLBACK": '["FARGATE_SPOT", "FARGATE"]',
    }.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)


def attempt(**fields: Any) -> Attempt:
    return Attempt(str(uuid.uuid4()), 1, lambda: "{}", **fields)


def submit(compute: Compute, **fields: Any) -> Submission:
    (answer,) = compute.submit([attempt(**fields)])
    return answer


BAD = [
    ({"executor_config": {"taskDefinition": "nope"}}, "executor_config taskDefinition = 'nope'", "TaskDefinition not "
                                                                                                 "found", "Register it"),
    ({"executor_config": Container(task_definition="nope:3")}, "executor_config taskDefinition = 'nope:3'", "not found", "Register it"),
    ({"queue": "old"}, "[skylift] queues 'old' task_definition = 'old:1'", "TaskDefinition is inactive", "deregistered"),
    ({"queue": "wrong-container"}, "[skylift] queues 'wrong-container' container_name = 'nobody'", "named nobody is "
                                                                                                   "not a container", "name the one"),
    ({"executor_config": {"overrides": {"containerOverrides": [{"name": "side"}]}}}, "executor_config "
                                                                                     "overrides.containerOverrides", "named side", ""),
    ({"executor_config": {"cluster": "gone"}}, "executor_config cluster = 'gone'", "ClusterNotFoundException", "Create the cluster"),
    ({"executor_config": {"capacityProviderStrategy": [{"capacityProvider": "asg"}]}}, "executor_config "
                                                                                       "capacityProviderStrategy", "was not found", "associated"),
    ({"executor_config": {"overrides": {"cpu": "512", "memory": "512"}}}, "executor_config overrides", "512", "pairs of cpu and memory"),
    ({"executor_config": {"memory": "4GiB"}}, "executor_config", 'Unknown parameter in input: "memory"', "must be one "
                                                                                                         "of"),
    ({"executor_config": {"overrides": {"containerOverrides": [{"memroy": 4096}]}}}, "executor_config", '"memroy"', "must be one of: name"),
]  # fmt: skip


def test_what_cannot_work_fails_at_once_and_says_which_option_what_aws_said_and_what_to_do() -> None:
    compute = AwsEcsExecutor().make_compute()
    for fields, option, said, advice in BAD:
        answer = submit(compute, **fields)
        assert answer.refused, f"{fields}: {answer}"
        assert answer.refused.startswith(option)
        for part in (said, advice):
            assert part in answer.refused, answer.refused
        assert "\n" not in answer.refused
    assert submit(compute).ref, "and the next one runs"


def test_the_scheduler_and_other_tasks_go_on() -> None:
    executor = AwsEcsExecutor(parallelism=4)
    executor.start()
    try:
        bad = task_workload("bad", executor_config={"taskDefinition": "nope"})
        wrong = task_workload("wrong", executor_config={"memory": "4GiB"})
        good = task_workload("good")
        for workload in (bad, wrong, good):
            executor.running.add(workload.ti.key)
        executor._process_workloads([bad, wrong, good])
        deadline = time.monotonic() + 60
        events: dict[str, tuple[str, Any]] = {}
        while {"bad", "wrong"} - {*events} or not executor.compute.find(attempt_of(good)):
            assert time.monotonic() < deadline, events
            executor.heartbeat()
            events |= {key.task_id: (str(state), info) for key, (state, info) in executor.get_event_buffer().items()}
            time.sleep(0.05)
        assert events["bad"][0] == events["wrong"][0] == "failed"
        assert "executor_config taskDefinition = 'nope'" in str(events["bad"][1])
        assert 'Unknown parameter in input: "memory"' in str(events["wrong"][1])
        assert "good" not in events
    finally:
        executor.end()


def attempt_of(workload: Any) -> Attempt:
    return Attempt(str(workload.ti.external_executor_id), 1, lambda: "{}")


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("AWS_ECS_EXECUTOR__CLUSTER", "gone", r"\[aws_ecs_executor\] cluster: ECS cluster 'gone' does not exist"),
        ("AWS_ECS_EXECUTOR__TASK_DEFINITION", "", r"\[aws_ecs_executor\] task_definition is not set"),
        (
            "AWS_ECS_EXECUTOR__RUN_TASK_KWARGS",
            '{"netwrk": 1}',
            r"\[aws_ecs_executor\] run_task_kwargs: Unknown parameter",
        ),
        ("AWS_ECS_EXECUTOR__CONN_ID", "gone", r"\[aws_ecs_executor\] conn_id: the connection 'gone' does not exist"),
        ("SKYLIFT__QUEUES", '{"q": {"cluster": "gone"}}', r"\[skylift\] queues 'q' cluster: ECS cluster 'gone'"),
        ("SKYLIFT__CAPACITY_FALLBACK", "SPOT", r"\[skylift\] capacity_fallback"),
        ("SKYLIFT__PAYLOAD_URL", "bucket/key", r"\[skylift\] payload_url"),
    ],
)
def test_a_wrong_global_option_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__{variable}", value)
    with pytest.raises(Refused, match=named) as refused:
        AwsEcsExecutor().make_compute()
    assert "\n" not in str(refused.value)


def test_a_queue_may_be_in_another_cluster_and_is_found_seen_and_stopped_there(cloud: Cloud) -> None:
    compute = AwsEcsExecutor().make_compute()
    there = attempt(queue="other-cluster")
    (answer,) = compute.submit([there])
    assert ":task/second/" in answer.ref
    assert compute.find(there) == [answer.ref]
    here = submit(compute).ref
    assert {one.ref for one in compute.observe([answer.ref, here]) if one.phase != "missing"} == {answer.ref, here}
    compute.stop(answer.ref, "test")
    shown = cloud.client().describe_tasks(cluster="second", tasks=[answer.ref])["tasks"][0]
    assert shown["desiredStatus"] == "STOPPED"


def fault(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, method: str, body: dict[str, Any] | None = None) -> None:
    with monkeypatch.context() as environ:
        environ.setenv("AWS_ENDPOINT_URL", cloud.url)
        environ.setenv("AWS_ACCESS_KEY_ID", OWNER.access_key)
        environ.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
        signed.call(method, "/_skylift/faults", body, region=REGION)


def test_spot_without_capacity_falls_back_to_on_demand_with_the_same_token(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = AwsEcsExecutor().make_compute()
    spot = Container(spot=True)
    reason = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
    values = {"provider": "FARGATE_SPOT", "reason": reason}
    fault(cloud, monkeypatch, "POST", {"kind": "capacity", "name": "none", "values": values})
    try:
        first = attempt(executor_config=spot)
        turns = [Attempt(first.external_id, 1, first.document, spot, shortages=turn) for turn in range(3)]
        answers = [compute.submit([turn])[0] for turn in turns]
    finally:
        fault(cloud, monkeypatch, "DELETE")
    assert [answer.shortage for answer in answers] == [True, True, False], answers
    shown = cloud.client().describe_tasks(tasks=[answers[2].ref])["tasks"][0]
    assert shown["launchType"] == "FARGATE"
    assert shown.get("capacityProviderName") != "FARGATE_SPOT"
    assert compute.submit([turns[0]])[0].ref == answers[2].ref, "the same token gives the same ECS task, whatever else"


def test_a_missing_permission_says_what_to_do_and_a_fallback_that_is_refused_only_waits(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = AwsEcsExecutor().make_compute()
    text = "User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/r"
    values = {
        "code": "AccessDeniedException",
        "message": text,
        "service": "ecs",
        "operation": "RunTask",
        "status": "400",
    }
    fault(cloud, monkeypatch, "POST", {"kind": "error", "name": "denied", "values": values})
    try:
        answer, fallen = submit(compute), submit(compute, shortages=1)
    finally:
        fault(cloud, monkeypatch, "DELETE")
    assert "iam:PassRole" in answer.refused
    assert "skylift iam-policy scheduler" in answer.refused
    assert fallen.shortage
    assert fallen.later.startswith("[skylift] capacity_fallback: ")


def test_tags_say_whose_it_is_and_the_users_choices_stay(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AWS_ECS_EXECUTOR__RUN_TASK_KWARGS", '{"propagateTags": "TASK_DEFINITION"}')
    labels = {"dag_id": "d|{x}", "task_id": "t" * 300, "run_id": "manual__2026-01-01T00:00:00+00:00", "map_index": "-1"}
    compute = AwsEcsExecutor().make_compute()
    ref = submit(compute, labels=labels, executor_config=Container(tags={"dag_id": "mine"})).ref
    shown = cloud.client().describe_tasks(tasks=[ref], include=["TAGS"])["tasks"][0]["tags"]
    tags = {tag["key"]: tag["value"] for tag in shown}
    assert tags == {
        "from": "definition",
        "dag_id": "mine",
        "task_id": "t" * 256,
        "run_id": "manual__2026-01-01T00:00:00+00:00",
        "map_index": "-1",
    }


def test_a_connection_with_a_role_gets_its_credentials_from_sts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    role = "arn:aws:iam::000000000000:role/airflow"
    document = {"Version": "2012-10-17", "Statement": []}
    cloud.client("iam").create_role(RoleName="airflow", AssumeRolePolicyDocument=json.dumps(document))
    extra = {
        "region_name": REGION,
        "endpoint_url": cloud.url,
        "role_arn": role,
        # The amazon provider takes the connection's own endpoint for everything but the assuming of its role.
        "service_config": {"sts": {"endpoint_url": cloud.url}},
    }
    quoted = urllib.parse.quote(json.dumps(extra))
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", f"aws://{OWNER.access_key}:{OWNER.secret}@/?__extra__={quoted}")
    session = session_of("cloud", "")
    key = session.get_credentials().get_frozen_credentials()
    assert key.token, "temporary credentials"
    assert key.access_key != OWNER.access_key
    assert "assumed-role/airflow" in client("sts", session=session).get_caller_identity()["Arn"]
    assert submit(AwsEcsExecutor().make_compute()).ref


def test_a_spot_task_runs_on_demand_while_there_is_no_spot(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = AwsEcsExecutor(parallelism=4)
    fault(cloud, monkeypatch, "POST", {"kind": "capacity", "name": "none", "values": {"provider": "FARGATE_SPOT"}})
    executor.start()
    try:
        spot = task_workload("spot", executor_config=Container(spot=True))
        executor.running.add(spot.ti.key)
        executor._process_workloads([spot])
        deadline = time.monotonic() + 120
        while not (found := executor.compute.find(attempt_of(spot))):
            assert time.monotonic() < deadline
            executor.heartbeat()
            time.sleep(0.2)
        assert executor.event_buffer == {}, "waiting for room is no failure"
        shown = cloud.client().describe_tasks(tasks=found)["tasks"]
        assert [task["launchType"] for task in shown] == ["FARGATE"]
    finally:
        executor.end()
        fault(cloud, monkeypatch, "DELETE")


def test_two_teams_in_one_scheduler_have_their_own_connection_cluster_and_tag(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    everybodys = json.loads(os.environ["AIRFLOW_CONN_CLOUD"])
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(everybodys | {"login": "nobody"}))
    for team, cluster in (("RED", "default"), ("BLUE", "second")):
        monkeypatch.setenv(f"AIRFLOW_CONN__{team}___CLOUD", json.dumps(everybodys))
        for name in ("CONTAINER_NAME", "TASK_DEFINITION", "SUBNETS", "LAUNCH_TYPE", "CONN_ID"):
            value = os.environ[f"AIRFLOW__AWS_ECS_EXECUTOR__{name}"]
            monkeypatch.setenv(f"AIRFLOW__{team}___AWS_ECS_EXECUTOR__{name}", value)
        monkeypatch.setenv(f"AIRFLOW__{team}___AWS_ECS_EXECUTOR__CLUSTER", cluster)
    for team, cluster in (("red", "default"), ("blue", "second")):
        ref = submit(AwsEcsExecutor(team_name=team).make_compute(), labels={"dag_id": "d"}).ref
        (shown,) = cloud.client().describe_tasks(cluster=cluster, tasks=[ref], include=["TAGS"])["tasks"]
        assert {tag["key"]: tag["value"] for tag in shown["tags"]} == {"dag_id": "d", "team": team}
    assert "UnrecognizedClient" in submit(AwsEcsExecutor().make_compute()).later, "everybody's key is another"
