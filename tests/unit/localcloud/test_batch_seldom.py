"""What seldom happens to Batch jobs: several containers, Spot and EC2, what can never run, an ECS that shuts down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.batch_world import ME, SMALL, World, played, until

from skylift.localcloud.batch.checks import check_definition
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit
TWO = {
    "taskProperties": [
        {
            "executionRoleArn": "r",
            "containers": [
                {"name": "main", "image": "i", "command": ["run"], "resourceRequirements": SMALL},
                {
                    "name": "side",
                    "image": "i",
                    "command": ["help"],
                    "essential": False,
                    "resourceRequirements": [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}],
                },
            ],
        }
    ]
}


def register_two(world: World) -> None:
    request = {"jobDefinitionName": "two", "type": "container", "platformCapabilities": ["FARGATE"]}
    world.batch.register_job_definition(ME, {**request, "ecsProperties": TWO})


def test_a_job_with_two_containers_shows_both(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        register_two(world)
        override = {"taskProperties": [{"containers": [{"name": "main", "command": ["other"]}]}]}
        job = world.submit(jobDefinition="two", ecsPropertiesOverride=override)
        await until(lambda: world.job(job)["status"] == "RUNNING")
        (shown,) = world.job(job)["ecsProperties"]["taskProperties"]
        assert "container" not in world.job(job)
        assert [(one["name"], one["command"]) for one in shown["containers"]] == [
            ("main", ["other"]),
            ("side", ["help"]),
        ]
        assert shown["executionRoleArn"] == "r"
        for container in world.runner.running:
            container.end(3 if container.launch.arguments == ("other",) else 0)
        ended = await world.ends(job)
        assert ended["status"] == "FAILED"
        (attempt,) = ended["attempts"]
        (told,) = attempt["taskProperties"]
        codes = {one["name"]: one["exitCode"] for one in told["containers"]}
        assert codes == {"main": 3, "side": 0}
        assert told["taskArn"].startswith("arn:aws:ecs:us-east-1:000000000000:task/AWSBatch-ce-")

    played(tmp_path, scenario)


@pytest.mark.parametrize("count", [0, 2])
def test_there_is_exactly_one_ecs_task_in_a_job(count: int) -> None:
    request = {"jobDefinitionName": "d", "type": "container", "platformCapabilities": ["FARGATE"]}
    with pytest.raises(AwsError, match="ecsProperties must have exactly one element in taskProperties"):
        check_definition({**request, "ecsProperties": {"taskProperties": TWO["taskProperties"] * count}})


def test_where_a_job_runs_is_its_compute_environments(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        spot = {"type": "FARGATE_SPOT", "maxvCpus": 4, "subnets": ["s2"], "securityGroupIds": ["g2"]}
        machines = {"type": "EC2", "maxvCpus": 4, "minvCpus": 0, "instanceTypes": ["optimal"], "instanceRole": "r",
                    "subnets": ["s3"]}  # fmt: skip
        world.prepare()
        for name, resources in (("spot", spot), ("machines", machines)):
            made = {"computeEnvironmentName": name, "type": "MANAGED", "computeResources": resources}
            world.batch.create_compute_environment(ME, made)
            order = [{"order": 1, "computeEnvironment": name}]
            world.batch.create_job_queue(ME, {"jobQueueName": name, "priority": 1, "computeEnvironmentOrder": order})
        container = {"image": "i", "command": ["run"], "resourceRequirements": SMALL}
        world.batch.register_job_definition(
            ME, {"jobDefinitionName": "ec2", "type": "container", "containerProperties": container}
        )
        for queue, definition, where in (
            ("q", "d", ("FARGATE", None)),
            ("spot", "d", ("FARGATE", "FARGATE_SPOT")),
            ("machines", "ec2", ("EC2", None)),
        ):
            job = world.submit(jobQueue=queue, jobDefinition=definition)
            await until(lambda job=job: world.job(job)["status"] == "RUNNING")
            arn = world.job(job)["container"]["taskArn"]
            task = world.ecs.store.tasks[arn.rpartition("/")[2]].document
            assert (task.get("launchType"), task.get("capacityProviderName")) == where, queue
            assert task["startedBy"] == job

    played(tmp_path, scenario)


def test_a_job_that_no_compute_environment_can_take_says_so_and_lets_others_pass(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare(vcpus=1)
        large = [{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "8192"}]
        never = world.submit(containerOverrides={"resourceRequirements": large})
        array = world.submit(arrayProperties={"size": 2}, containerOverrides={"resourceRequirements": large})
        runs = world.submit()
        await until(lambda: world.job(runs)["status"] == "RUNNING")
        await until(lambda: world.job(array).get("statusReason"))
        for job in (never, array):
            shown = world.job(job)
            assert shown["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"), job
        assert world.job(never)["status"] == "RUNNABLE"
        assert world.job(f"{array}:1")["statusReason"] == world.job(array)["statusReason"]
        assert "statusReason" not in world.job(runs)

    played(tmp_path, scenario)


def test_the_children_of_an_array_have_no_tags_of_their_own(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        array = world.submit(arrayProperties={"size": 2}, tags={"a": "b"})
        begin = "arn:aws:batch:us-east-1:000000000000:job/"
        assert world.batch.list_tags_for_resource(ME, {"resourceArn": begin + array}) == {"tags": {"a": "b"}}
        for name, why in ((f"{array}:1", "tag the array"), ("none", "Job none does not exist")):
            with pytest.raises(AwsError, match=why):
                world.batch.list_tags_for_resource(ME, {"resourceArn": begin + name})
        for wrong in ("x", "arn:aws:ecs:us-east-1:000000000000:job/x", "arn:aws:batch:us-east-1:000000000000:other/x"):
            with pytest.raises(AwsError, match=r"Invalid ARN|does not exist"):
                world.batch.list_tags_for_resource(ME, {"resourceArn": wrong})

    played(tmp_path, scenario)


@pytest.mark.parametrize(
    ("orders", "why"),
    [([1, 1], "every order must be there once only"), ([], "1 to 3 compute environments"), ([1, 2, 3, 4], "1 to 3")],
)
def test_the_order_of_compute_environments(tmp_path: Path, orders: list[int], why: str) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        resources = {"type": "FARGATE", "maxvCpus": 1, "subnets": ["s"], "securityGroupIds": ["g"]}
        for number in range(4):
            made = {"computeEnvironmentName": f"e{number}", "type": "MANAGED", "computeResources": resources}
            world.batch.create_compute_environment(ME, made)
        order: list[dict[str, Any]] = [
            {"order": order, "computeEnvironment": f"e{number}"} for number, order in enumerate(orders)
        ]
        request = {"jobQueueName": "n", "priority": 1, "computeEnvironmentOrder": order}
        with pytest.raises(AwsError, match=why):
            world.batch.create_job_queue(ME, request)
        fine = [{"order": 7, "computeEnvironment": "e1"}, {"order": 3, "computeEnvironment": "e0"}]
        world.batch.create_job_queue(ME, {**request, "computeEnvironmentOrder": fine[:3]})

    played(tmp_path, scenario)
