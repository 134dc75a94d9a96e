"""Every fault against the local cloud with real boto3: what a client sees, and what was really done behind it."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from tests.local.batch_cloud import define, prepare, submit
from tests.local.batch_cloud import job as batch_job
from tests.local.batch_cloud import until as batch_until
from tests.local.ecs_cloud import LOG_GROUP, OWNER, REGION, Cloud, definition, described, run, until, wait_for

from skylift.aws import signed
from skylift.core.errors import Refused

pytestmark = pytest.mark.local
SPOT = {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
SLEEPER = ("python", "-c", "import time; time.sleep(600)")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("faults")).start()
    cloud.client("ecs").create_cluster(clusterName="default", capacityProviders=["FARGATE", "FARGATE_SPOT"])
    cloud.client("logs").create_log_group(logGroupName=LOG_GROUP)
    yield cloud
    cloud.stop()


@pytest.fixture
def aws(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The cloud, with this process's AWS settings turned to it, and no faults before and after."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
    yield cloud
    clear()


def put(kind: str, name: str = "", **values: Any) -> dict[str, Any]:
    given = {"kind": kind, "name": name, "values": values}
    return dict(signed.call("POST", "/_skylift/faults", given, region=REGION))


def clear(name: str = "") -> Any:
    return signed.call("DELETE", f"/_skylift/faults/{name}", region=REGION)


def shown() -> list[dict[str, Any]]:
    return list(signed.call("GET", "/_skylift/faults", region=REGION)["faults"])


def arns(ecs: Any) -> set[str]:
    return {arn for page in ecs.get_paginator("list_tasks").paginate() for arn in page["taskArns"]}


def request(ecs: Any, *command: str, **members: Any) -> dict[str, Any]:
    registered = ecs.register_task_definition(**definition(*command))["taskDefinition"]["taskDefinitionArn"]
    where = members or {"launchType": "FARGATE"}
    return {"taskDefinition": registered, "networkConfiguration": NETWORK, **where}


def test_unsigned_requests_and_those_of_other_services_are_refused(aws: Cloud) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{aws.url}/_skylift/faults")
    assert refused.value.code == 403
    url = aws.client("s3").generate_presigned_url("list_buckets")
    stolen = f"{aws.url}/_skylift/faults?{url.partition('?')[2]}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(stolen)
    assert refused.value.code == 403


def test_faults_are_listed_and_cleared(aws: Cloud) -> None:
    made = put("latency", "slow", delay=0.01)
    assert made["name"] == "slow"
    assert [fault["name"] for fault in shown()] == ["slow"]
    with pytest.raises(Refused, match="there is no fault other"):
        clear("other")
    assert clear("slow") == {"cleared": 1}
    assert shown() == []
    with pytest.raises(Refused, match="there is no fault 'x'"):
        put("x")
    with pytest.raises(Refused, match="must be JSON"):
        signed.call("POST", "/_skylift/faults", ["kill"], region=REGION)
    with pytest.raises(Refused, match="longer than"):
        put("error", message="x" * 70_000)


def test_throttling_in_each_protocol(aws: Cloud) -> None:
    put("throttle", burst=0, service="ecs")
    put("throttle", burst=0, service="s3")
    put("throttle", burst=0, service="sqs", operation="ListQueues")
    put("throttle", burst=0, service="sns")
    codes = []
    for service, verb in (
        ("ecs", "list_tasks"),
        ("s3", "list_buckets"),
        ("sqs", "list_queues"),
        ("sns", "list_topics"),
    ):
        with pytest.raises(ClientError) as refused:
            getattr(aws.client(service), verb)()
        answer = refused.value.response
        codes.append((answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]))
    assert codes[0] == ("ThrottlingException", 400)
    assert codes[1] == ("SlowDown", 503)
    assert codes[2] == ("RequestThrottled", 400)
    assert codes[3] == ("Throttled", 429)
    aws.client("sqs").create_queue(QueueName="not-in-scope")


def test_latency(aws: Cloud) -> None:
    put("latency", delay=0.5, operation="ListClusters", calls=1)
    begun = time.monotonic()
    aws.client("ecs").list_clusters()
    assert time.monotonic() - begun >= 0.5


def test_a_connection_cut_after_run_task_leaves_the_ecs_task_and_the_token_finds_it(aws: Cloud) -> None:
    ecs = aws.client("ecs")
    before, given = arns(ecs), request(ecs, *SLEEPER) | {"clientToken": "once"}
    put("cut", operation="RunTask", calls=1)
    with pytest.raises(ConnectionClosedError):
        ecs.run_task(**given)
    (made,) = arns(ecs) - before
    assert ecs.run_task(**given)["tasks"][0]["taskArn"] == made
    ecs.stop_task(task=made)


def test_a_connection_cut_before_run_task_leaves_nothing(aws: Cloud) -> None:
    ecs = aws.client("ecs")
    before, given = arns(ecs), request(ecs, *SLEEPER)
    put("cut", when="before", operation="RunTask", calls=1)
    with pytest.raises(ConnectionClosedError):
        ecs.run_task(**given)
    assert arns(ecs) == before


def test_a_cut_of_s3_after_the_object_was_stored(aws: Cloud) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="cut-bucket")
    put("cut", service="s3", operation="PutObject", calls=1)
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket="cut-bucket", Key="k", Body=b"there")
    assert s3.get_object(Bucket="cut-bucket", Key="k")["Body"].read() == b"there"


def test_errors_for_the_next_calls(aws: Cloud) -> None:
    ecs = aws.client("ecs")
    put("error", code="ServerException", status=500, calls=2, service="ecs")
    for _ in range(2):
        with pytest.raises(ecs.exceptions.ServerException):
            ecs.list_clusters()
    ecs.list_clusters()


def test_describe_tasks_does_not_know_them_for_a_while(aws: Cloud) -> None:
    ecs = aws.client("ecs")
    arn = run(ecs, definition(*SLEEPER))
    put("missing", seconds=600, name="m")
    answer = ecs.describe_tasks(tasks=[arn])
    assert (answer["tasks"], answer["failures"]) == ([], [{"arn": arn, "reason": "MISSING"}])
    clear("m")
    assert described(ecs, arn)["taskArn"] == arn
    ecs.stop_task(task=arn)


def test_capacity(aws: Cloud) -> None:
    ecs = aws.client("ecs")
    put("capacity", provider="FARGATE_SPOT")
    before = arns(ecs)
    answer = ecs.run_task(**request(ecs, *SLEEPER, **SPOT), count=3)
    assert answer["tasks"] == []
    assert [failure["reason"] for failure in answer["failures"]] == ["RESOURCE:MEMORY"] * 3
    assert arns(ecs) == before
    on_demand = ecs.run_task(**request(ecs, *SLEEPER))["tasks"][0]["taskArn"]
    ecs.stop_task(task=on_demand)


def test_spot_is_reclaimed_and_others_run_on(aws: Cloud) -> None:
    ecs = aws.client("ecs")
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    given = request(ecs, "python", "-c", deaf)
    kept = ecs.run_task(**given)["tasks"][0]["taskArn"]
    spot = ecs.run_task(**_spot(given))["tasks"][0]["taskArn"]
    stream = f"p/main/{spot.rsplit('/', 1)[-1]}"
    logs = aws.client("logs")
    wait_for(
        lambda: logs.filter_log_events(logGroupName=LOG_GROUP, logStreamNamePrefix=stream, filterPattern="deaf")[
            "events"
        ]
    )
    until(ecs, kept, "RUNNING")
    assert put("spot", warning=0.5)["hits"] == 1
    ended = until(ecs, spot, "STOPPED")
    assert ended["stopCode"] == "SpotInterruption"
    assert ended["containers"][0]["exitCode"] == 137
    assert described(ecs, kept)["lastStatus"] == "RUNNING"
    put("kill", task=kept)
    assert until(ecs, kept, "STOPPED")["containers"][0]["exitCode"] == 137


def _spot(given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != "launchType"} | SPOT


def test_killed_containers(aws: Cloud) -> None:
    ecs = aws.client("ecs")
    arn = run(ecs, definition(*SLEEPER))
    until(ecs, arn, "RUNNING")
    assert put("kill", task=arn, container="other")["hits"] == 0
    assert put("kill", task=arn)["hits"] == 1
    ended = until(ecs, arn, "STOPPED")
    assert (ended["stopCode"], ended["containers"][0]["exitCode"]) == ("EssentialContainerExited", 137)


def test_events_are_lost_doubled_and_late(aws: Cloud) -> None:
    ecs, sqs, bus = aws.client("ecs"), aws.client("sqs"), aws.client("events")
    queue = sqs.create_queue(QueueName="fault-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"]}
    bus.put_rule(Name="ecs-to-sqs", EventPattern=json.dumps(pattern))
    bus.put_targets(Rule="ecs-to-sqs", Targets=[{"Id": "1", "Arn": arn}])
    put("events", "e", how="duplicate", spread=0.1)
    doubled = run(ecs, definition("python", "-c", "print(1)"))
    until(ecs, doubled, "STOPPED")
    events: list[dict[str, Any]] = []

    def stopped_twice() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ()):
            events.append(json.loads(message["Body"]))
        last = [each["id"] for each in events if each["detail"]["lastStatus"] == "STOPPED"]
        return len(last) == 2 and len(set(last)) == 1

    wait_for(stopped_twice, tell=lambda: str(len(events)))
    put("events", "e", how="lose")
    lost = run(ecs, definition("python", "-c", "print(1)"))
    changes = until(ecs, lost, "STOPPED")["version"]
    wait_for(lambda: shown()[0]["hits"] >= changes, tell=lambda: str(shown()))
    clear("e")
    heard = run(ecs, definition("python", "-c", "print(1)"))
    until(ecs, heard, "STOPPED")

    def states(task: str) -> list[str]:
        stopped_twice()
        return [each["detail"]["lastStatus"] for each in events if each["detail"]["taskArn"] == task]

    wait_for(lambda: "STOPPED" in states(heard))
    assert states(lost) == []
    # The first event of the next ECS task (version 1) comes two seconds late, after its younger ones.
    put("events", "e", how="reorder", spread=2, calls=1, seed=36)
    shuffled = run(ecs, definition("python", "-c", "print(1)"))

    def versions() -> list[int]:
        stopped_twice()
        return [each["detail"]["version"] for each in events if each["detail"]["taskArn"] == shuffled]

    wait_for(lambda: 1 in versions(), tell=lambda: str(versions()))
    assert versions()[0] == 2
    bus.remove_targets(Rule="ecs-to-sqs", Ids=["1"])
    bus.delete_rule(Name="ecs-to-sqs")


def test_batch_jobs_stay_runnable_without_capacity(aws: Cloud) -> None:
    batch = aws.client("batch")
    prepare(batch, "full")
    prepare(batch, "free")
    define(batch, "python", "-c", "print(1)", name="little")
    put("capacity", "full", queue="full")
    waiting = submit(batch, "little", "full")
    passing = submit(batch, "little", "free")
    assert batch_until(batch, passing)["status"] == "SUCCEEDED"
    assert batch_job(batch, waiting)["status"] == "RUNNABLE"
    clear("full")
    assert batch_until(batch, waiting)["status"] == "SUCCEEDED"
