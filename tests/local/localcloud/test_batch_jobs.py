"""Batch jobs that really run, through boto3: outcomes, logs, retries, arrays, dependencies, ends, capacity."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.batch_cloud import define, job, prepare, submit, until
from tests.local.ecs_cloud import Cloud, wait_for

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    running = Cloud(tmp_path_factory.mktemp("cloud"), slots=8).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def batch(cloud: Cloud) -> Any:
    client = cloud.client("batch")
    prepare(client)
    define(client, "sh", "-c", "exit 0")
    return client


def test_a_job_succeeds_and_shows_what_aws_shows(cloud: Cloud, batch: Any) -> None:
    define(batch, "python", "-c", "import os, json; print(json.dumps(dict(os.environ)))", name="says")
    found = until(batch, submit(batch, "says", name="tell", tags={"team": "a"}))
    assert found["status"] == "SUCCEEDED", found
    assert found["statusReason"] == "Essential container in task exited"
    assert found["container"]["exitCode"] == 0
    assert found["createdAt"] <= found["startedAt"] <= found["stoppedAt"]
    assert found["jobArn"].endswith(f":job/{found['jobId']}")
    assert found["jobDefinition"].endswith(":job-definition/says:1")
    assert found["tags"] == {"team": "a"}
    arn = found["container"]["taskArn"]
    assert ":task/AWSBatch-q-ce-" in arn
    assert found["container"]["logStreamName"] == f"says/default/{arn.rsplit('/', 1)[-1]}"
    (attempt,) = found["attempts"]
    assert attempt["container"]["taskArn"] == arn
    assert attempt["container"]["exitCode"] == 0
    assert attempt["startedAt"] == found["startedAt"]
    logs = cloud.client("logs")
    events = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=found["container"]["logStreamName"])
    environment = json.loads(events["events"][0]["message"])
    expected = {
        "AWS_BATCH_JOB_ID": found["jobId"],
        "AWS_BATCH_JQ_NAME": "q",
        "AWS_BATCH_CE_NAME": "q-ce",
        "AWS_BATCH_JOB_ATTEMPT": "1",
    }
    assert {key: environment.get(key) for key in expected} == expected
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in environment


def test_a_failure_has_its_exit_code(batch: Any) -> None:
    found = until(batch, submit(batch, containerOverrides={"command": ["sh", "-c", "exit 7"]}))
    assert (found["status"], found["container"]["exitCode"]) == ("FAILED", 7)
    assert found["statusReason"] == "Essential container in task exited"


def test_a_job_mounts_its_volumes(batch: Any) -> None:
    points = [{"sourceVolume": "v", "containerPath": "/opt/ml"}]
    script = "touch /opt/ml/x && touch /opt/ml/y; ls /opt/ml/x /opt/ml/y"
    define(batch, "sh", "-c", script, name="mounts", volumes=[{"name": "v"}], mountPoints=points)
    assert until(batch, submit(batch, "mounts"))["status"] == "SUCCEEDED"
    assert not Path("/opt/ml").exists()


def test_what_does_not_start_says_why(batch: Any) -> None:
    define(batch, "true", name="nowhere", image="test/none:1")
    found = until(batch, submit(batch, "nowhere"))
    assert found["status"] == "FAILED"
    assert found["statusReason"] == "Task failed to start"
    assert found["container"]["reason"].startswith("CannotPullContainerError")
    assert "exitCode" not in found["container"]
    found = until(batch, submit(batch, containerOverrides={"command": ["/nope"]}))
    assert found["container"]["reason"].startswith("CannotStartContainerError")


def test_retries_until_it_succeeds(batch: Any) -> None:
    found = until(
        batch,
        submit(
            batch,
            containerOverrides={"command": ["sh", "-c", 'test "$AWS_BATCH_JOB_ATTEMPT" = 3']},
            retryStrategy={"attempts": 4},
        ),
    )
    assert found["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in found["attempts"]] == [1, 1, 0]
    assert len({attempt["container"]["logStreamName"] for attempt in found["attempts"]}) == 3


def test_a_rule_ends_the_retries(batch: Any) -> None:
    rules = [{"onExitCode": "4*", "action": "EXIT"}, {"onReason": "*", "action": "RETRY"}]
    found = until(
        batch,
        submit(
            batch,
            containerOverrides={"command": ["sh", "-c", "exit 4$AWS_BATCH_JOB_ATTEMPT"]},
            retryStrategy={"attempts": 5, "evaluateOnExit": rules},
        ),
    )
    assert found["status"] == "FAILED"
    assert [attempt["container"]["exitCode"] for attempt in found["attempts"]] == [41]


def test_parameters_and_environment_are_put_in(cloud: Cloud, batch: Any) -> None:
    define(
        batch,
        "sh",
        "-c",
        "echo Ref::first Ref::second $LETTER $DIGIT Ref::unknown",
        name="says-more",
        parameters={"first": "one", "second": "two"},
        environment=[{"name": "LETTER", "value": "a"}, {"name": "DIGIT", "value": "1"}],
    )
    found = until(
        batch,
        submit(
            batch,
            "says-more",
            parameters={"second": "deux"},
            containerOverrides={"environment": [{"name": "LETTER", "value": "b"}]},
        ),
    )
    events = cloud.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=found["container"]["logStreamName"]
    )
    assert events["events"][0]["message"] == "one deux b 1 Ref::unknown"
    assert found["parameters"] == {"first": "one", "second": "deux"}
    assert {"name": "LETTER", "value": "b"} in found["container"]["environment"]


def test_an_array_runs_all_its_children(cloud: Cloud, batch: Any) -> None:
    command = ["sh", "-c", 'test "$AWS_BATCH_JOB_ARRAY_INDEX" -ne 3 -a "$AWS_BATCH_JOB_ARRAY_SIZE" = 6']
    name = submit(batch, containerOverrides={"command": command}, arrayProperties={"size": 6})
    found = until(batch, name)
    assert (found["status"], found["statusReason"]) == ("FAILED", "Array Child Job failed")
    summary = found["arrayProperties"]["statusSummary"]
    assert (summary["SUCCEEDED"], summary["FAILED"], sum(summary.values())) == (5, 1, 6)
    assert found["arrayProperties"]["size"] == 6
    child = job(batch, f"{name}:3")
    assert (child["status"], child["container"]["exitCode"], child["arrayProperties"]["index"]) == ("FAILED", 1, 3)
    listed = batch.list_jobs(arrayJobId=name, jobStatus="SUCCEEDED")["jobSummaryList"]
    assert [item["jobId"] for item in listed] == [f"{name}:{index}" for index in (0, 1, 2, 4, 5)]


def test_dependencies_hold_and_failures_spread(batch: Any) -> None:
    first = submit(batch, containerOverrides={"command": ["sleep", "1"]})
    second = submit(batch, dependsOn=[{"jobId": first}])
    until(batch, second, "PENDING")
    done, waited = until(batch, second), job(batch, first)
    assert done["status"] == "SUCCEEDED"
    assert done["startedAt"] >= waited["stoppedAt"]
    bad = submit(batch, containerOverrides={"command": ["false"]})
    after = submit(batch, dependsOn=[{"jobId": bad}])
    last = submit(batch, dependsOn=[{"jobId": after}])
    found = until(batch, last)
    assert (found["status"], found["statusReason"]) == ("FAILED", "Dependent Job failed")
    assert found["attempts"] == []


def test_arrays_depend_child_by_child(batch: Any) -> None:
    fails_at_one = {"command": ["sh", "-c", "test $AWS_BATCH_JOB_ARRAY_INDEX != 1"]}
    first = submit(batch, containerOverrides=fails_at_one, arrayProperties={"size": 3})
    second = submit(batch, arrayProperties={"size": 3}, dependsOn=[{"jobId": first, "type": "N_TO_N"}])
    assert until(batch, second)["status"] == "FAILED"
    states = [job(batch, f"{second}:{index}")["status"] for index in range(3)]
    assert states == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert job(batch, f"{second}:1")["statusReason"] == "Dependent Job failed"


def test_a_sequential_array_runs_one_by_one(batch: Any) -> None:
    name = submit(batch, arrayProperties={"size": 3}, dependsOn=[{"type": "SEQUENTIAL"}])
    assert until(batch, name)["status"] == "SUCCEEDED"
    children = [job(batch, f"{name}:{index}") for index in range(3)]
    for before, after in itertools.pairwise(children):
        assert before["stoppedAt"] <= after["startedAt"]


def test_terminate_ends_what_runs(batch: Any) -> None:
    name = submit(batch, containerOverrides={"command": ["sleep", "60"]}, retryStrategy={"attempts": 3})
    until(batch, name, "RUNNING")
    batch.cancel_job(jobId=name, reason="not now")
    assert job(batch, name)["status"] == "RUNNING"
    batch.terminate_job(jobId=name, reason="enough")
    found = until(batch, name)
    assert (found["status"], found["statusReason"]) == ("FAILED", "enough")
    assert found["isTerminated"]
    assert found["container"]["exitCode"] == 143
    assert len(found["attempts"]) == 1


def test_terminate_ends_an_array_with_all_its_children(batch: Any) -> None:
    name = submit(batch, containerOverrides={"command": ["sleep", "60"]}, arrayProperties={"size": 500})
    wait_for(lambda: job(batch, name)["arrayProperties"]["statusSummary"]["RUNNING"] > 1)
    batch.terminate_job(jobId=name, reason="enough")
    found = until(batch, name)
    assert (found["status"], found["statusReason"]) == ("FAILED", "enough")
    assert found["arrayProperties"]["statusSummary"]["FAILED"] == 500
    assert job(batch, f"{name}:499")["statusReason"] == "enough"


def test_jobs_wait_for_capacity_by_priority(cloud: Cloud, batch: Any) -> None:
    resources = {"type": "FARGATE", "maxvCpus": 1, "subnets": ["s"], "securityGroupIds": ["g"]}
    batch.create_compute_environment(computeEnvironmentName="narrow", type="MANAGED", computeResources=resources)
    order = [{"order": 1, "computeEnvironment": "narrow"}]
    for name, priority in (("low", 1), ("high", 10)):
        batch.create_job_queue(jobQueueName=name, priority=priority, computeEnvironmentOrder=order)
    one = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}]
    define(batch, "sleep", "0.3", name="whole", resourceRequirements=one)
    blocker = submit(batch, "whole", "low", containerOverrides={"command": ["sleep", "1"]})
    until(batch, blocker, "RUNNING")
    late = [submit(batch, "whole", "low") for _ in range(2)]
    urgent = submit(batch, "whole", "high")
    until(batch, late[0], "RUNNABLE")
    started = {name: until(batch, name)["startedAt"] for name in (blocker, urgent, *late)}
    assert sorted(started, key=started.__getitem__) == [blocker, urgent, *late]


def test_a_job_that_fits_nowhere_says_so_and_lets_others_pass(batch: Any) -> None:
    prepare(batch, "tiny", 1)
    two = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "4096"}]
    big = submit(batch, queue="tiny", containerOverrides={"resourceRequirements": two})
    small = submit(batch, queue="tiny")
    assert until(batch, small)["status"] == "SUCCEEDED"
    found = job(batch, big)
    assert found["status"] == "RUNNABLE"
    assert found["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
    batch.update_compute_environment(computeEnvironment="tiny-ce", computeResources={"maxvCpus": 2})
    assert until(batch, big)["status"] == "SUCCEEDED"


def test_several_containers_of_one_job(batch: Any) -> None:
    containers = [
        {"name": "main", "image": "test/python:1", "command": ["sh", "-c", "exit 3"], "resourceRequirements": []},
        {"name": "side", "image": "test/python:1", "command": ["sleep", "60"], "essential": False},
    ]
    halves = [{"type": "VCPU", "value": "0.125"}, {"type": "MEMORY", "value": "256"}]
    for container in containers:
        container["resourceRequirements"] = halves
    task = {"containers": containers, "executionRoleArn": "arn:aws:iam::000000000000:role/start"}
    batch.register_job_definition(
        jobDefinitionName="pair",
        type="container",
        platformCapabilities=["FARGATE"],
        ecsProperties={"taskProperties": [task]},
    )
    found = until(batch, submit(batch, "pair"))
    assert found["status"] == "FAILED"
    main, side = found["ecsProperties"]["taskProperties"][0]["containers"]
    assert (main["exitCode"], side["exitCode"]) == (3, 143)
    assert "/main/" in main["logStreamName"]
    assert found["attempts"][0]["taskProperties"][0]["containers"][0]["exitCode"] == 3
    quiet = {"taskProperties": [{"containers": [{"name": "main", "command": ["true"]}]}]}
    assert until(batch, submit(batch, "pair", ecsPropertiesOverride=quiet))["status"] == "SUCCEEDED"


def test_ec2_jobs_run_without_an_address_of_their_own(batch: Any) -> None:
    resources = {"type": "EC2", "maxvCpus": 8, "minvCpus": 0, "instanceTypes": ["optimal"], "subnets": ["s"]}
    batch.create_compute_environment(
        computeEnvironmentName="ec2-ce",
        type="MANAGED",
        computeResources=resources | {"instanceRole": "ecsInstanceRole", "securityGroupIds": ["g"]},
    )
    order = [{"order": 1, "computeEnvironment": "ec2-ce"}]
    batch.create_job_queue(jobQueueName="ec2", priority=1, computeEnvironmentOrder=order)
    container = {"image": "test/python:1", "vcpus": 1, "memory": 128, "command": ["true"]}
    batch.register_job_definition(jobDefinitionName="on-ec2", type="container", containerProperties=container)
    shown = batch.describe_job_definitions(jobDefinitionName="on-ec2")["jobDefinitions"][0]
    assert "platformCapabilities" not in shown, "AWS does not write the default down; Terraform would want to remove it"
    found = until(batch, submit(batch, "on-ec2", "ec2"))
    assert (found["status"], found["platformCapabilities"]) == ("SUCCEEDED", ["EC2"])
    assert (found["container"]["vcpus"], found["container"]["memory"]) == (1, 128)


def test_a_job_over_its_memory_is_killed(batch: Any) -> None:
    two = {"attempts": 2, "evaluateOnExit": [{"onReason": "OutOfMemoryError:*", "action": "EXIT"}]}
    command = ["python", "-c", "import time; kept = bytearray(700_000_000); time.sleep(30)"]
    found = until(batch, submit(batch, containerOverrides={"command": command}, retryStrategy=two))
    assert (found["status"], found["container"]["exitCode"], len(found["attempts"])) == ("FAILED", 137, 1)
    assert found["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_a_queue_that_is_deleted_ends_its_jobs(batch: Any) -> None:
    prepare(batch, "gone")
    name = submit(batch, queue="gone", containerOverrides={"command": ["sleep", "60"]})
    until(batch, name, "RUNNING")
    batch.update_job_queue(jobQueue="gone", state="DISABLED")
    batch.delete_job_queue(jobQueue="gone")
    wait_for(lambda: not batch.describe_job_queues(jobQueues=["gone"])["jobQueues"])
    assert job(batch, name)["status"] == "FAILED"
    batch.update_compute_environment(computeEnvironment="gone-ce", state="DISABLED")
    batch.delete_compute_environment(computeEnvironment="gone-ce")
    assert batch.describe_compute_environments(computeEnvironments=["gone-ce"])["computeEnvironments"] == []


def test_changes_are_told(cloud: Cloud, batch: Any) -> None:
    cloud.changes.clear()
    until(batch, submit(batch))
    states = [state for kind, state in cloud.changes if kind == "batch-job"]
    assert states == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    assert isinstance(cloud.home, Path)
