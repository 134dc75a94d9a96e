"""``skylift iam-policy`` allows exactly what is called: the calls of the executors' verbs and of real containers,
recorded by the local cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.local import batch_cloud
from tests.local.compute_verbs import exercise
from tests.local.ecs_cloud import ACCOUNT, LOG_GROUP, OWNER, REGION, Cloud, definition, wait_for

from skylift.cli.main import cli
from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.executor import SkyliftExecutor

pytestmark = pytest.mark.local
ROLE = ("--account", "123456789012", "--region", REGION)
SILENT = {"ecs:TagResource", "iam:PassRole", "batch:TagResource"}
"""Checked by AWS as part of another call: RunTask and SubmitJob with tags, RunTask with the definition's roles."""
OTHER_NAMES = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}
"""IAM's names of operations that it knows by another name (Service Authorization Reference)."""


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    started = Cloud(tmp_path / "cloud").start()
    try:
        started.client().create_cluster()
        started.client("logs").create_log_group(logGroupName=LOG_GROUP)
        started.client("logs").create_log_group(logGroupName="/aws/batch/job")
        started.client("s3").create_bucket(Bucket="workloads")
        started.client("sqs").create_queue(QueueName="events")
        started.client().register_task_definition(**definition("true"))
        batch_cloud.prepare(started.client("batch"))
        batch_cloud.define(started.client("batch"), "true")
        environ = {
            "AWS_ENDPOINT_URL": started.url,
            "AWS_ACCESS_KEY_ID": OWNER.access_key,
            "AWS_SECRET_ACCESS_KEY": OWNER.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AIRFLOW__AWS_ECS_EXECUTOR__CLUSTER": "default",
            "AIRFLOW__AWS_ECS_EXECUTOR__CONTAINER_NAME": "main",
            "AIRFLOW__AWS_ECS_EXECUTOR__TASK_DEFINITION": "work",
            "AIRFLOW__AWS_ECS_EXECUTOR__REGION_NAME": REGION,
            "AIRFLOW__AWS_ECS_EXECUTOR__SUBNETS": "subnet-1",
            "AIRFLOW__AWS_BATCH_EXECUTOR__JOB_QUEUE": "q",
            "AIRFLOW__AWS_BATCH_EXECUTOR__JOB_DEFINITION": "work",
            "AIRFLOW__AWS_BATCH_EXECUTOR__JOB_NAME": "work",
            "AIRFLOW__AWS_BATCH_EXECUTOR__REGION_NAME": REGION,
            "AIRFLOW__SKYLIFT__PAYLOAD_URL": "s3://workloads/here",
            "AIRFLOW__SKYLIFT__EVENTS_QUEUE": "events",
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        assert started.ear is not None
        started.ear.calls.clear()
        yield started
    finally:
        started.stop()


ECS = ("--cluster", "default", "--task-definition", "work", "--pass-role", "work", "--pass-role", "start")
BATCH = ("--job-queue", "q", "--job-definition", "work")
COMMON = ("--payload-url", "s3://workloads/here", "--events-queue", "events", "--container-log-group", LOG_GROUP)


@pytest.mark.parametrize(
    ("kind", "own", "scheduler", "more"),
    [
        (AwsEcsExecutor, {}, ECS, ()),
        (AwsEcsExecutor, {"WARM_SECONDS": "30"}, ECS, ("--warm",)),
        (AwsBatchExecutor, {}, BATCH, ()),
        (AwsBatchExecutor, {"BATCH_ARRAYS": "True"}, BATCH, ()),
    ],
)
def test_what_is_allowed_is_what_is_called(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[SkyliftExecutor],
    own: dict[str, str],
    scheduler: tuple[str, ...],
    more: tuple[str, ...],
) -> None:
    for name, value in own.items():
        monkeypatch.setenv(f"AIRFLOW__SKYLIFT__{name}", value)
    if kind is AwsBatchExecutor:
        # The list of an array of yesterday, when arrays were on.
        cloud.client("s3").put_object(Bucket="workloads", Key="here/arrays/old", Body=b"other.1.json".ljust(63) + b"\n")
    executor = kind(parallelism=4)
    ran = exercise(executor.compute, cloud.client("s3"), arrays="BATCH_ARRAYS" in own)
    source = executor.make_source()
    assert source is not None
    send_event(cloud, kind, ran)
    seen = source.receive()
    source.settle([seen[0].ref])
    send_event(cloud, kind, ran)
    source.receive()
    source.settle([])
    source.close()
    assert called(cloud, by_container=False) == allowed("scheduler", *scheduler, *COMMON, *more)
    # What a container that stays writes, only one that has run an Airflow task writes: test_warm_on_cloud.
    assert called(cloud, by_container=True) == allowed("task-role", "--payload-url", "s3://workloads/here")


def send_event(cloud: Cloud, kind: type[SkyliftExecutor], ref: str) -> None:
    if kind is AwsEcsExecutor:
        (detail,) = cloud.client().describe_tasks(tasks=[ref])["tasks"]
        title = "ECS Task State Change"
    else:
        (detail,) = cloud.client("batch").describe_jobs(jobs=[ref])["jobs"]
        title = "Batch Job State Change"
    body = json.dumps({"detail-type": title, "detail": detail}, default=str)
    sqs = cloud.client("sqs")
    address = sqs.get_queue_url(QueueName="events")["QueueUrl"]
    assert cloud.ear is not None
    before = len(cloud.ear.calls)
    sqs.send_message(QueueUrl=address, MessageBody=body)
    wait_for(lambda: cloud.ear is not None and len(cloud.ear.calls) > before)
    # The test's own calls are nobody's.
    cloud.ear.calls[:] = [call for call in cloud.ear.calls if call.operation != "SendMessage"]


def called(cloud: Cloud, *, by_container: bool) -> set[str]:
    """IAM's names of what the owner of the account called, or a container with its task role."""
    assert cloud.ear is not None
    calls = (call for call in cloud.ear.calls if (call.caller.principal != OWNER.principal) is by_container)
    names = {f"{call.service}:{call.operation}" for call in calls}
    return {OTHER_NAMES.get(name, name) for name in names}


def allowed(*words: str) -> set[str]:
    """What the printed policy allows, less what no call of its own asks for."""
    printed = CliRunner().invoke(cli, ["iam-policy", words[0], *ROLE, *words[1:]])
    assert printed.exit_code == 0, printed.output
    document: dict[str, Any] = json.loads(printed.output)
    return {action for statement in document["Statement"] for action in statement["Action"]} - SILENT


def test_nothing_is_allowed_everywhere_that_can_be_named() -> None:
    printed = CliRunner().invoke(cli, ["iam-policy", "scheduler", *ROLE, *ECS, *BATCH, *COMMON, "--warm"])
    everywhere = {
        action
        for statement in json.loads(printed.output)["Statement"]
        if statement["Resource"] == ["*"]
        for action in statement["Action"]
    }
    # None of these knows a resource (Service Authorization Reference); ListTasks has a condition on the cluster.
    assert everywhere == {
        "ecs:ListTasks",
        "ecs:DescribeTaskDefinition",
        "batch:DescribeJobs",
        "batch:ListJobs",
        "batch:DescribeJobQueues",
    }
    assert all(
        resource == "*" or f":{ACCOUNT}" not in resource
        for statement in json.loads(printed.output)["Statement"]
        for resource in statement["Resource"]
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("scheduler", "--account", "12", "--region", REGION, *ECS), "12 digits"),
        (("scheduler", "--account", "123456789012", "--region", "nowhere", *ECS), "eu-central-1"),
        (("scheduler", *ROLE), "--cluster"),
        (("scheduler", *ROLE, "--cluster", "c"), "--task-definition"),
        (("scheduler", *ROLE, "--job-queue", "q"), "--job-definition"),
        (("task-role", *ROLE), "--payload-url"),
        (("task-role", *ROLE, "--payload-url", "https://x"), "s3://"),
        (("execution-role", *ROLE), "--repository"),
    ],
)
def test_what_is_missing_is_named(words: tuple[str, ...], text: str) -> None:
    answer = CliRunner().invoke(cli, ["iam-policy", *words])
    assert answer.exit_code != 0
    assert text in f"{answer.output}{answer.exception}"
