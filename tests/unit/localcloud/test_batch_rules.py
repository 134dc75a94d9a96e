"""Batch's pure decisions: what is refused, what an attempt's end means, what a container gets, which job is next."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tests.unit.refusals import says_whose

from skylift.core.errors import Broken
from skylift.localcloud.batch.checks import check_definition, check_submission
from skylift.localcloud.batch.containers import (
    batch_environment,
    ecs_overrides,
    ecs_request,
    ecs_tags,
    effective,
    size_of,
)
from skylift.localcloud.batch.dependencies import DependencyState, Room, gate_of, gate_of_child, room_for
from skylift.localcloud.batch.lifecycle import BATCH_JOB, ENDED, JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob, SubmittedJob, packed, unpack
from skylift.localcloud.batch.runnable_queue import RunnableQueue
from skylift.localcloud.batch.verdict import AttemptEnd, ended, judge
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit

SMALL = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
CONTAINER: dict[str, Any] = {
    "image": "i",
    "command": ["echo", "Ref::what", "--x=Ref::what/Ref::none"],
    "resourceRequirements": SMALL,
    "executionRoleArn": "r",
}
TASK = {"containers": [{"name": "a", "image": "i", "resourceRequirements": SMALL}], "executionRoleArn": "r"}
QUEUE = {"jobQueueName": "q", "state": "ENABLED", "jobQueueType": "ECS_FARGATE"}


def definition(**members: Any) -> dict[str, Any]:
    return {
        "jobDefinitionName": "d",
        "type": "container",
        "platformCapabilities": ["FARGATE"],
        "containerProperties": copy.deepcopy(CONTAINER),
        **members,
    }


def container(**members: Any) -> dict[str, Any]:
    return definition(containerProperties={**CONTAINER, **members})


def submission(number: int = 1, size: int = 0, **request: Any) -> SubmittedJob:
    return SubmittedJob(f"job-{number}", number, 0.0, {"jobName": "n", **request}, "d", "q", size)


WRONG_DEFINITIONS = [
    (definition(jobDefinitionName="-d"), "valid pattern"),
    (definition(jobDefinitionName="d" * 129), "valid pattern"),
    (definition(type="multinode"), "Multi-node parallel jobs are not supported by skylift's local cloud"),
    (definition(eksProperties={"podProperties": {}}), "eksProperties is not supported by skylift's local cloud"),
    ({**definition(), "ecsProperties": {"taskProperties": [TASK]}}, "Either containerProperties or ecsProperties"),
    ({"jobDefinitionName": "d", "type": "container"}, "Either containerProperties or ecsProperties"),
    (definition(platformCapabilities=["LAMBDA"]), "not one of EC2, FARGATE"),
    (container(image=""), "Container.image should not be null or empty."),
    (container(resourceRequirements=[]), "vCPUs should be greater than 0"),
    (container(resourceRequirements=[SMALL[0]]), "memory should be at least 4"),
    (container(resourceRequirements=[SMALL[0], {"type": "MEMORY", "value": "3"}]), "memory should be at least 4"),
    (container(resourceRequirements=[{"type": "VCPU", "value": "some"}, SMALL[1]]), "must be numbers"),
    (
        container(resourceRequirements=[*SMALL, {"type": "GPU", "value": "1"}]),
        "GPUs are not supported by skylift's local cloud",
    ),
    (container(resourceRequirements=[SMALL[0], {"type": "MEMORY", "value": "600"}]), "Fargate resource requirements"),
    (container(executionRoleArn=""), "EXECUTIONROLE_REQUIRED"),
    (container(privileged=True), "privileged is not applicable"),
    (container(resourceRequirements=[], vcpus=1, memory=2048), "must use resourceRequirements"),
    (container(environment=[{"name": "A", "value": "x" * 25_000}]), "24 KiB"),
    (definition(retryStrategy={"attempts": 0}), "between 1 and 10"),
    (definition(retryStrategy={"attempts": 11}), "between 1 and 10"),
    (definition(retryStrategy={"evaluateOnExit": [{"action": "EXIT", "onReason": "*"}]}), "attempts must be specified"),
    (definition(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "EXIT"}]}), "at least one of"),
    (definition(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "x"}]}), "digits"),
    (definition(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "*1"}]}), "digits"),
    (
        definition(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onReason": "a*b"}]}),
        "512 characters",
    ),
    (
        definition(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onReason": "*"}] * 6}),
        "at most 5",
    ),
    (definition(timeout={"attemptDurationSeconds": 59}), "at least 60"),
    (definition(timeout={}), "at least 60"),
]


@pytest.mark.parametrize(("request_", "text"), WRONG_DEFINITIONS, ids=lambda value: value if type(value) is str else "")
def test_definitions_are_refused(request_: dict[str, Any], text: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_definition(request_)
    assert caught.value.code == "ClientException"
    assert says_whose(text, caught.value.message), caught.value.message


@pytest.mark.parametrize(
    "request_",
    [
        definition(retryStrategy={"attempts": 10, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "1*"}] * 5}),
        definition(timeout={"attemptDurationSeconds": 60}),
        {"jobDefinitionName": "d", "type": "container", "containerProperties": {"image": "i", "vcpus": 1, "memory": 4}},
        {k: v for k, v in definition(ecsProperties={"taskProperties": [TASK]}).items() if k != "containerProperties"},
    ],
)
def test_definitions_are_accepted(request_: dict[str, Any]) -> None:
    assert check_definition(request_) is None, "nothing is said against it"


def test_the_size_of_a_definition_is_counted_as_it_is_sent() -> None:
    """Without the blanks that Python's json puts between."""
    small = container(environment=[{"name": "A", "value": "b"}] * 940)
    assert len(json.dumps(small, separators=(",", ":"))) < 24 * 1024 < len(json.dumps(small))
    assert check_definition(small) is None


WRONG_SUBMISSIONS = [
    ({"jobName": "a b"}, "Job name should match valid pattern"),
    ({"jobName": "n" * 129}, "Job name should match valid pattern"),
    ({"parameters": {"a": "x" * 31_000}}, "30 KiB"),
    ({"nodeOverrides": {"numNodes": 2}}, "nodeOverrides is not supported by skylift's local cloud"),
    ({"shareIdentifier": "a"}, "no scheduling policy"),
    ({"containerOverrides": {"vcpus": 1, "memory": 512}}, "must use resourceRequirements, not memory and vcpus"),
    ({"arrayProperties": {"size": 1}}, "between 2 and 10000"),
    ({"arrayProperties": {"size": 10_001}}, "between 2 and 10000"),
    ({"dependsOn": [{"jobId": "x"}] * 21}, "at most 20"),
    ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "array jobs only"),
    ({"dependsOn": [{"jobId": "x", "type": "N_TO_N"}]}, "array jobs only"),
    ({"dependsOn": [{}], "arrayProperties": {"size": 2}}, "without a jobId"),
    ({"timeout": {"attemptDurationSeconds": 5}}, "at least 60"),
    ({"retryStrategy": {"attempts": 99}}, "between 1 and 10"),
    ({"ecsPropertiesOverride": {"taskProperties": []}}, "ecsPropertiesOverride cannot be used"),
    (
        {"containerOverrides": {"resourceRequirements": [{"type": "MEMORY", "value": "5"}]}},
        "Fargate resource requirements",
    ),
]


@pytest.mark.parametrize(("members", "text"), WRONG_SUBMISSIONS, ids=lambda value: value if type(value) is str else "")
def test_submissions_are_refused(members: dict[str, Any], text: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_submission({"jobName": "n", **members}, definition(), QUEUE)
    assert caught.value.code == "ClientException"
    assert says_whose(text, caught.value.message), caught.value.message


def test_submissions_need_a_queue_that_takes_them() -> None:
    check_submission({"jobName": "n"}, definition(), QUEUE)
    with pytest.raises(AwsError, match="not in ENABLED state"):
        check_submission({"jobName": "n"}, definition(), QUEUE | {"state": "DISABLED"})
    with pytest.raises(AwsError, match="do not match"):
        check_submission({"jobName": "n"}, definition(platformCapabilities=["EC2"]), QUEUE)
    several = {key: value for key, value in definition().items() if key != "containerProperties"}
    several["ecsProperties"] = {"taskProperties": [TASK]}
    override = {"taskProperties": [{"containers": [{"name": "b"}]}]}
    with pytest.raises(AwsError, match="not in the job definition: b"):
        check_submission({"jobName": "n", "ecsPropertiesOverride": override}, several, QUEUE)
    with pytest.raises(AwsError, match="containerOverrides cannot be used"):
        check_submission({"jobName": "n", "containerOverrides": {}}, several, QUEUE)


def end(code: int | None = 1, reason: str = "", status: str = "Essential container in task exited") -> AttemptEnd:
    return AttemptEnd(code, reason, status, code == 0)


@pytest.mark.parametrize(
    ("ending", "strategy", "attempts", "status"),
    [
        (end(0), {"attempts": 3}, 1, "SUCCEEDED"),
        (end(1), {}, 1, "FAILED"),
        (end(1), {"attempts": 3}, 2, "RUNNABLE"),
        (end(1), {"attempts": 3}, 3, "FAILED"),
        (end(5), {"attempts": 3, "evaluateOnExit": [{"onExitCode": "5", "action": "EXIT"}]}, 1, "FAILED"),
        (end(50), {"attempts": 3, "evaluateOnExit": [{"onExitCode": "5", "action": "EXIT"}]}, 1, "RUNNABLE"),
        (end(50), {"attempts": 3, "evaluateOnExit": [{"onExitCode": "5*", "action": "EXIT"}]}, 1, "FAILED"),
        (
            end(1, "OutOfMemoryError: x"),
            {
                "attempts": 3,
                "evaluateOnExit": [
                    {"onReason": "OutOfMemory*", "action": "EXIT"},
                    {"onExitCode": "*", "action": "RETRY"},
                ],
            },
            1,
            "FAILED",
        ),
        (
            end(1),
            {"attempts": 3, "evaluateOnExit": [{"onExitCode": "1", "onReason": "Cannot*", "action": "EXIT"}]},
            1,
            "RUNNABLE",
        ),
        (
            end(None, "", "Your Spot Task was interrupted."),
            {
                "attempts": 3,
                "evaluateOnExit": [
                    {"onStatusReason": "Your Spot Task was interrupted*", "action": "RETRY"},
                    {"onReason": "*", "action": "EXIT"},
                ],
            },
            1,
            "RUNNABLE",
        ),
        (end(1), {"attempts": 3, "evaluateOnExit": [{"onReason": "*", "action": "exit"}]}, 1, "FAILED"),
    ],
)
def test_verdicts(ending: AttemptEnd, strategy: dict[str, Any], attempts: int, status: str) -> None:
    assert judge(ending, strategy, attempts, "", closed=False).status == status


def test_what_someone_ended_is_not_tried_again() -> None:
    verdict = judge(end(0), {"attempts": 9}, 1, "enough", closed=False)
    assert (verdict.status, verdict.reason) == (JobState.FAILED, "enough")
    assert judge(end(1), {"attempts": 9}, 1, "", closed=True).status == JobState.FAILED


@pytest.mark.parametrize(
    ("task", "code", "reason", "status_reason", "success"),
    [
        ({"containers": [{"name": "a", "exitCode": 0}, {"name": "b", "exitCode": 143}]}, 0, "", "x", True),
        ({"containers": [{"name": "a", "exitCode": 3, "reason": "r"}, {"name": "b"}]}, 3, "r", "x", False),
        (
            {"containers": [{"name": "a"}, {"name": "b"}], "stopCode": "TaskFailedToStart"},
            None,
            "x",
            "Task failed to start",
            False,
        ),
    ],
)
def test_the_end_of_an_attempt_is_read(
    task: dict[str, Any], code: int | None, reason: str, status_reason: str, success: bool
) -> None:
    containers = [{"name": "a"}, {"name": "b", "essential": False}]
    found = ended({"stoppedReason": "x", **task}, {"containerDefinitions": containers})
    assert found == AttemptEnd(code, reason, status_reason, success)


def test_overrides_and_parameters_are_put_together() -> None:
    base = container(environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    base["parameters"] = {"what": "this"}
    request = {
        "parameters": {"what": "that"},
        "containerOverrides": {
            "environment": [{"name": "B", "value": "3"}],
            "resourceRequirements": [{"type": "MEMORY", "value": "1024"}],
        },
    }
    (found,) = effective(base, request)
    assert found["command"] == ["echo", "that", "--x=that/Ref::none"]
    assert found["environment"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    assert (size_of([found]).vcpus, size_of([found]).memory) == (0.25, 1024)
    assert base["containerProperties"]["command"] == CONTAINER["command"]
    assert effective(base, {"containerOverrides": {"command": ["true"]}})[0]["command"] == ["true"]


def test_old_members_are_overridden_by_either_form() -> None:
    base = definition(containerProperties={"image": "i", "vcpus": 1, "memory": 100})
    (found,) = effective(base, {"containerOverrides": {"memory": 200}})
    assert (found["vcpus"], found["memory"]) == (1, 200)
    (found,) = effective(base, {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}})
    assert (size_of([found]).vcpus, size_of([found]).memory) == (2.0, 100)
    assert "vcpus" not in found


def test_old_overrides_never_win_over_resource_requirements() -> None:
    base = definition(platformCapabilities=["EC2"], containerProperties={**CONTAINER, "resourceRequirements": SMALL})
    (plain,) = effective(base, {})
    (found,) = effective(base, {"containerOverrides": {"vcpus": 9, "memory": 9000}})
    assert size_of([found]) == size_of([plain])
    both = {"vcpus": 9, "resourceRequirements": [{"type": "VCPU", "value": "2"}]}
    assert size_of(effective(base, {"containerOverrides": both})).vcpus == 2.0


def test_the_ecs_task_definition_of_a_job_definition() -> None:
    found = ecs_request(container(jobRoleArn="role", secrets=[{"name": "S", "valueFrom": "arn"}]), "eu-west-1")
    assert (found["networkMode"], found["cpu"], found["memory"], found["taskRoleArn"]) == (
        "awsvpc",
        "256",
        "512",
        "role",
    )
    (inner,) = found["containerDefinitions"]
    assert (inner["name"], inner["cpu"], inner["secrets"]) == ("default", 256, [{"name": "S", "valueFrom": "arn"}])
    assert inner["logConfiguration"]["options"] == {
        "awslogs-region": "eu-west-1",
        "awslogs-stream-prefix": "d",
        "awslogs-group": "/aws/batch/job",
        "awslogs-create-group": "true",
    }
    logs = {"logDriver": "awslogs", "options": {"awslogs-group": "mine", "awslogs-stream-prefix": "p"}}
    (inner,) = ecs_request(container(logConfiguration=logs), "eu-west-1")["containerDefinitions"]
    assert inner["logConfiguration"]["options"] == {
        "awslogs-region": "eu-west-1",
        "awslogs-stream-prefix": "p",
        "awslogs-group": "mine",
    }
    assert ecs_request(definition(platformCapabilities=["EC2"]), "r")["networkMode"] == "host"


def test_batch_sets_its_variables_last() -> None:
    job = BatchJob(submission(size=7), index=3)
    job.attempts = [{}]
    said = {pair["name"]: pair["value"] for pair in batch_environment(job, "q", "ce")}
    assert said == {
        "AWS_BATCH_CE_NAME": "ce",
        "AWS_BATCH_JOB_ATTEMPT": "2",
        "AWS_BATCH_JOB_ID": "job-1:3",
        "AWS_BATCH_JQ_NAME": "q",
        "AWS_BATCH_JOB_ARRAY_INDEX": "3",
        "AWS_BATCH_JOB_ARRAY_SIZE": "7",
    }
    base = container(environment=[{"name": "AWS_BATCH_JOB_ID", "value": "mine"}])
    override = ecs_overrides(base, BatchJob(submission()), "q", "ce")["containerOverrides"][0]
    assert [pair["value"] for pair in override["environment"] if pair["name"] == "AWS_BATCH_JOB_ID"] == [
        "mine",
        "job-1",
    ]


def test_tags_go_to_the_ecs_task_when_asked() -> None:
    job = submission()
    job.tags = {"a": "job"}
    base = definition(tags={"a": "definition", "b": "definition"})
    assert ecs_tags(base, job) == []
    expected = [{"key": "a", "value": "job"}, {"key": "b", "value": "definition"}]
    assert ecs_tags({**base, "propagateTags": True}, job) == expected
    job.request["propagateTags"] = False
    assert ecs_tags({**base, "propagateTags": True}, job) == []


def test_gates() -> None:
    known: dict[str, BatchJob] = {"a": BatchJob(submission(), status=JobState.SUCCEEDED), "b": BatchJob(submission())}
    job = BatchJob(submission(2, dependsOn=[{"jobId": "a"}, {"jobId": "b", "type": "SEQUENTIAL"}]))
    assert gate_of(job, known.get) is DependencyState.CLOSED
    known["b"].status = JobState.SUCCEEDED
    assert gate_of(job, known.get) is DependencyState.OPEN
    known["a"].status = JobState.FAILED
    assert gate_of(job, known.get) is DependencyState.SHUT
    del known["a"]
    assert gate_of(job, known.get) is DependencyState.SHUT


def test_gates_of_children() -> None:
    array = ArrayJob(submission(2, 3, dependsOn=[{"jobId": "a", "type": "N_TO_N"}, {"type": "SEQUENTIAL"}]))
    states = {"a:0": JobState.SUCCEEDED, "a:1": JobState.SUCCEEDED, "a:2": JobState.FAILED}

    def find(name: str) -> BatchJob:
        return BatchJob(submission(), status=states[name])

    assert gate_of(array, find) is DependencyState.OPEN
    assert gate_of_child(array, 0, find) is DependencyState.OPEN
    assert gate_of_child(array, 1, find) is DependencyState.CLOSED
    array.children[0] = BatchJob(array.submission, 0, JobState.SUCCEEDED)
    assert gate_of_child(array, 1, find) is DependencyState.OPEN
    assert gate_of_child(array, 2, find) is DependencyState.SHUT


def place(name: str, most: int, state: str = "ENABLED") -> dict[str, Any]:
    return {"computeEnvironmentName": name, "state": state, "computeResources": {"maxvCpus": most}}


def test_rooms() -> None:
    order = [{"order": 2, "computeEnvironment": "arn:x/b"}, {"order": 1, "computeEnvironment": "arn:x/a"}]
    queue = {"computeEnvironmentOrder": order}
    places = {"a": place("a", 4), "b": place("b", 8)}
    used = {"a": 0.0, "b": 0.0}
    assert room_for(queue, 2, places, used.__getitem__) == "a"
    used["a"] = 3.0
    assert room_for(queue, 2, places, used.__getitem__) == "b"
    used["b"] = 7.0
    assert room_for(queue, 2, places, used.__getitem__) is Room.LATER
    assert room_for(queue, 9, places, used.__getitem__) is Room.NEVER
    used["b"] = 0.0
    places["b"]["state"] = "DISABLED"
    assert room_for(queue, 2, places, used.__getitem__) is Room.LATER


def test_lines_serve_the_old_before_the_young_and_arrays_in_order() -> None:
    lines = RunnableQueue()
    young = BatchJob(submission(3), status=JobState.RUNNABLE)
    array = ArrayJob(submission(2, 3), rest=JobState.RUNNABLE)
    old = BatchJob(submission(1), status=JobState.RUNNABLE)
    for job in (young, array, old):
        lines.enter(job)
    assert [job.id for job in lines.front("q", 9)] == ["job-1", "job-2:0", "job-3"]
    assert lines.head("q") is old
    old.status = JobState.STARTING
    for index in range(3):
        head = lines.head("q")
        assert head is not None
        assert head.id == f"job-2:{index}"
        array.children[index] = head
    assert lines.head("q") is young
    lines.step_aside("q")
    assert lines.head("q") is None
    lines.all_return()
    assert lines.head("q") is young


def test_queues_are_served_by_priority_then_by_age() -> None:
    lines = RunnableQueue()
    queues = [
        {"jobQueueArn": name, "priority": priority} for name, priority in (("a", 1), ("b", 5), ("c", 5), ("d", 9))
    ]
    for number, name in enumerate(("a", "c", "b")):
        job = BatchJob(submission(number), status=JobState.RUNNABLE)
        job.submission.queue = name
        lines.enter(job)
    assert [queue["jobQueueArn"] for queue, _ in lines.by_priority(queues)] == ["c", "b", "a"]


def test_a_state_survives_being_written() -> None:
    job = ArrayJob(submission(size=3), status=JobState.PENDING, rest=JobState.RUNNABLE, ending="x", terminated=True)
    again = ArrayJob(submission(size=3))
    unpack(again, packed(job))
    assert again == job
    assert packed(BatchJob(submission())) == {"status": "SUBMITTED"}


def test_children_that_share_a_state_are_counted() -> None:
    array = ArrayJob(submission(size=5), rest=JobState.RUNNABLE)
    array.children[1] = BatchJob(array.submission, 1, JobState.RUNNING)
    array.counts[JobState.RUNNING] = 1
    assert array.summary()[JobState.RUNNABLE] == 4
    assert array.summary()[JobState.RUNNING] == 1
    assert [array.child(index).status for index in range(5)].count(JobState.RUNNABLE) == 4


def test_the_lifecycle_is_batchs() -> None:
    assert all(BATCH_JOB.is_final(state) for state in ENDED)
    with pytest.raises(Broken):
        BATCH_JOB.move(JobState.RUNNABLE, JobState.SUCCEEDED)
