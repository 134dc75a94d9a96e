"""Limits of AWS, each at its edge: the last value that is taken, and the first that is not (Batch's API reference and
"Service quotas"; ECS's API reference)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit import batch_world
from tests.unit.localcloud import test_ecs_engine as ecs_world

from skylift.localcloud.batch.checks import check_definition, check_retries, check_submission, check_timeout
from skylift.localcloud.batch.shapes import merged_tags, page
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit
ME = ecs_world.ME
QUEUE: Any = {"state": "ENABLED", "jobQueueType": "ECS_FARGATE", "jobQueueName": "q"}


def need(kind: str, value: str) -> dict[str, str]:
    return {"type": kind, "value": value}


def work(**members: Any) -> dict[str, Any]:
    container = {"image": "i", "resourceRequirements": batch_world.SMALL, "executionRoleArn": "r"}
    made = {"jobDefinitionName": "d", "type": "container", "platformCapabilities": ["FARGATE"]}
    return {**made, "containerProperties": {**container, **members}}


def on_ec2(**members: Any) -> dict[str, Any]:
    made = work(resourceRequirements=[need("VCPU", "1"), need("MEMORY", "4")], **members)
    return {**made, "platformCapabilities": ["EC2"]}


def submission(**members: Any) -> dict[str, Any]:
    return {"jobName": "n", "jobQueue": "q", "jobDefinition": "d", **members}


def submitted(**members: Any) -> None:
    check_submission(submission(**members), work(), QUEUE)


def rules(count: int, **rule: Any) -> dict[str, Any]:
    return {"attempts": 1, "evaluateOnExit": [{"action": "RETRY", "onExitCode": "1", **rule}] * count}


def in_definition(size: int) -> None:
    """A definition of so many bytes of JSON."""
    rest = len('{"name":"A","value":""}') + len('"environment":[],')
    plain = len(json.dumps(work(), separators=(",", ":")))
    check_definition(work(environment=[{"name": "A", "value": "x" * (size - plain - rest)}]))


def in_submission(size: int) -> None:
    plain = len(json.dumps(submission(parameters={"p": ""}), separators=(",", ":")))
    submitted(parameters={"p": "x" * (size - plain)})


EDGES: list[tuple[str, Callable[[Any], object], Any, Any]] = [
    ("bytes of a definition", in_definition, 24 * 1024, 24 * 1024 + 1),
    ("bytes of a submission", in_submission, 30 * 1024, 30 * 1024 + 1),
    ("children", lambda n: submitted(arrayProperties={"size": n}), 10_000, 10_001),
    ("fewest children", lambda n: submitted(arrayProperties={"size": n}), 2, 1),
    ("dependencies", lambda n: submitted(dependsOn=[{"jobId": "x"}] * n), 20, 21),
    ("attempts", lambda n: check_retries({"attempts": n}), 10, 11),
    ("fewest attempts", lambda n: check_retries({"attempts": n}), 1, 0),
    ("rules", lambda n: check_retries(rules(n)), 5, 6),
    ("exit code's characters", lambda n: check_retries(rules(1, onExitCode="1" * n)), 511, 512),
    ("reason's characters", lambda n: check_retries(rules(1, onReason="x" * n)), 511, 512),
    ("seconds of a time-out", lambda n: check_timeout({"attemptDurationSeconds": n}), 60, 59),
    ("memory", lambda n: check_definition({**on_ec2(), "containerProperties": {"image": "i", "vcpus": 1, "memory": n}}), 4, 3),
    ("vCPUs", lambda n: check_definition({**on_ec2(), "containerProperties": {"image": "i", "vcpus": n, "memory": 4}}), 1, 0),
    ("name's characters", lambda n: check_definition({**work(), "jobDefinitionName": "d" * n}), 128, 129),
    ("tags", lambda n: merged_tags({}, {f"t{one}": "" for one in range(n)}), 50, 51),
    ("a page", lambda n: page(range(300), {"maxResults": n}), 100, 101),
    ("the least page", lambda n: page(range(300), {"maxResults": n}), 1, 0),
]  # fmt: skip


@pytest.mark.parametrize(("what", "call", "last", "first"), EDGES, ids=[edge[0] for edge in EDGES])
def test_batch_takes_the_last_and_refuses_the_first(
    what: str, call: Callable[[Any], object], last: Any, first: Any
) -> None:
    call(last)
    with pytest.raises(AwsError) as refused:
        call(first)
    assert refused.value.code == "ClientException"


def test_batch_s_operations_take_the_last_and_refuse_the_first(tmp_path: Path) -> None:
    async def scenario(world: batch_world.World) -> None:
        world.prepare()
        batch, job = world.batch, world.submit()

        def refused(operation: str, **request: Any) -> None:
            with pytest.raises(AwsError) as error:
                getattr(batch, operation)(ME, request)
            assert error.value.code == "ClientException", operation

        assert len(batch.describe_jobs(ME, {"jobs": [job, *map(str, range(99))]})["jobs"]) == 1
        refused("describe_jobs", jobs=[*map(str, range(101))])
        refused("describe_jobs", jobs=[])
        for verb in ("terminate", "cancel"):
            batch_of = getattr(batch, f"{verb}_jobs")
            assert len(batch_of(ME, {"jobs": ["x"] * 50, "reason": "r" * 1024})["successful"]) == 50
            refused(f"{verb}_jobs", jobs=["x"] * 51, reason="r")
            refused(f"{verb}_jobs", jobs=[], reason="r")
            refused(f"{verb}_jobs", jobs=["x"], reason="r" * 1025)
            refused(f"{verb}_job", jobId="x", reason="")
        for number in range(3):
            resources = {"type": "FARGATE", "maxvCpus": 1, "subnets": ["s"], "securityGroupIds": ["g"]}
            name = {"computeEnvironmentName": f"e{number}", "type": "MANAGED"}
            batch.create_compute_environment(ME, {**name, "computeResources": resources})
        order = [{"order": n, "computeEnvironment": name} for n, name in enumerate(("ce", "e0", "e1", "e2"))]
        batch.create_job_queue(ME, {"jobQueueName": "three", "priority": 1000, "computeEnvironmentOrder": order[:3]})
        refused("create_job_queue", jobQueueName="four", priority=1, computeEnvironmentOrder=order)
        refused("create_job_queue", jobQueueName="none", priority=1, computeEnvironmentOrder=[])
        refused("create_job_queue", jobQueueName="high", priority=1001, computeEnvironmentOrder=order[:1])
        refused("create_job_queue", jobQueueName="low", priority=-1, computeEnvironmentOrder=order[:1])
        batch.create_job_queue(ME, {"jobQueueName": "zero", "priority": 0, "computeEnvironmentOrder": order[:1]})

    batch_world.played(tmp_path, scenario)


def test_the_front_of_a_queue_is_a_hundred(tmp_path: Path) -> None:
    async def scenario(world: batch_world.World) -> None:
        world.prepare()
        world.batch.update_compute_environment(ME, {"computeEnvironment": "ce", "state": "DISABLED"})
        jobs = [world.submit() for _ in range(101)]
        await batch_world.until(lambda: world.states(jobs) == {"RUNNABLE": 101})
        front = world.batch.get_job_queue_snapshot(ME, {"jobQueue": "q"})["frontOfQueue"]["jobs"]
        assert [one["jobArn"].rpartition("/")[2] for one in front] == jobs[:100]

    batch_world.played(tmp_path, scenario)


def test_an_ecs_task_is_protected_for_two_hours_or_up_to_two_days(tmp_path: Path) -> None:
    async def scenario(world: ecs_world.World) -> None:
        world.serve()
        await ecs_world.until(lambda: world.service["runningCount"] == 1)
        member = world.ecs.list_tasks(ME, {"serviceName": "s"})["taskArns"][0]

        def minutes(**members: Any) -> float:
            request = {"tasks": [member], "protectionEnabled": True, **members}
            (one,) = world.ecs.update_task_protection(ME, request)["protectedTasks"]
            return float((one["expirationDate"].timestamp() - world.clock()) / 60)

        assert (minutes(), minutes(expiresInMinutes=1), minutes(expiresInMinutes=2880)) == (120, 1, 2880)
        for wrong in ({"expiresInMinutes": 0}, {"expiresInMinutes": 2881}, {"tasks": []}, {"tasks": [member] * 11}):
            with pytest.raises(AwsError) as refused:
                minutes(**wrong)
            assert refused.value.code == "InvalidParameterException"
        assert world.ecs.update_task_protection(ME, {"tasks": [member] * 10, "protectionEnabled": True})
        many = [f"{number:032x}" for number in range(101)]
        assert len(world.ecs.get_task_protection(ME, {"tasks": many[:100]})["failures"]) == 100
        with pytest.raises(AwsError, match="more than 100"):
            world.ecs.get_task_protection(ME, {"tasks": many})

    ecs_world.played(tmp_path, scenario)
