"""Targets of rules and schedules that start things: ECS tasks, Batch jobs, lines in a log group; and what fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local import batch_cloud
from tests.local.ecs_cloud import ACCOUNT, NETWORK, REGION, Cloud, definition, furnished, wait_for

pytestmark = pytest.mark.local
ROLE = f"arn:aws:iam::{ACCOUNT}:role/events"
CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/default"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with furnished(tmp_path_factory.mktemp("cloud")) as started:
        yield started


@pytest.fixture(scope="module")
def batch(cloud: Cloud) -> Any:
    client = cloud.client("batch")
    batch_cloud.prepare(client)
    batch_cloud.define(client, "true")
    return client


def rule(cloud: Cloud, name: str, *targets: dict[str, Any]) -> None:
    events = cloud.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [f"my.{name}"]}))
    given = [{"Id": str(number), **target} for number, target in enumerate(targets)]
    assert events.put_targets(Rule=name, Targets=given)["FailedEntryCount"] == 0


def send(cloud: Cloud, name: str, **detail: Any) -> None:
    entry = {"Source": f"my.{name}", "DetailType": "made", "Detail": json.dumps(detail)}
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def ecs_parameters(cloud: Cloud, family: str, *command: str) -> dict[str, Any]:
    request = {**definition(*command), "family": family}
    arn = cloud.client().register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"]
    subnets = NETWORK["awsvpcConfiguration"]["subnets"]
    network = {"awsvpcConfiguration": {"Subnets": subnets, "AssignPublicIp": "ENABLED"}}
    return {"TaskDefinitionArn": arn, "TaskCount": 1, "LaunchType": "FARGATE", "NetworkConfiguration": network}


def ended(cloud: Cloud, family: str) -> list[dict[str, Any]]:
    ecs = cloud.client()
    arns = ecs.list_tasks(family=family, desiredStatus="STOPPED")["taskArns"]
    return list(ecs.describe_tasks(tasks=arns)["tasks"]) if arns else []


def test_a_rule_starts_an_ecs_task_with_what_the_event_says(cloud: Cloud) -> None:
    overrides = {"containerOverrides": [{"name": "c", "environment": [{"name": "WORD", "value": "WHAT"}]}]}
    parameters = ecs_parameters(cloud, "started", "sh", "-c", "test $WORD = hello || exit 9; exit 7")
    name = cloud.client().describe_task_definition(taskDefinition="started")["taskDefinition"]["containerDefinitions"][
        0
    ]["name"]
    overrides["containerOverrides"][0]["name"] = name
    template = json.dumps(overrides).replace('"WHAT"', "<word>")
    transformer = {"InputPathsMap": {"word": "$.detail.word"}, "InputTemplate": template}
    target = {"Arn": CLUSTER, "RoleArn": ROLE, "EcsParameters": parameters, "InputTransformer": transformer}
    rule(cloud, "starts", target)
    send(cloud, "starts", word="hello")
    wait_for(lambda: ended(cloud, "started"), 60)
    (task,) = ended(cloud, "started")
    assert task["containers"][0]["exitCode"] == 7
    assert task["startedBy"] == "events-rule/starts"


def test_a_rule_submits_a_batch_job_and_writes_the_event_to_a_log_group(cloud: Cloud, batch: Any) -> None:
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/aws/events/made")
    queue = batch.describe_job_queues(jobQueues=["q"])["jobQueues"][0]["jobQueueArn"]
    job = {"Arn": queue, "RoleArn": ROLE, "BatchParameters": {"JobDefinition": "work", "JobName": "by-event"}}
    rule(cloud, "submits", job, {"Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/events/made"})
    send(cloud, "submits", number=5)
    wait_for(
        lambda: batch.list_jobs(jobQueue="q", filters=[{"name": "JOB_NAME", "values": ["by-event"]}])["jobSummaryList"]
    )
    wait_for(lambda: logs.filter_log_events(logGroupName="/aws/events/made")["events"])
    (event,) = logs.filter_log_events(logGroupName="/aws/events/made")["events"]
    assert json.loads(event["message"])["detail"] == {"number": 5}


def test_a_schedule_starts_an_ecs_task_once(cloud: Cloud) -> None:
    parameters = ecs_parameters(cloud, "scheduled", "true")
    at = datetime.now(UTC) + timedelta(seconds=1)
    cloud.client("scheduler").create_schedule(
        Name="once",
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": CLUSTER, "RoleArn": ROLE, "EcsParameters": parameters},
    )
    wait_for(lambda: ended(cloud, "scheduled"), 60)
    (task,) = ended(cloud, "scheduled")
    assert task["startedBy"] == "chronos-schedule/once"


def test_what_fails_is_counted_and_goes_to_the_dead_letter_queue(cloud: Cloud) -> None:
    sqs, cloudwatch = cloud.client("sqs"), cloud.client("cloudwatch")
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    dead = {"DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"}}
    parameters = {**ecs_parameters(cloud, "never", "true"), "TaskDefinitionArn": "nobody:1"}
    rule(cloud, "fails", {"Arn": CLUSTER, "RoleArn": ROLE, "EcsParameters": parameters, **dead})
    send(cloud, "fails", number=6)
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert json.loads(message["Body"])["detail"] == {"number": 6}
    now = datetime.now(UTC)
    found = cloudwatch.get_metric_statistics(
        Namespace="AWS/Events",
        MetricName="FailedInvocations",
        Dimensions=[{"Name": "RuleName", "Value": "fails"}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in found["Datapoints"]) == 1


def test_a_schedule_calls_any_operation_of_batch(cloud: Cloud, batch: Any) -> None:
    job = {"JobName": "by-schedule", "JobQueue": "q", "JobDefinition": "work", "Parameters": {"day": "1"}}
    cloud.client("scheduler").create_schedule(
        Name="universal",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:scheduler:::aws-sdk:batch:submitJob", "RoleArn": ROLE, "Input": json.dumps(job)},
    )
    chosen = [{"name": "JOB_NAME", "values": ["by-schedule"]}]
    wait_for(lambda: batch.list_jobs(jobQueue="q", filters=chosen)["jobSummaryList"])


def test_schedules_keep_their_time_zone_and_what_they_fired_over_a_restart(cloud: Cloud) -> None:
    queue = cloud.client("sqs").create_queue(QueueName="zoned")["QueueUrl"]
    target = {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:zoned", "RoleArn": ROLE}
    off, scheduler = {"Mode": "OFF"}, cloud.client("scheduler")
    tokyo = datetime.now(UTC) + timedelta(hours=9)
    given: dict[str, tuple[str, str]] = {
        "now": (f"at({tokyo:%Y-%m-%dT%H:%M:%S})", "Asia/Tokyo"),
        "tomorrow": (f"at({tokyo:%Y-%m-%dT%H:%M:%S})", "Pacific/Honolulu"),
        "rate": ("rate(1 day)", "UTC"),
    }
    for name, (expression, zone) in given.items():
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression=expression,
            ScheduleExpressionTimezone=zone,
            FlexibleTimeWindow=off,
            Target={**target, "Input": json.dumps({"name": name, "arn": "<aws.scheduler.schedule-arn>"})},
        )
    wait_for(lambda: _waiting(cloud, queue) == 2, 60)
    bodies = [json.loads(one["Body"]) for one in _received(cloud, queue)]
    assert {one["name"] for one in bodies} == {"now", "rate"}
    assert all(one["arn"].endswith(f":schedule/default/{one['name']}") for one in bodies)
    shown = scheduler.get_schedule(Name="now")
    assert shown["ScheduleExpressionTimezone"] == "Asia/Tokyo"
    cloud.stop()
    cloud.start()
    at = datetime.now(UTC) + timedelta(hours=9)
    cloud.client("scheduler").update_schedule(
        Name="tomorrow",
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        ScheduleExpressionTimezone="Asia/Tokyo",
        FlexibleTimeWindow=off,
        Target={**target, "Input": json.dumps({"name": "changed"})},
    )
    wait_for(lambda: _waiting(cloud, queue) >= 1, 60)
    assert [json.loads(one["Body"])["name"] for one in _received(cloud, queue)] == ["changed"]
    for expression, zone in (("cron(0 6 * * * *)", "UTC"), ("rate(5 minutes)", "Mars/Olympus")):
        with pytest.raises(ClientError, match=r"ValidationException.*Invalid Schedule Expression"):
            cloud.client("scheduler").create_schedule(
                Name="wrong",
                ScheduleExpression=expression,
                ScheduleExpressionTimezone=zone,
                FlexibleTimeWindow=off,
                Target=target,
            )


def _waiting(cloud: Cloud, queue: str) -> int:
    names = ["ApproximateNumberOfMessages"]
    found = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return int(found[names[0]])


def _received(cloud: Cloud, queue: str) -> list[dict[str, Any]]:
    sqs = cloud.client("sqs")
    found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    for one in found:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
    return list(found)
