"""ECS tasks as real boto3 sees them: states, exit codes, stops, logs, secrets, images, idempotency, what containers are
given."""

from __future__ import annotations

import json
import os
import re
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.ecs_cloud import (
    ACCOUNT,
    LOG_GROUP,
    NETWORK,
    Cloud,
    definition,
    described,
    furnished,
    run,
    until,
    wait_for,
)

pytestmark = pytest.mark.local


@pytest.fixture(scope="module", params=["", "tiny_template"], ids=["plain", "template"])
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """All that follows holds for containers that were started plainly, and for those forked from a template."""
    with furnished(tmp_path_factory.mktemp("cloud"), template=request.param) as started:
        yield started


@pytest.fixture(scope="module")
def ecs(cloud: Cloud) -> Any:
    return cloud.client()


def lines(cloud: Cloud, arn: str, container: str = "main") -> list[str]:
    stream = f"p/{container}/{arn.rsplit('/', 1)[-1]}"
    answer = cloud.client("logs").get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in answer["events"]]


def test_a_whole_life(cloud: Cloud, ecs: Any) -> None:
    arn = run(
        ecs, definition("sh", "-c", "echo one; echo two >&2; exit 3"), startedBy="me", tags=[{"key": "a", "value": "b"}]
    )
    task = until(ecs, arn, "STOPPED")
    assert re.fullmatch(rf"arn:aws:ecs:us-east-1:{ACCOUNT}:task/default/[0-9a-f]{{32}}", arn)
    assert (task["stopCode"], task["desiredStatus"]) == ("EssentialContainerExited", "STOPPED")
    assert task["stoppedReason"] == "Essential container in task exited"
    assert [(c["lastStatus"], c["exitCode"]) for c in task["containers"]] == [("STOPPED", 3)]
    assert (task["startedBy"], task["tags"], task["group"]) == ("me", [{"key": "a", "value": "b"}], "family:work")
    assert (task["launchType"], task["platformVersion"], task["cpu"], task["memory"]) == (
        "FARGATE",
        "1.4.0",
        "256",
        "512",
    )
    order = (
        "createdAt",
        "connectivityAt",
        "pullStartedAt",
        "pullStoppedAt",
        "startedAt",
        "executionStoppedAt",
        "stoppedAt",
    )
    times = [task[name] for name in order]
    assert all(isinstance(time, datetime) for time in times)
    assert times == sorted(times)
    assert lines(cloud, arn) == ["one", "two"]
    assert ecs.list_tasks(startedBy="me", desiredStatus="STOPPED")["taskArns"] == [arn]


def test_every_change_has_a_version_and_is_told(cloud: Cloud, ecs: Any) -> None:
    cloud.changes.clear()
    task = until(ecs, run(ecs, definition("true")), "STOPPED")
    states = [state for kind, state in cloud.changes if kind == "ecs-task"]
    assert states == ["PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED"]
    assert task["version"] == len(states)


def test_nothing_of_the_host_is_in_a_container(cloud: Cloud, ecs: Any) -> None:
    os.environ["LEAK"] = "must not be seen"
    code = "import os, json; print(json.dumps(dict(os.environ))); print(os.getcwd()); print(os.listdir())"
    try:
        arn = run(ecs, definition("python", "-c", code, environment=[{"name": "MINE", "value": "1"}]))
        until(ecs, arn, "STOPPED")
    finally:
        del os.environ["LEAK"]
    text, cwd, listing = lines(cloud, arn)
    environment = json.loads(text)
    assert environment.keys() == {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_DISABLE_HOST_PREFIX_INJECTION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_EXECUTION_ENV",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "ECS_AGENT_URI",
        "ECS_CONTAINER_METADATA_URI_V4",
        "MINE",
    } | ({"LC_CTYPE"} & environment.keys()) | (
        {"PYTHONPATH", "AIRFLOW__CORE__EXECUTOR"} if cloud.images.template else set()
    )
    assert environment["AWS_ENDPOINT_URL"] == cloud.url
    folders = {Path(environment["HOME"]).parent, Path(environment["TMPDIR"]).parent, Path(cwd).parent}
    assert len(folders) == 1
    assert listing == "[]"
    wait_for(lambda: not Path(cwd).exists())


HOSTS = """
import boto3, urllib.parse
calls = {
    "mwaa": ("get_environment", {"Name": "a"}),
    "stepfunctions": ("start_sync_execution", {"stateMachineArn": "arn:aws:states:us-east-1:000000000000:express:a:b"}),
    "servicediscovery": ("discover_instances", {"NamespaceName": "a", "ServiceName": "b"}),
    "logs": ("get_log_object", {"logObjectPointer": "a"}),
}
for service, (operation, request) in calls.items():
    client = boto3.client(service)
    client.meta.events.register("before-send", lambda request, **_: print(urllib.parse.urlsplit(request.url).netloc))
    try:
        getattr(client, operation)(**request)
    except client.exceptions.ClientError:
        pass
"""


def test_host_prefixes_are_left_out_of_what_a_container_asks(cloud: Cloud, ecs: Any) -> None:
    """Some operations' host names get a prefix, before any endpoint: sync-127.0.0.1 is nowhere."""
    here = [{"name": "PYTHONPATH", "value": sysconfig.get_path("purelib")}, {"name": "AWS_MAX_ATTEMPTS", "value": "1"}]
    arn = run(ecs, definition("python", "-c", HOSTS, environment=here))
    until(ecs, arn, "STOPPED", seconds=180)
    assert set(lines(cloud, arn)) == {cloud.url.removeprefix("http://")}, lines(cloud, arn)
    assert len(lines(cloud, arn)) == 4


def test_a_container_acts_as_its_role_and_knows_itself(cloud: Cloud, ecs: Any) -> None:
    code = """
import json, os, urllib.request, boto3
print(boto3.client("sts").get_caller_identity()["Arn"])
get = lambda path: json.load(urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + path))
print(get("")["Networks"][0]["IPv4Addresses"][0], get("")["Name"], get("/task")["TaskARN"])
"""
    arn = run(ecs, definition("python", "-c", code))
    task = until(ecs, arn, "STOPPED")
    identity, network = lines(cloud, arn)
    assert identity == f"arn:aws:sts::{ACCOUNT}:assumed-role/work/{arn.rsplit('/', 1)[-1]}"
    address = next(d["value"] for d in task["attachments"][0]["details"] if d["name"] == "privateIPv4Address")
    assert network == f"{address} main {arn}"
    assert address.startswith("127.64.")


def test_ecs_tasks_can_use_the_same_port(cloud: Cloud, ecs: Any) -> None:
    code = """
import json, os, socket, time, urllib.request
task = json.load(urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"]))
socket.create_server((task["Networks"][0]["IPv4Addresses"][0], 8080))
print("bound", flush=True)
time.sleep(60)
"""
    one, two = run(ecs, definition("python", "-c", code)), run(ecs, definition("python", "-c", code))
    for arn in (one, two):
        until(ecs, arn, "RUNNING")
        wait_for(lambda arn=arn: lines(cloud, arn) == ["bound"])
        ecs.stop_task(task=arn)


@pytest.mark.parametrize(
    ("script", "timeout", "code"),
    [
        ("sleep 60", 30, 143),
        ("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", 30, 0),
        ("trap '' TERM; echo ready; while :; do sleep 0.05; done", 1, 137),
    ],
    ids=["dies of it", "traps it", "ignores it"],
)
def test_stop(cloud: Cloud, ecs: Any, script: str, timeout: int, code: int) -> None:
    command = ("sleep", "60") if code == 143 else ("sh", "-c", script)
    arn = run(ecs, definition(*command, stopTimeout=timeout))
    until(ecs, arn, "RUNNING")
    if "ready" in script:
        wait_for(lambda: lines(cloud, arn) == ["ready"])
    answer = ecs.stop_task(task=arn, reason="enough")["task"]
    assert (answer["desiredStatus"], answer["stopCode"], answer["stoppedReason"]) == (
        "STOPPED",
        "UserInitiated",
        "enough",
    )
    task = until(ecs, arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == code
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert ecs.stop_task(task=arn, reason="again")["task"]["stoppedReason"] == "enough"


def test_a_container_that_kills_itself_has_128_plus_the_signal(ecs: Any) -> None:
    task = until(ecs, run(ecs, definition("sh", "-c", "kill -SEGV $$")), "STOPPED")
    assert task["containers"][0]["exitCode"] == 139


def test_what_a_container_leaves_behind_ends_with_it(cloud: Cloud, ecs: Any) -> None:
    arn = run(ecs, definition("sh", "-c", "setsid sleep 300 & sleep 300 & echo $! && exec true"))
    until(ecs, arn, "STOPPED")
    pid = int(lines(cloud, arn)[0])
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    leftovers = [p for p in Path("/proc").glob("[0-9]*/environ") if arn.rsplit("/", 1)[-1].encode() in _read(p)]
    assert leftovers == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_logs_arrive_while_it_runs_and_none_is_lost(cloud: Cloud, ecs: Any) -> None:
    script = "echo first; sleep 0.5; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; printf 'no end'"
    arn = run(ecs, definition("sh", "-c", script))
    until(ecs, arn, "RUNNING")
    wait_for(lambda: lines(cloud, arn)[:1] == ["first"], seconds=2)
    until(ecs, arn, "STOPPED")
    logs, found, token = cloud.client("logs"), [], {}
    stream = f"p/main/{arn.rsplit('/', 1)[-1]}"
    while True:
        page = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token)
        found += [event["message"] for event in page["events"]]
        if token.get("nextToken") == page["nextForwardToken"]:
            break
        token = {"nextToken": page["nextForwardToken"]}
    assert found == ["first", *(f"line {n}" for n in range(1, 20001)), "no end"]


def test_a_missing_log_group(cloud: Cloud, ecs: Any) -> None:
    options = {"awslogs-group": "/new", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}
    request = definition("echo", "hello", logConfiguration={"logDriver": "awslogs", "options": options})
    task = until(ecs, run(ecs, request), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError: failed to validate logger args")
    options["awslogs-create-group"] = "true"
    task = until(ecs, run(ecs, request), "STOPPED")
    assert task["containers"][0]["exitCode"] == 0
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix="/new")["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/new"]


def test_secrets_reach_the_container_and_nobody_else(cloud: Cloud, ecs: Any) -> None:
    value = "hush-92817"
    secret = cloud.client("secretsmanager").create_secret(Name="db", SecretString=json.dumps({"url": value, "n": 1}))[
        "ARN"
    ]
    cloud.client("ssm").put_parameter(Name="/plain", Value="from-ssm", Type="String")
    secrets = [{"name": "URL", "valueFrom": f"{secret}:url::"}, {"name": "PARAMETER", "valueFrom": "/plain"}]
    script = "[ ${URL%-*} = hush ] && [ ${#URL} = 10 ] && [ $PARAMETER = from-ssm ]"
    arn = run(ecs, definition("sh", "-c", script, secrets=secrets))
    task = until(ecs, arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 0
    shown = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
    assert shown["containerDefinitions"][0]["secrets"] == secrets
    assert value not in str(task) + str(shown)
    on_disk = [path for path in (cloud.home / "cloud").rglob("*") if path.is_file()]
    assert on_disk
    assert [path for path in on_disk if value.encode() in path.read_bytes()] == []


def test_a_secret_that_is_not_there(ecs: Any) -> None:
    missing = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:none-abcdef"
    task = until(ecs, run(ecs, definition("true", secrets=[{"name": "A", "valueFrom": missing}])), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError: unable to pull secrets or registry auth")
    assert "exitCode" not in task["containers"][0]


def test_an_unknown_image(ecs: Any) -> None:
    task = until(ecs, run(ecs, definition("true", image="nowhere/none:1")), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: pull image manifest")
    assert "nowhere/none:1" in task["stoppedReason"]


@pytest.mark.parametrize("word", ["nope", "/nope/there", "/etc/passwd"])
def test_a_program_that_cannot_be_started(ecs: Any, word: str) -> None:
    task = until(ecs, run(ecs, definition(word)), "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == ("TaskFailedToStart", "Task failed to start")
    assert task["containers"][0]["reason"].startswith("CannotStartContainerError: ")
    assert f'"{word}"' in task["containers"][0]["reason"]
    assert "startedAt" not in task


def test_overrides_and_entry_points(cloud: Cloud, ecs: Any) -> None:
    request = definition("plain", entryPoint=["sh", "-c", 'echo "$0 $A $B"'], environment=[{"name": "A", "value": "1"}])
    override = {
        "name": "main",
        "command": ["changed"],
        "environment": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
    }
    arn = run(ecs, request, overrides={"containerOverrides": [override]})
    task = until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["changed 2 3"]
    assert task["overrides"]["containerOverrides"] == [override]
    request = definition()
    arn = run(ecs, request)
    until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["default command"]


def test_several_containers_in_order(cloud: Cloud, ecs: Any) -> None:
    request = definition("sh", "-c", "exit 0", dependsOn=[{"containerName": "first", "condition": "SUCCESS"}])
    first = {"name": "first", "image": "test/python:1", "essential": False, "command": ["sh", "-c", "sleep 0.3"]}
    sidecar = {
        "name": "sidecar",
        "image": "test/python:1",
        "essential": False,
        "command": ["sleep", "60"],
        "stopTimeout": 2,
    }
    request["containerDefinitions"] += [first, sidecar]
    task = until(ecs, run(ecs, request), "STOPPED")
    assert {c["name"]: c["exitCode"] for c in task["containers"]} == {"main": 0, "first": 0, "sidecar": 143}
    first["command"] = ["false"]
    task = until(ecs, run(ecs, request), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert "exitCode" not in task["containers"][0]


def test_client_token(ecs: Any) -> None:
    ecs.register_task_definition(**definition("true"))
    request = {"taskDefinition": "work", "networkConfiguration": NETWORK, "clientToken": "token-1", "count": 2}
    first = [task["taskArn"] for task in ecs.run_task(**request)["tasks"]]
    assert [task["taskArn"] for task in ecs.run_task(**request)["tasks"]] == first
    with pytest.raises(ClientError) as caught:
        ecs.run_task(**{**request, "startedBy": "other"})
    assert caught.value.response["Error"]["Code"] == "ConflictException"
    assert caught.value.response["resourceIds"] == first


def test_describe_and_list(ecs: Any) -> None:
    arns = [run(ecs, definition("sleep", "60"), startedBy="listed") for _ in range(3)]
    answer = ecs.describe_tasks(tasks=[*arns, "0" * 32])
    assert {task["taskArn"] for task in answer["tasks"]} == set(arns)
    assert all("tags" not in task for task in answer["tasks"])
    assert answer["failures"] == [
        {"arn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/default/{'0' * 32}", "reason": "MISSING"}
    ]
    pages = ecs.get_paginator("list_tasks").paginate(startedBy="listed", PaginationConfig={"PageSize": 2})
    assert [arn for page in pages for arn in page["taskArns"]] == arns
    for arn in arns:
        ecs.stop_task(task=arn)
    assert ecs.list_tasks(startedBy="listed")["taskArns"] == []
    ecs.get_waiter("tasks_stopped").wait(tasks=arns, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert described(ecs, arns[0])["attachments"][0]["status"] == "DELETED"


RUN = {"taskDefinition": "work", "networkConfiguration": NETWORK}
LONG = {"containerOverrides": [{"name": "main", "command": ["x" * 8192]}]}
REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    ("run_task", {**RUN, "cluster": "none"}, "ClusterNotFoundException", "Cluster not found."),
    ("run_task", {**RUN, "taskDefinition": "none"}, "ClientException", "TaskDefinition not found."),
    ("run_task", {**RUN, "count": 11}, "InvalidParameterException", "Count should be between 1 and 10"),
    ("run_task", {"taskDefinition": "work"}, "InvalidParameterException", "Network Configuration must be provided"),
    ("run_task", {**RUN, "overrides": LONG}, "InvalidParameterException", "at most 8192"),
    (
        "run_task",
        {**RUN, "overrides": {"containerOverrides": [{"name": "other"}]}},
        "InvalidParameterException",
        "not a container in the TaskDefinition",
    ),
    (
        "run_task",
        {**RUN, "launchType": "FARGATE", "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]},
        "InvalidParameterException",
        "both a launch type and capacity provider strategy",
    ),
    (
        "run_task",
        {**RUN, "capacityProviderStrategy": [{"capacityProvider": "x"}]},
        "InvalidParameterException",
        "not found",
    ),
    ("stop_task", {"task": "0" * 32}, "InvalidParameterException", "The referenced task was not found."),
    ("describe_tasks", {"tasks": ["0" * 32] * 101}, "InvalidParameterException", "100"),
    ("describe_tasks", {"tasks": []}, "InvalidParameterException", "empty"),
    ("list_tasks", {"serviceName": "none"}, "ServiceNotFoundException", "Service not found."),
    ("list_tasks", {"startedBy": "a", "family": "b"}, "InvalidParameterException", "startedBy"),
    (
        "describe_task_definition",
        {"taskDefinition": "none:3"},
        "ClientException",
        "Unable to describe task definition.",
    ),
    ("deregister_task_definition", {"taskDefinition": "work"}, "ClientException", "Revision"),
    ("delete_cluster", {"cluster": "none"}, "ClusterNotFoundException", "Cluster not found."),
    ("update_service", {"service": "none"}, "ServiceNotFoundException", "Service not found."),
    ("delete_service", {"service": "none"}, "ServiceNotFoundException", "Service not found."),
    (
        "create_service",
        {"serviceName": "s", "taskDefinition": "work", "desiredCount": 1, "launchType": "FARGATE"},
        "InvalidParameterException",
        "Network Configuration must be provided",
    ),
    (
        "tag_resource",
        {"resourceArn": "arn:aws:ecs:us-east-1:0:task/a/b", "tags": []},
        "ResourceNotFoundException",
        "not found",
    ),
]


@pytest.mark.parametrize(("operation", "request_", "code", "text"), REFUSALS)
def test_refusals(ecs: Any, operation: str, request_: dict[str, Any], code: str, text: str) -> None:
    ecs.register_task_definition(**definition("true"))
    before = ecs.list_tasks(family="work")["taskArns"]
    with pytest.raises(ClientError) as caught:
        getattr(ecs, operation)(**request_)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert text in error["Message"]
    assert {*ecs.list_tasks(family="work")["taskArns"]} <= {*before}, "nothing was started"


def test_definitions(ecs: Any) -> None:
    request = {**definition("true"), "family": "counted"}
    arns = [ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"] for _ in range(3)]
    assert [arn.rsplit("/", 1)[-1] for arn in arns] == ["counted:1", "counted:2", "counted:3"]
    assert ecs.describe_task_definition(taskDefinition="counted")["taskDefinition"]["revision"] == 3
    assert ecs.list_task_definitions(familyPrefix="counted", sort="DESC")["taskDefinitionArns"] == arns[::-1]
    gone = ecs.deregister_task_definition(taskDefinition="counted:3")["taskDefinition"]
    assert gone["status"] == "INACTIVE"
    assert ecs.describe_task_definition(taskDefinition="counted")["taskDefinition"]["revision"] == 2
    with pytest.raises(ClientError, match="inactive"):
        ecs.run_task(taskDefinition=arns[2], networkConfiguration=NETWORK)
    assert "counted" in ecs.list_task_definition_families(familyPrefix="count")["families"]
    answer = ecs.delete_task_definitions(taskDefinitions=[arns[2], arns[1]])
    assert [item["status"] for item in answer["taskDefinitions"]] == ["DELETE_IN_PROGRESS"]
    assert [item["arn"] for item in answer["failures"]] == [arns[1]]


def test_clusters_and_tags(ecs: Any) -> None:
    arn = ecs.create_cluster(clusterName="extra", tags=[{"key": "a", "value": "1"}])["cluster"]["clusterArn"]
    assert ecs.create_cluster(clusterName="extra")["cluster"]["clusterArn"] == arn
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
    assert arn in ecs.list_clusters()["clusterArns"]
    answer = ecs.describe_clusters(clusters=["extra", "none"])
    assert [cluster["status"] for cluster in answer["clusters"]] == ["ACTIVE"]
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    assert ecs.delete_cluster(cluster="extra")["cluster"]["status"] == "INACTIVE"
    with pytest.raises(ClientError, match="ClusterNotFoundException"):
        ecs.list_tasks(cluster="extra")


def test_tags_come_with_the_definition_when_asked(ecs: Any) -> None:
    request = {**definition("true"), "tags": [{"key": "from", "value": "definition"}, {"key": "a", "value": "1"}]}
    arn = run(ecs, request, propagateTags="TASK_DEFINITION", tags=[{"key": "a", "value": "2"}])
    tags = {tag["key"]: tag["value"] for tag in described(ecs, arn)["tags"]}
    assert tags == {"from": "definition", "a": "2"}


def test_what_a_container_may_ask_needs_its_token(cloud: Cloud, ecs: Any) -> None:
    arn = run(ecs, definition("sleep", "60"))
    until(ecs, arn, "RUNNING")
    task_id = arn.rsplit("/", 1)[-1]
    credential = credential_of(cloud, task_id)
    url = f"{cloud.url}/_skylift/credentials/{task_id}"
    assert status(url, {}) == 403
    assert status(url, {"Authorization": credential + "x"}) == 403
    assert status(f"{cloud.url}/_skylift/credentials/{'0' * 32}", {"Authorization": credential}) == 403
    assert status(url, {"Authorization": credential}) == 200
    assert status(f"{cloud.url}/_skylift/metadata/v4/{task_id}-0000000000", {}) == 404
    assert credential not in str(described(ecs, arn))
    ecs.stop_task(task=arn)
    until(ecs, arn, "STOPPED")
    assert status(url, {"Authorization": credential}) == 403


def credential_of(cloud: Cloud, task_id: str) -> str:
    """The token in the environment of the ECS task's container."""
    pid = (cloud.home / "cloud" / "containers" / f"{task_id[:12]}-0" / "pid").read_text().split()[2]
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return (
        next(word for word in words if word.startswith(b"AWS_CONTAINER_AUTHORIZATION_TOKEN=")).split(b"=")[1].decode()
    )


def status(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
