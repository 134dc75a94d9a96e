"""State changes through an EventBridge rule into a queue: AWS's shapes, order, nothing lost by ``kill -9``."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.ecs_cloud import (
    ACCOUNT,
    LOG_GROUP,
    NETWORK,
    REGION,
    Cloud,
    client,
    definition,
    furnished,
    run,
    until,
    wait_for,
)

pytestmark = pytest.mark.local

WHOLE = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with furnished(tmp_path_factory.mktemp("cloud")) as started:
        yield started


def listen_to(make: Callable[[str], Any], name: str, pattern: dict[str, Any]) -> str:
    """A queue that a rule fills; its URL."""
    url = str(make("sqs").create_queue(QueueName=name)["QueueUrl"])
    make("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    make("events").put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return url


def received(sqs: Any, url: str, enough: Callable[[list[dict[str, Any]]], bool], seconds: float = 20) -> list[Any]:
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    while not enough(events):
        assert time.monotonic() < deadline, [(e["detail-type"], e["detail"]) for e in events]
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", ()):
            events.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return events


def test_an_ecs_task_tells_of_its_life(cloud: Cloud) -> None:
    pattern = {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"], "detail": {"startedBy": ["me"]}}
    url = listen_to(cloud.client, "tasks", pattern)
    ecs, sqs = cloud.client(), cloud.client("sqs")
    other = run(ecs, definition("true"))
    arn = run(ecs, definition("sh", "-c", "exit 3"), startedBy="me", tags=[{"key": "a", "value": "b"}])
    events = received(sqs, url, lambda events: any(e["detail"]["lastStatus"] == "STOPPED" for e in events))
    assert all(set(event) == WHOLE for event in events)
    assert {(e["version"], e["source"], e["account"], e["region"]) for e in events} == {
        ("0", "aws.ecs", ACCOUNT, REGION)
    }
    assert {tuple(event["resources"]) for event in events} == {(arn,)}
    assert len({event["id"] for event in events}) == len(events)
    versions = [event["detail"]["version"] for event in events]
    assert versions == sorted(versions)
    states = list(dict.fromkeys(event["detail"]["lastStatus"] for event in events))
    assert states == ["PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED"]
    last = events[-1]["detail"]
    shown = ecs.describe_tasks(tasks=[arn])["tasks"][0]
    assert set(last) == (set(shown) - {"tags"}) | {"updatedAt"}
    assert (last["stopCode"], last["containers"][0]["exitCode"]) == ("EssentialContainerExited", 3)
    assert last["attachments"][0]["type"] == "eni"
    assert last["stoppedAt"] == shown["stoppedAt"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    until(ecs, other, "STOPPED")


def test_a_service_tells_of_its_deployments(cloud: Cloud) -> None:
    kinds = ["ECS Service Action", "ECS Deployment State Change"]
    url = listen_to(cloud.client, "services", {"source": ["aws.ecs"], "detail-type": kinds})
    ecs, sqs = cloud.client(), cloud.client("sqs")
    arn = ecs.register_task_definition(**definition("sleep", "300"))["taskDefinition"]["taskDefinitionArn"]
    service = ecs.create_service(
        serviceName="told", taskDefinition=arn, desiredCount=1, launchType="FARGATE", networkConfiguration=NETWORK
    )["service"]
    events = received(sqs, url, lambda events: any(e["detail"]["eventName"] == "SERVICE_STEADY_STATE" for e in events))
    assert [(e["detail-type"], e["detail"]["eventName"], e["detail"]["eventType"]) for e in events] == [
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO"),
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_COMPLETED", "INFO"),
        ("ECS Service Action", "SERVICE_STEADY_STATE", "INFO"),
    ]
    assert all(event["resources"] == [service["serviceArn"]] for event in events)
    ident = service["deployments"][0]["id"]
    assert events[1]["detail"]["deploymentId"] == ident
    assert events[1]["detail"]["reason"] == f"ECS deployment {ident} completed."
    assert set(events[2]["detail"]) == {"eventType", "eventName", "clusterArn", "createdAt"}
    ecs.update_service(service="told", desiredCount=0)
    events = received(sqs, url, lambda events: len(events) >= 1)
    assert events[0]["detail"]["eventName"] == "SERVICE_DESIRED_COUNT_UPDATED"
    ecs.delete_service(service="told", force=True)


def test_without_a_rule_nothing_is_written(cloud: Cloud) -> None:
    ecs = cloud.client()
    for name in ("tasks", "services"):
        cloud.client("events").disable_rule(Name=name)
    url = cloud.client("sqs").get_queue_url(QueueName="tasks")["QueueUrl"]
    until(ecs, run(ecs, definition("true"), startedBy="me"), "STOPPED")
    answer = cloud.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert "Messages" not in answer
    for name in ("tasks", "services"):
        cloud.client("events").enable_rule(Name=name)


def test_no_event_of_an_accepted_change_is_lost_by_a_kill(tmp_path: Path) -> None:
    port = free_port()
    server = start_server(tmp_path, port)
    url = f"http://127.0.0.1:{port}"
    try:
        client("ecs", url).create_cluster()
        client("logs", url).create_log_group(logGroupName=LOG_GROUP)
        queue = listen_to(lambda service: client(service, url), "q", {"source": ["aws.ecs"]})
        ecs = client("ecs", url)
        arns = [run(ecs, definition("true")) for _ in range(5)]
        server.send_signal(signal.SIGKILL)
        server.wait()
        server = start_server(tmp_path, port)
        for arn in arns:
            until(client("ecs", url), arn, "STOPPED")

        def all_stopped(events: list[dict[str, Any]]) -> bool:
            return {e["detail"]["taskArn"] for e in events if e["detail"].get("lastStatus") == "STOPPED"} >= set(arns)

        events = received(client("sqs", url), queue, all_stopped)
        told = {(e["detail"]["taskArn"], e["detail"]["version"]) for e in events if "taskArn" in e["detail"]}
        assert told >= {(arn, 1) for arn in arns}  # accepted before the kill, and never delivered then
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def start_server(home: Path, port: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.local.ecs_cloud", str(home), str(port)]
    server = subprocess.Popen(words, cwd=Path(__file__).parents[3])

    def serves() -> bool:
        assert server.poll() is None
        try:
            client("ecs", f"http://127.0.0.1:{port}").list_clusters()
        except Exception:  # noqa: BLE001 - not yet, whatever boto3 calls it
            return False
        return True

    wait_for(serves, 30)
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
