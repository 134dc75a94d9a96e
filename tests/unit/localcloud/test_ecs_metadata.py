"""What a container is started with and can ask about itself, on the runner's fake; and ECS tasks that are forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import ME, World, definition, played, until

from skylift.core.clock import ManualClock
from skylift.localcloud.ecs.api.metadata import ContainerEndpoints
from skylift.localcloud.ecs.model.strategy import check_strategy
from skylift.localcloud.ecs.tasks.launch import CREDENTIALS, METADATA
from skylift.localcloud.ports import CloudContext
from skylift.wire.asgi import Message
from skylift.wire.errors import AwsError
from skylift.wire.signing.keys import DerivedKeys

pytestmark = pytest.mark.unit
MEBIBYTE = 1 << 20
LOG = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": "/g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"},
}


@pytest.mark.parametrize(("own", "expected"), [({}, 512), ({"memory": 256}, 256), ({"memoryReservation": 128}, 512)])
def test_a_container_without_a_limit_of_its_own_has_the_ecs_tasks(
    tmp_path: Path, own: dict[str, int], expected: int
) -> None:
    async def scenario(world: World) -> None:
        arn = world.run(**own)
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        (container,) = world.runner.running
        assert container.launch.memory == expected * MEBIBYTE

    played(tmp_path, scenario)


class Asked:
    """The two routes, asked as a container does."""

    def __init__(self, world: World) -> None:
        place = CloudContext("000000000000", "us-east-1", "http://127.0.0.1:1", world.folder)
        self._routes = ContainerEndpoints(place, world.ecs.store, DerivedKeys(b"k" * 32, ManualClock())).routes

    async def get(self, path: str, token: str = "") -> tuple[int, dict[str, Any]]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        route = self._routes[METADATA if path.startswith(METADATA) else CREDENTIALS]
        scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"authorization", token.encode())]}
        await route(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], json.loads(body)


def test_a_container_asks_about_itself_and_its_ecs_task(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.ecs.register_task_definition(ME, definition(logConfiguration=LOG))
        tags = [{"key": "team", "value": "blue"}]
        run = world.ecs.run_task(
            ME,
            {"taskDefinition": "f", "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"]}}, "tags": tags},
        )
        arn = str(run["tasks"][0]["taskArn"])
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        (container,) = world.task(arn)["containers"]
        ask, address = Asked(world), f"{METADATA}/{container['runtimeId']}"
        for path in (address, f"{address}/"):
            status, shown = await ask.get(path)
            assert (status, shown["Name"], shown["ContainerARN"]) == (200, "c", container["containerArn"])
        assert shown["Labels"]["com.amazonaws.ecs.task-arn"] == arn
        assert shown["LogOptions"] == {
            "awslogs-group": "/g",
            "awslogs-region": "us-east-1",
            "awslogs-stream": f"p/c/{arn.rpartition('/')[2]}",
        }
        assert "ExitCode" not in shown
        assert (shown["DesiredStatus"], shown["KnownStatus"]) == ("RUNNING", "RUNNING")
        status, task = await ask.get(f"{address}/task")
        assert (status, task["TaskARN"], task["Family"], task["Revision"]) == (200, arn, "f", "1")
        assert task["Limits"] == {"CPU": 0.25, "Memory": 512}
        assert [one["Name"] for one in task["Containers"]] == ["c"]
        assert "TaskTags" not in task
        assert (await ask.get(f"{address}/taskWithTags"))[1] == {**task, "TaskTags": {"team": "blue"}}
        for path in (
            f"{address}/stats",
            f"{address}/task/stats",
            f"{METADATA}/{container['runtimeId'][:-1]}0x",
            f"{METADATA}/x",
        ):
            assert (await ask.get(path))[0] == 404, path

    played(tmp_path, scenario)


def test_the_credentials_of_a_role_want_the_containers_token(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = world.run()
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        name = arn.rpartition("/")[2]
        ask, task = Asked(world), world.ecs.store.tasks[name]
        status, given = await ask.get(f"{CREDENTIALS}/{name}", task.credential)
        assert status == 200
        assert given["RoleArn"] == "arn:aws:iam::000000000000:role/skylift-default-task-role"
        assert all(given[member] for member in ("AccessKeyId", "SecretAccessKey", "Token"))
        for path, token in ((name, ""), (name, "wrong"), ("another", task.credential)):
            assert (await ask.get(f"{CREDENTIALS}/{path}", token))[0] == 403
        world.ecs.stop_task(ME, {"task": arn})
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert (await ask.get(f"{CREDENTIALS}/{name}", task.credential))[0] == 403, "its credentials end with it"

    played(tmp_path, scenario)


def test_ended_ecs_tasks_are_forgotten_also_while_the_disk_takes_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = world.run()
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        world.ecs.stop_task(ME, {"task": arn})
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        store = world.ecs.store
        store.keep()
        store._disk.execute("PRAGMA query_only = 1")
        store.forget([store.tasks[arn.rpartition("/")[2]]])
        assert world.task(arn) == {}
        store._disk.execute("PRAGMA query_only = 0")

    played(tmp_path, scenario)


def test_a_strategy_has_at_most_twenty_capacity_providers_and_one_keeps_its_tags(tmp_path: Path) -> None:
    names = [f"own{number}" for number in range(21)]
    check_strategy([{"capacityProvider": name, "weight": 1} for name in names[:20]], names, names)
    with pytest.raises(AwsError, match="more than 20 capacity providers"):
        check_strategy([{"capacityProvider": name, "weight": 1} for name in names], names, names)

    async def scenario(world: World) -> None:
        group = {"autoScalingGroupArn": "arn:asg"}
        tags = [{"key": "team", "value": "blue"}]
        world.ecs.create_capacity_provider(ME, {"name": "own", "autoScalingGroupProvider": group, "tags": tags})
        asked = {"capacityProviders": ["own"], "include": ["TAGS"]}
        (shown,) = world.ecs.describe_capacity_providers(ME, asked)["capacityProviders"]
        assert shown["tags"] == tags

    played(tmp_path, scenario)
