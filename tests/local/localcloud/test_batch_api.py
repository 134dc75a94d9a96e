"""Every operation of Batch through boto3, accepted and refused; nothing runs: the compute environment is disabled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.batch_cloud import ROLE, SMALL, define, job, prepare, submit
from tests.local.ecs_cloud import IMAGE, Cloud

pytestmark = pytest.mark.local
FARGATE = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["s"], "securityGroupIds": ["g"]}
EC2 = {"type": "EC2", "maxvCpus": 4, "minvCpus": 0, "instanceTypes": ["optimal"], "instanceRole": "r", "subnets": ["s"]}
ARN = "arn:aws:batch:us-east-1:000000000000"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    running = Cloud(tmp_path_factory.mktemp("cloud")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def batch(cloud: Cloud) -> Any:
    client = cloud.client("batch")
    prepare(client)
    prepare(client, "other")
    client.create_compute_environment(computeEnvironmentName="on-ec2", type="MANAGED", computeResources=EC2)
    client.update_compute_environment(computeEnvironment="q-ce", state="DISABLED")
    client.update_compute_environment(computeEnvironment="other-ce", state="DISABLED")
    define(client, "true")
    return client


def environment(name: str = "new", **members: Any) -> dict[str, Any]:
    return {"computeEnvironmentName": name, "type": "MANAGED", "computeResources": FARGATE, **members}


def queue(name: str = "new", *environments: str, **members: Any) -> dict[str, Any]:
    order = [{"order": number, "computeEnvironment": one} for number, one in enumerate(environments or ("q-ce",))]
    return {"jobQueueName": name, "priority": 1, "computeEnvironmentOrder": order, **members}


def work(**members: Any) -> dict[str, Any]:
    container = {"image": IMAGE, "resourceRequirements": SMALL, "executionRoleArn": ROLE}
    return {
        "jobDefinitionName": "new",
        "type": "container",
        "platformCapabilities": ["FARGATE"],
        "containerProperties": {**container, **members},
    }


def one(**members: Any) -> dict[str, Any]:
    return {"jobName": "n", "jobQueue": "q", "jobDefinition": "work", **members}


MOUNT = {"containerPath": "/x", "sourceVolume": "v"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("create_compute_environment", environment("-"), "valid pattern"),
    ("create_compute_environment", environment("q-ce"), "Object already exists"),
    ("create_compute_environment", environment(type="UNMANAGED"), "UNMANAGED"),
    ("create_compute_environment", environment(type="OTHER"), "enum value set"),
    ("create_compute_environment", {"computeEnvironmentName": "a", "type": "MANAGED"}, "computeResources must be"),
    ("create_compute_environment", environment(computeResources=FARGATE | {"maxvCpus": 0}), "maxvCpus"),
    ("create_compute_environment", environment(computeResources=FARGATE | {"minvCpus": 0}), "not applicable"),
    ("create_compute_environment", environment(computeResources=FARGATE | {"subnets": []}), "subnets are required"),
    ("create_compute_environment", environment(computeResources=FARGATE | {"securityGroupIds": []}), "securityGroup"),
    ("create_compute_environment", environment(computeResources=EC2 | {"minvCpus": 5}), "minvCpus must not be greater"),
    (
        "create_compute_environment",
        environment(eksConfiguration={"eksClusterArn": "a", "kubernetesNamespace": "n"}),
        "EKS are not supported",
    ),
    ("create_compute_environment", environment(tags={"aws:x": "y"}), "reserved"),
    ("update_compute_environment", {"computeEnvironment": "none"}, "does not exist"),
    (
        "update_compute_environment",
        {"computeEnvironment": "q-ce", "computeResources": {"maxvCpus": -1}},
        "maxvCpus must be greater",
    ),
    (
        "update_compute_environment",
        {"computeEnvironment": "q-ce", "computeResources": {"type": "SPOT"}},
        "cannot change",
    ),
    ("delete_compute_environment", {"computeEnvironment": "on-ec2"}, "state must be DISABLED"),
    ("delete_compute_environment", {"computeEnvironment": "q-ce"}, "found existing JobQueue relationship"),
    ("create_job_queue", queue("q"), "Object already exists"),
    ("create_job_queue", queue("a b"), "valid pattern"),
    ("create_job_queue", queue("new", "none"), "Compute environment none does not exist"),
    ("create_job_queue", queue("new", "q-ce", "on-ec2"), "cannot mix"),
    ("create_job_queue", queue("new", "q-ce", f"{ARN}:compute-environment/q-ce"), "once only"),
    ("create_job_queue", queue(priority=-1), "priority must be between"),
    ("create_job_queue", queue(schedulingPolicyArn="a"), "Scheduling policy a does not exist"),
    ("create_job_queue", queue(computeEnvironmentOrder=[]), "1 to 3 compute environments"),
    ("create_job_queue", queue(jobQueueType="ECS"), "does not match"),
    ("update_job_queue", {"jobQueue": "none"}, "JobQueue none not found"),
    (
        "update_job_queue",
        {"jobQueue": "q", "computeEnvironmentOrder": queue("x", "on-ec2")["computeEnvironmentOrder"]},
        "cannot change between",
    ),
    ("delete_job_queue", {"jobQueue": "q"}, "state must be DISABLED"),
    ("get_job_queue_snapshot", {"jobQueue": "none"}, "not found"),
    ("register_job_definition", work(image=""), "image should not be null"),
    ("register_job_definition", work(mountPoints=[MOUNT]), "Unknown volume"),
    ("register_job_definition", work(logConfiguration={"logDriver": "splunk"}), "splunk is not supported"),
    (
        "register_job_definition",
        work(environment=[{"name": "A", "value": "1"}], secrets=[{"name": "A", "valueFrom": "arn"}]),
        "must be unique",
    ),
    ("register_job_definition", {"jobDefinitionName": "x", "type": "multinode"}, "Multi-node"),
    ("deregister_job_definition", {"jobDefinition": "work"}, "name:revision"),
    ("describe_job_definitions", {"jobDefinitions": ["work"], "status": "ACTIVE"}, "cannot be combined"),
    ("describe_job_definitions", {"maxResults": 101}, "maxResults must be between"),
    ("submit_job", one(jobQueue="none"), "JobQueue none not found."),
    ("submit_job", one(jobDefinition="none"), "JobDefinition name none does not exist or is not in ACTIVE status"),
    ("submit_job", one(jobDefinition="work:99"), "JobDefinition name work:99 does not exist"),
    ("submit_job", one(jobName="a b"), "Job name should match valid pattern"),
    ("submit_job", one(arrayProperties={"size": 1}), "between 2 and 10000"),
    (
        "submit_job",
        one(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "AGAIN", "onReason": "*"}]}),
        "action must be RETRY or EXIT",
    ),
    ("submit_job", one(dependsOn=[{"jobId": "none"}]), "Dependent job none was not found"),
    ("submit_job", one(dependsOn=[{"jobId": "x", "type": "OTHER"}]), "enum value set"),
    ("submit_job", one(parameters={"a": "x" * 31_000}), "30 KiB"),
    ("describe_jobs", {"jobs": []}, "1 to 100"),
    ("describe_jobs", {"jobs": [str(number) for number in range(101)]}, "1 to 100"),
    ("list_jobs", {}, "Exactly one of"),
    ("list_jobs", {"jobQueue": "q", "arrayJobId": "a"}, "Exactly one of"),
    ("list_jobs", {"multiNodeJobId": "a"}, "Multi-node"),
    ("list_jobs", {"jobQueue": "none"}, "not found"),
    ("list_jobs", {"arrayJobId": "none"}, "not an array job"),
    ("list_jobs", {"jobQueue": "q", "nextToken": "x"}, "Invalid nextToken"),
    ("list_jobs", {"jobQueue": "q", "maxResults": 0}, "maxResults must be between"),
    ("list_jobs", {"jobQueue": "q", "filters": [{"name": "OTHER", "values": ["x"]}]}, "Filters have one of"),
    ("list_jobs", {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": ["x"]}] * 2}, "Only one filter"),
    ("list_jobs", {"jobQueue": "q", "filters": [{"name": "AFTER_CREATED_AT", "values": ["x"]}]}, "milliseconds"),
    ("terminate_job", {"jobId": "x", "reason": ""}, "1 to 1024 characters"),
    ("cancel_job", {"jobId": "x", "reason": "x" * 1025}, "1 to 1024 characters"),
    ("terminate_jobs", {"jobs": ["x"] * 51, "reason": "x"}, "1 to 50"),
    ("tag_resource", {"resourceArn": f"{ARN}:job/none", "tags": {"a": "b"}}, "does not exist"),
    ("tag_resource", {"resourceArn": f"{ARN}:job-queue/q", "tags": {"aws:a": "b"}}, "reserved"),
    ("list_tags_for_resource", {"resourceArn": "arn:aws:ecs:us-east-1:000000000000:cluster/a"}, "Invalid ARN"),
    ("list_tags_for_resource", {"resourceArn": f"{ARN}:job-queue/none"}, "does not exist"),
]


@pytest.mark.parametrize(
    ("operation", "request_", "text"), REFUSED, ids=lambda value: value if type(value) is str else ""
)
def test_refused(batch: Any, operation: str, request_: dict[str, Any], text: str) -> None:
    with pytest.raises(ClientError, match=text) as caught:
        getattr(batch, operation)(**request_)
    assert caught.value.response["Error"]["Code"] == "ClientException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_compute_environment_lives(cloud: Cloud, batch: Any) -> None:
    made = batch.create_compute_environment(**environment("lives", tags={"a": "b"}))
    arn = made["computeEnvironmentArn"]
    assert arn == f"{ARN}:compute-environment/lives"
    (found,) = batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"]
    assert (found["state"], found["status"], found["statusReason"]) == (
        "ENABLED",
        "VALID",
        "ComputeEnvironment Healthy",
    )
    assert (found["computeResources"], found["tags"], found["type"]) == (FARGATE, {"a": "b"}, "MANAGED")
    clusters = cloud.client("ecs").describe_clusters(clusters=[found["ecsClusterArn"]])["clusters"]
    assert [one["status"] for one in clusters] == ["ACTIVE"]
    batch.update_compute_environment(
        computeEnvironment="lives", state="DISABLED", computeResources={"maxvCpus": 9, "type": "FARGATE_SPOT"}
    )
    (found,) = batch.describe_compute_environments(computeEnvironments=["lives"])["computeEnvironments"]
    assert (found["state"], found["computeResources"]["maxvCpus"]) == ("DISABLED", 9)
    batch.delete_compute_environment(computeEnvironment="lives")
    assert batch.describe_compute_environments(computeEnvironments=["lives"])["computeEnvironments"] == []
    clusters = cloud.client("ecs").describe_clusters(clusters=[found["ecsClusterArn"]])["clusters"]
    assert [one["status"] for one in clusters] == ["INACTIVE"]
    batch.delete_compute_environment(computeEnvironment="lives")


def test_a_queue_lives(batch: Any) -> None:
    arn = batch.create_job_queue(**queue("lives", "q-ce", "other-ce", tags={"a": "b"}))["jobQueueArn"]
    (found,) = batch.describe_job_queues(jobQueues=[arn])["jobQueues"]
    assert (found["state"], found["status"], found["priority"]) == ("ENABLED", "VALID", 1)
    assert (found["jobQueueType"], found["tags"]) == ("ECS_FARGATE", {"a": "b"})
    environments = [item["computeEnvironment"] for item in found["computeEnvironmentOrder"]]
    assert environments == [f"{ARN}:compute-environment/{name}" for name in ("q-ce", "other-ce")]
    batch.update_job_queue(jobQueue="lives", priority=7, state="DISABLED")
    with pytest.raises(ClientError, match="not in ENABLED state"):
        submit(batch, queue="lives")
    (found,) = batch.describe_job_queues(jobQueues=["lives"])["jobQueues"]
    assert (found["state"], found["priority"]) == ("DISABLED", 7)
    pages = batch.get_paginator("describe_job_queues").paginate(PaginationConfig={"PageSize": 1})
    assert [item["jobQueueName"] for page in pages for item in page["jobQueues"]] == ["lives", "other", "q"]
    batch.delete_job_queue(jobQueue="lives")
    batch.delete_job_queue(jobQueue="never-was")


def test_job_definitions_live(batch: Any) -> None:
    for number in (1, 2, 3):
        made = batch.register_job_definition(
            **work(command=["echo", str(number)], ulimits=[{"name": "nofile", "softLimit": 1, "hardLimit": 2}])
            | {
                "jobDefinitionName": "lives",
                "retryStrategy": {"attempts": 2},
                "timeout": {"attemptDurationSeconds": 60},
            }
            | {"parameters": {"a": "b"}, "schedulingPriority": 3, "propagateTags": True, "tags": {"k": "v"}}
        )
        assert made["revision"] == number
        assert made["jobDefinitionArn"] == f"{ARN}:job-definition/lives:{number}"
    batch.deregister_job_definition(jobDefinition="lives:3")
    batch.deregister_job_definition(jobDefinition="never:1")

    def revisions(**request: Any) -> list[int]:
        return [one["revision"] for one in batch.describe_job_definitions(**request)["jobDefinitions"]]

    assert revisions(jobDefinitionName="lives") == [3, 2, 1]
    assert revisions(jobDefinitionName="lives", status="ACTIVE") == [2, 1]
    assert revisions(jobDefinitionName="lives", status="INACTIVE") == [3]
    assert revisions(jobDefinitions=["lives:1", f"{ARN}:job-definition/lives:2"]) == [2, 1]
    (found,) = batch.describe_job_definitions(jobDefinitions=["lives:2"])["jobDefinitions"]
    assert found["containerProperties"]["command"] == ["echo", "2"]
    assert (found["status"], found["retryStrategy"], found["timeout"]) == (
        "ACTIVE",
        {"attempts": 2},
        {"attemptDurationSeconds": 60},
    )
    assert (found["schedulingPriority"], found["propagateTags"], found["tags"]) == (3, True, {"k": "v"})
    assert job(batch, submit(batch, "lives"))["jobDefinition"].endswith("lives:2")
    assert job(batch, submit(batch, f"{ARN}:job-definition/lives:1"))["jobDefinition"].endswith("lives:1")
    with pytest.raises(ClientError, match="does not exist or is not in ACTIVE status"):
        submit(batch, "lives:3")


def test_jobs_are_described_and_listed(batch: Any) -> None:
    prepare(batch, "list")
    batch.update_compute_environment(computeEnvironment="list-ce", state="DISABLED")
    define(batch, "true", name="other-work")
    names = [submit(batch, queue="list", name=f"Job-{number}") for number in range(5)]
    time.sleep(0.01)
    middle = int(time.time() * 1000)
    time.sleep(0.01)
    names += [submit(batch, "other-work", queue="list", name="late")]
    shown = batch.describe_jobs(jobs=[names[2], "unknown", names[0], names[0]])["jobs"]
    assert [one["jobId"] for one in shown] == [names[2], names[0]]
    assert [one["status"] for one in shown] == ["RUNNABLE", "RUNNABLE"]

    def listed(**request: Any) -> list[str]:
        pages = batch.get_paginator("list_jobs").paginate(jobQueue="list", PaginationConfig={"PageSize": 2}, **request)
        return [one["jobName"] for page in pages for one in page["jobSummaryList"]]

    everything = ["late", "Job-4", "Job-3", "Job-2", "Job-1", "Job-0"]
    assert listed(jobStatus="RUNNABLE") == everything
    assert listed() == []

    def filtered(name: str, *values: str) -> list[str]:
        return listed(filters=[{"name": name, "values": list(values)}])

    assert filtered("JOB_NAME", "job-*") == everything[1:]
    assert filtered("JOB_NAME", "JOB-3", "late") == ["late", "Job-3"]
    assert filtered("JOB_NAME", "job") == []
    assert filtered("JOB_DEFINITION", "work") == everything[1:]
    assert filtered("JOB_DEFINITION", "other-*") == ["late"]
    assert filtered("JOB_DEFINITION", f"{ARN}:job-definition/other-work:1") == ["late"]
    assert filtered("BEFORE_CREATED_AT", str(middle)) == everything[1:]
    assert filtered("AFTER_CREATED_AT", str(middle)) == ["late"]
    front = batch.get_job_queue_snapshot(jobQueue="list")["frontOfQueue"]["jobs"]
    assert [one["jobArn"].rsplit("/", 1)[-1] for one in front] == names


def test_waiting_jobs_are_ended(batch: Any) -> None:
    names = [submit(batch) for _ in range(4)]
    batch.cancel_job(jobId=names[0], reason="a")
    batch.terminate_job(jobId=names[1], reason="b")
    answer = batch.cancel_jobs(jobs=[names[2], "unknown"], reason="c")
    assert (answer["successful"], answer["errors"]) == ([names[2], "unknown"], [])
    batch.terminate_jobs(jobs=[names[3]], reason="d")
    found = [job(batch, name) for name in names]
    assert [one["status"] for one in found] == ["FAILED"] * 4
    assert [one["statusReason"] for one in found] == ["a", "b", "c", "d"]
    assert [one["isCancelled"] for one in found] == [True, False, True, False]
    assert [one["isTerminated"] for one in found] == [False, True, False, True]
    assert all(one["attempts"] == [] and "stoppedAt" in one for one in found)
    batch.terminate_job(jobId=names[0], reason="again")
    assert job(batch, names[0])["statusReason"] == "a"


@pytest.mark.parametrize(
    "arn_of",
    [
        lambda batch: f"{ARN}:compute-environment/q-ce",
        lambda batch: f"{ARN}:job-queue/q",
        lambda batch: f"{ARN}:job-definition/work:1",
        lambda batch: f"{ARN}:job/{submit(batch)}",
    ],
    ids=["environment", "queue", "definition", "job"],
)
def test_tags(batch: Any, arn_of: Callable[[Any], str]) -> None:
    arn = arn_of(batch)
    batch.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    batch.tag_resource(resourceArn=arn, tags={"b": "3"})
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "1", "b": "3"}
    batch.untag_resource(resourceArn=arn, tagKeys=["a", "none"])
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "3"}


def test_n_to_n_needs_arrays_of_the_same_size(batch: Any) -> None:
    array = submit(batch, arrayProperties={"size": 3})
    need = [{"jobId": array, "type": "N_TO_N"}]
    with pytest.raises(ClientError, match="same size"):
        submit(batch, arrayProperties={"size": 4}, dependsOn=need)
    with pytest.raises(ClientError, match="array jobs only"):
        submit(batch, dependsOn=need)
    submit(batch, arrayProperties={"size": 3}, dependsOn=need)


def test_batch_is_milder_than_its_model(batch: Any) -> None:
    rules = [{"action": "exit", "onExitCode": "1"}]
    submit(batch, tags={}, retryStrategy={"attempts": 2, "evaluateOnExit": rules})


def test_what_is_not_served_is_refused(batch: Any) -> None:
    with pytest.raises(ClientError) as caught:
        batch.create_consumable_resource(consumableResourceName="licence")
    assert caught.value.response["Error"]["Code"] != "InternalFailure"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 502
