"""Whole stories of the local cloud, each answer in full: what a container is started with and sees of itself, what
becomes of a service, what its ECS tasks use, and the life of a capacity provider."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit import batch_world
from tests.unit.localcloud import test_ecs_engine as ecs_world
from tests.unit.localcloud.test_ecs_metadata import LOG, Asked
from tests.unit.localcloud.test_ecs_usage import World as UsageWorld
from tests.unit.localcloud.test_ecs_usage import used
from tests.unit.whole_answers import Story, compared

from skylift.localcloud.containers.oci import OciImage
from skylift.localcloud.ecs.tasks.launch import CREDENTIALS, METADATA, Fetched, Wanted, launch
from skylift.localcloud.ports import CloudContext

pytestmark = pytest.mark.unit
FILES = Path(__file__).parent / "answers"
ME = ecs_world.ME
NETWORK = {"awsvpcConfiguration": {"subnets": ["s1"], "securityGroups": ["g"]}}
MOMENTS = {
    "createdAt", "updatedAt", "startedAt", "stoppedAt", "stoppingAt", "pullStartedAt", "pullStoppedAt", "connectivityAt",
    "executionStoppedAt", "CreatedAt", "StartedAt", "PullStartedAt", "PullStoppedAt", "time", "Expiration",
}  # fmt: skip
SECRETS = {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AccessKeyId", "SecretAccessKey", "Token"}


def steady(value: Any, folder: Path) -> Any:
    """Without what differs in each run: moments are kept as what they are, the test's folder and secrets by name."""
    if isinstance(value, dict):
        return {
            key: type(inner).__name__
            if key in MOMENTS
            else "a secret"
            if key in SECRETS and inner
            else steady(inner, folder)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [steady(inner, folder) for inner in value]
    if not isinstance(value, str | Path):
        return value
    return re.sub("containers/[0-9a-f]{12}", "containers/<id>", str(value).replace(str(folder), "<folder>"))


def story(folder: Path, name: str, scenario: Callable[[ecs_world.World, Story], Awaitable[None]]) -> None:
    told = Story()

    async def play(world: ecs_world.World) -> None:
        await scenario(world, told)

    ecs_world.played(folder, play)
    compared(steady(told, folder), FILES / name)


FULL: dict[str, Any] = {
    **ecs_world.definition(logConfiguration=LOG),
    "taskRoleArn": "arn:aws:iam::000000000000:role/task",
    "volumes": [],
    "containerDefinitions": [
        {
            "name": "main",
            "image": "i",
            "entryPoint": ["start"],
            "command": ["run", "it"],
            "cpu": 64,
            "memory": 256,
            "workingDirectory": "/below",
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "AWS_REGION"}],
            "dependsOn": [{"containerName": "side", "condition": "START"}],
            "logConfiguration": LOG,
            "ulimits": [{"name": "nofile", "softLimit": 100, "hardLimit": 200}],
        },
        {"name": "side", "image": "/bin/thing", "command": ["/bin/sleep"], "essential": False},
    ],
}


def test_what_a_container_is_started_with_and_sees_of_itself(tmp_path: Path) -> None:
    async def scenario(world: ecs_world.World, told: Story) -> None:
        world.ecs.register_task_definition(ME, FULL)
        override = {"name": "main", "command": ["other"], "environment": [{"name": "B", "value": "3"}], "memory": 300}
        run = world.ecs.run_task(
            ME,
            {
                "taskDefinition": "f",
                "networkConfiguration": NETWORK,
                "tags": [{"key": "team", "value": "blue"}],
                "overrides": {"containerOverrides": [override]},
            },
        )
        arn = str(run["tasks"][0]["taskArn"])
        await ecs_world.until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        for container in world.runner.running:
            told[f"launch of {container.launch.arguments[0]}"] = dataclasses.asdict(container.launch)
        ask, task = Asked(world), world.ecs.store.tasks[arn.rpartition("/")[2]]
        side = next(one for one in world.runner.running if one.launch.arguments[0] == "/bin/sleep")
        side.end(3)
        await ecs_world.until(lambda: any("exitCode" in one for one in world.task(arn)["containers"]))
        for one in world.task(arn)["containers"]:
            told[f"metadata of {one['name']}"] = (await ask.get(f"{METADATA}/{one['runtimeId']}"))[1]
        told["of the ECS task"] = (await ask.get(f"{METADATA}/{one['runtimeId']}/taskWithTags"))[1]
        told["nobody's"] = await ask.get(f"{METADATA}/x")
        told["statistics"] = await ask.get(f"{METADATA}/{one['runtimeId']}/stats")
        told["credentials"] = await ask.get(f"{CREDENTIALS}/{task.id}", task.credential)
        told["refused"] = await ask.get(f"{CREDENTIALS}/{task.id}", "wrong")

    story(tmp_path, "ecs_containers.json", scenario)


def test_in_an_engines_image_programs_and_folders_are_the_images(tmp_path: Path) -> None:
    async def scenario(world: ecs_world.World, told: Story) -> None:
        world.ecs.register_task_definition(ME, FULL)
        arn = str(
            world.ecs.run_task(ME, {"taskDefinition": "f", "networkConfiguration": NETWORK})["tasks"][0]["taskArn"]
        )
        task = world.ecs.store.tasks[arn.rpartition("/")[2]]
        image = OciImage("example.org/i:1", ("/entry",), ("usual",), {"PATH": "/usr/bin", "LANG": "C"}, "/srv")
        place = CloudContext("000000000000", "us-east-1", "http://127.0.0.1:1", world.folder)
        for container in FULL["containerDefinitions"]:
            wanted = Wanted({**container, "user": "nobody"} if container["name"] == "main" else container, {})
            told[f"launch of {wanted.name}"] = dataclasses.asdict(
                launch(place, task, wanted, image, Fetched(secrets={"S": "secret"}))
            )

    story(tmp_path, "ecs_oci_containers.json", scenario)


def test_a_capacity_provider_from_its_creation_to_its_end(tmp_path: Path) -> None:
    async def scenario(world: ecs_world.World, told: Story) -> None:
        ecs = world.ecs
        group = {"autoScalingGroupArn": "arn:asg", "managedScaling": {"status": "ENABLED", "targetCapacity": 50}}
        told["created"] = ecs.create_capacity_provider(
            ME, {"name": "own", "autoScalingGroupProvider": group, "tags": [{"key": "a", "value": "b"}]}
        )
        told["all"] = ecs.describe_capacity_providers(ME, {"include": ["TAGS"]})
        told["updated"] = ecs.update_capacity_provider(
            ME,
            {
                "name": "own",
                "autoScalingGroupProvider": {
                    "managedScaling": {"minimumScalingStepSize": 2},
                    "managedTerminationProtection": "ENABLED",
                },
            },
        )
        told["some"] = ecs.describe_capacity_providers(ME, {"capacityProviders": ["own", "none"]})
        told["deleted"] = ecs.delete_capacity_provider(ME, {"capacityProvider": "own"})
        told["left"] = ecs.describe_capacity_providers(ME, {"capacityProviders": ["own"]})

    story(tmp_path, "ecs_capacity_providers.json", scenario)


def test_what_ecs_tasks_use_is_told_with_its_units(tmp_path: Path) -> None:
    world = UsageWorld(tmp_path, "enhanced")
    world.now += 10
    for name, pid in (("one", 7), ("two", 8)):
        world.shares[7] = 50 * 1024 * 1024
        world.meter.seen(name, pid, used(cpu=5.0))
    asyncio.run(world.meter.report())
    told = [dataclasses.asdict(one) for one in world.kept.measured]
    compared({"measured": told}, FILES / "ecs_usage.json")


def test_the_events_of_a_service_from_its_creation_to_its_end(tmp_path: Path) -> None:
    """Steady, changed, failing, rolled back, deleted: what is sent to EventBridge about the service itself."""
    heard: list[dict[str, Any]] = []

    async def scenario(world: batch_world.World) -> None:
        ecs = world.ecs
        ecs.create_cluster(ME, {})
        ecs.register_task_definition(ME, ecs_world.definition())

        def service() -> dict[str, Any]:
            return dict(ecs.describe_services(ME, {"services": ["s"]})["services"][0])

        def names() -> list[str]:
            return [one["detail"]["eventName"] for one in world.bus.heard if "eventName" in one["detail"]]

        async def sent(name: str, times: int = 1) -> None:
            await batch_world.until(lambda: names().count(name) >= times)

        breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
        request = {"serviceName": "s", "taskDefinition": "f", "desiredCount": 1, "networkConfiguration": NETWORK}
        ecs.create_service(ME, {**request, "deploymentConfiguration": breaker})
        await sent("SERVICE_STEADY_STATE")
        ecs.update_service(ME, {"service": "s", "desiredCount": 2})
        await batch_world.until(lambda: service()["runningCount"] == 2)
        world.runner.broken = "CannotStartContainerError: no"
        ecs.register_task_definition(ME, ecs_world.definition(command=["worse"]))
        ecs.update_service(ME, {"service": "s", "taskDefinition": "f"})

        def hurried() -> bool:
            world.clock.advance(100)
            for key in ecs.store.services:
                ecs.scheduler.ring(key)
            return "SERVICE_DEPLOYMENT_FAILED" in names()

        await batch_world.until(hurried)
        world.runner.broken = ""
        await sent("SERVICE_DEPLOYMENT_COMPLETED", 2)
        heard.extend(one for one in world.bus.heard if "eventName" in one["detail"])

    batch_world.played(tmp_path, scenario)
    told: dict[str, Any] = {}
    for number, event in enumerate(heard):
        told[f"{number:02} {event['detail']['eventName']}"] = event
    compared(steady(told, tmp_path), FILES / "ecs_service_events.json")
