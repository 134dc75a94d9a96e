"""The engine and the service keeper on the runner's fake: stops at every stage, restarts, forgetting, shared builds."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skylift.core.clock import ManualClock
from skylift.core.errors import Unavailable
from skylift.localcloud.batch.store import BatchStore as BatchStore
from skylift.localcloud.containers.fake import FakeRunner
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.tasks.engine import Neighbours
from skylift.localcloud.ecs.tasks.slots import Slots
from skylift.localcloud.ports import AlwaysRoom, Capacity, CloudContext, NoRegistries, Registries
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

pytestmark = pytest.mark.unit

ME = Caller("AKIA", "arn:aws:iam::000000000000:user/me", "000000000000", "us-east-1")
NETWORK = {"awsvpcConfiguration": {"subnets": ["s"]}}
GROUP = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/1"


@dataclass
class Pictures:
    """Images: all there, unless ``gate`` is closed; then a build waits for it."""

    gate: threading.Event | None = None
    trouble: str = ""
    builds: int = 0
    entrypoint: tuple[str, ...] = ()
    default_command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/bin"})
    asks: bool = False

    def executable(self, word: str) -> Path | None:
        return Path("/bin") / word

    def find(self, reference: str) -> Pictures | None:
        return self if self.gate is None else None

    def build(self, reference: str, progress: Callable[[str], None]) -> Pictures:
        self.builds += 1
        assert self.gate is not None
        assert self.gate.wait(10)
        if self.trouble:
            raise Unavailable(self.trouble)
        return self


class Outside:
    """Logs, secrets and targets: remembers what it is told."""

    def __init__(self) -> None:
        self.targets: list[tuple[str, str, int]] = []
        self.told: list[str] = []
        self.healthy = True
        self.broken = False
        self.initial: set[str] = set()
        self.answered = asyncio.Event()
        self.answered.set()

    async def prepare(self, group: str, stream: str, create_group: bool) -> None: ...

    async def put(self, group: str, stream: str, events: Sequence[Mapping[str, Any]]) -> None:
        if self.broken:
            raise KeyError(group)

    async def value(self, value_from: str) -> str:
        raise AwsError("ResourceNotFoundException", "none")

    async def file(self, bucket: str, key: str) -> bytes:
        raise AwsError("NotFound", f"no {key} in {bucket}")

    async def register(self, target_group: str, address: str, port: int) -> None:
        self.told.append("in")
        self.targets.append((target_group, address, port))
        if not self.healthy:
            self.initial.add(address)

    async def deregister(self, target_group: str, address: str, port: int) -> None:
        self.told.append("out")
        self.targets.remove((target_group, address, port))

    async def drained(self, target_group: str, address: str, port: int) -> None:
        await self.answered.wait()
        self.told.append("drained")

    def health(self, target_group: str, address: str, port: int) -> str:
        return "initial" if address in self.initial else "healthy"


@dataclass
class World:
    """One ECS after another over the same folder, with the same containers."""

    folder: Path
    clock: ManualClock
    runner: FakeRunner
    pictures: Pictures
    outside: Outside
    ecs: EcsProvider
    slots: int = 16
    capacity: Capacity = field(default_factory=AlwaysRoom)
    registries: Registries = field(default_factory=NoRegistries)

    @staticmethod
    async def begin(folder: Path) -> World:
        clock = ManualClock()
        world = World(folder, clock, FakeRunner(clock), Pictures(), Outside(), None)  # type: ignore[arg-type]
        await world.restart()
        world.ecs.create_cluster(ME, {})
        return world

    async def restart(self) -> None:
        """As after ``kill -9``: what the old one was doing is dropped, the containers go on."""
        if self.ecs is not None:
            self.ecs.scheduler.close()
            self.ecs.engine.closing = True
            self.ecs.store.keep()
            for task in asyncio.all_tasks():
                if task.get_name().startswith("ecs-"):
                    task.cancel()
            await asyncio.sleep(0)
        place = CloudContext("000000000000", "us-east-1", "http://127.0.0.1:1", self.folder)
        neighbours = Neighbours(
            *(self.pictures, self.outside, self.outside, self.outside),
            capacity=self.capacity,
            registries=self.registries,
        )
        self.ecs = EcsProvider(place, neighbours, self.clock, runner=self.runner, slots=Slots(self.slots))
        await self.ecs.start()

    def run(self, **container: Any) -> str:
        self.ecs.register_task_definition(ME, definition(**container))
        answer = self.ecs.run_task(ME, {"taskDefinition": "f", "networkConfiguration": NETWORK})
        return str(answer["tasks"][0]["taskArn"])

    def serve(self, **members: Any) -> None:
        self.ecs.register_task_definition(ME, definition(portMappings=[{"containerPort": 80}]))
        request = {"serviceName": "s", "taskDefinition": "f", "desiredCount": 1, "networkConfiguration": NETWORK}
        self.ecs.create_service(ME, {**request, **members})

    def task(self, arn: str) -> dict[str, Any]:
        found = self.ecs.describe_tasks(ME, {"tasks": [arn]})["tasks"]
        return dict(found[0]) if found else {}

    @property
    def service(self) -> dict[str, Any]:
        return dict(self.ecs.describe_services(ME, {"services": ["s"]})["services"][0])


def definition(**container: Any) -> dict[str, Any]:
    return {
        "family": "f",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": "arn:aws:iam::000000000000:role/r",
        "containerDefinitions": [{"name": "c", "image": "i", "command": ["run"], **container}],
    }


def played(tmp_path: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        world = await World.begin(tmp_path)
        await scenario(world)
        if world.pictures.gate is not None:
            world.pictures.gate.set()
        await world.ecs.close()

    asyncio.run(asyncio.wait_for(play(), 30))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def test_stopped_while_its_image_is_built(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.pictures.gate = threading.Event()
        arn = world.run()
        await until(lambda: world.pictures.builds)
        assert world.task(arn)["lastStatus"] == "PENDING"
        world.ecs.stop_task(ME, {"task": arn})
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert world.task(arn)["stopCode"] == "UserInitiated"
        assert world.runner.known == {}

    played(tmp_path, scenario)


def test_what_waits_for_a_place_still_waits_after_a_restart_in_its_order(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.slots = 1
        await world.restart()
        arns = []
        for _ in range(4):
            arns.append(world.run())
            world.clock.advance(1)
        await until(lambda: world.task(arns[0])["lastStatus"] == "RUNNING")
        await world.restart()
        assert [world.task(arn)["lastStatus"] for arn in arns] == ["RUNNING", *["PROVISIONING"] * 3]
        world.ecs.stop_task(ME, {"task": arns[1]})
        await until(lambda: world.task(arns[1])["lastStatus"] == "STOPPED")
        assert "exitCode" not in world.task(arns[1])["containers"][0]
        for before, after in ((arns[0], arns[2]), (arns[2], arns[3])):
            (running,) = world.runner.running
            running.end(0)
            await until(lambda before=before: world.task(before)["lastStatus"] == "STOPPED")
            await until(lambda after=after: world.task(after)["lastStatus"] == "RUNNING")

    played(tmp_path, scenario)


def test_a_failed_build_is_tried_again_by_the_next(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.pictures.gate, world.pictures.trouble = threading.Event(), "no registry can be reached"
        arns = [world.run(), world.run()]
        await until(lambda: world.pictures.builds)
        world.pictures.gate.set()
        for arn in arns:
            await until(lambda arn=arn: world.task(arn)["lastStatus"] == "STOPPED")
            assert world.task(arn)["stopCode"] == "TaskFailedToStart"
            assert "no registry can be reached" in world.task(arn)["stoppedReason"]
        assert world.pictures.builds == 1
        world.pictures.trouble = ""
        arn = world.run()
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        assert world.pictures.builds == 2

    played(tmp_path, scenario)


def test_stopped_ecs_tasks_are_there_for_an_hour(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = world.run()
        await until(lambda: world.runner.running)
        (folder,) = world.runner.known
        world.runner.running[0].end(0)
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        world.clock.advance(3599)
        await world.restart()
        assert world.task(arn)["containers"][0]["exitCode"] == 0
        world.clock.advance(2)
        await world.restart()
        assert world.task(arn) == {}
        await until(lambda: not folder.exists())

    played(tmp_path, scenario)


def test_what_ended_is_listed_with_the_newest_first_after_a_restart_too(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arns = []
        for _ in range(6):
            world.clock.advance(1)
            arns.append(arn := world.run())
            await until(lambda arn=arn: world.task(arn)["lastStatus"] == "RUNNING")
            world.ecs.stop_task(ME, {"task": arn})
            await until(lambda arn=arn: world.task(arn)["lastStatus"] == "STOPPED")
        for _ in range(2):
            assert world.ecs.list_tasks(ME, {"desiredStatus": "STOPPED"})["taskArns"] == arns[::-1]
            await world.restart()

    played(tmp_path, scenario)


def test_a_client_token_lasts_as_long_as_one_of_its_ecs_tasks(tmp_path: Path) -> None:
    """Of two, one ends and is forgotten after an hour, the other runs on: a repeat starts none, before a restart and
    after it."""

    async def scenario(world: World) -> None:
        world.ecs.register_task_definition(ME, definition())
        request = {"taskDefinition": "f", "networkConfiguration": NETWORK, "count": 2, "clientToken": "once"}
        arns = [task["taskArn"] for task in world.ecs.run_task(ME, request)["tasks"]]
        await until(lambda: all(world.task(arn)["lastStatus"] == "RUNNING" for arn in arns))
        world.runner.running[0].end(0)
        await until(lambda: any(world.task(arn)["lastStatus"] == "STOPPED" for arn in arns))
        (left,) = [arn for arn in arns if world.task(arn)["lastStatus"] == "RUNNING"]
        world.clock.advance(3601)
        store = world.ecs.store
        store.forget(store.ended_before(world.clock() - 3600))
        for _ in range(2):
            assert [task["taskArn"] for task in world.ecs.run_task(ME, request)["tasks"]] == [left]
            await world.restart()

    played(tmp_path, scenario)


def test_an_ecs_task_ends_whatever_becomes_of_its_last_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An emulator's bug while logs are sent must not keep the ECS task alive for ever."""

    async def scenario(world: World) -> None:
        options = {"awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p"}
        arn = world.run(logConfiguration={"logDriver": "awslogs", "options": options})
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        world.outside.broken = True
        (folder,) = world.runner.known
        (folder / "log").write_text("last words\n")
        world.runner.running[0].end(3)
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert world.task(arn)["containers"][0]["exitCode"] == 3
        assert not world.ecs.store.alive
        assert (folder / "log").exists()

    played(tmp_path, scenario)
    assert "the last lines of ECS task" in caplog.text


@pytest.mark.parametrize("told", [True, False])
def test_what_a_container_leaves_on_the_disk(tmp_path: Path, told: bool) -> None:
    """Nothing once CloudWatch Logs has its output; its log file, if nobody has it."""

    async def scenario(world: World) -> None:
        options = {"awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p"}
        arn = world.run(**({"logConfiguration": {"logDriver": "awslogs", "options": options}} if told else {}))
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        (folder,) = world.runner.known
        (folder / "log").write_text("last words\n")
        world.runner.running[0].end(0)
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        await until(lambda: folder.exists() is not told)
        assert told or (folder / "log").read_text() == "last words\n"
        await world.restart()
        assert world.task(arn)["containers"][0]["exitCode"] == 0

    played(tmp_path, scenario)


def test_after_a_restart_what_runs_goes_on(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arns = [world.run() for _ in range(3)]
        await until(lambda: len(world.runner.running) == 3)
        await until(lambda: all(world.task(arn)["lastStatus"] == "RUNNING" for arn in arns))
        ended, lost, running = world.runner.known
        world.runner.known[ended].end(5)
        del world.runner.known[lost]
        await world.restart()
        await until(lambda: all(world.task(arn)["lastStatus"] == "STOPPED" for arn in arns[:2]))
        assert world.task(arns[0])["containers"][0]["exitCode"] == 5
        assert world.task(arns[1])["stopCode"] == "InfrastructureHealth"
        assert world.task(arns[2])["lastStatus"] == "RUNNING"
        assert world.runner.known[running].signals == []

    played(tmp_path, scenario)


def test_accepted_just_before_a_restart_is_started_after_it(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = world.run()
        await world.restart()
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        assert len(world.runner.known) == 1

    played(tmp_path, scenario)


def test_the_end_of_the_cloud_is_quick_and_recorded(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.runner.deaf = True
        arn = world.run(stopTimeout=0)
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        (container,) = world.runner.running
        task = world.ecs.store.tasks[arn.rsplit("/", 1)[-1]]
        await world.ecs.engine.close()
        assert container.signals == [signal.SIGTERM, signal.SIGKILL]
        assert (task.document["lastStatus"], task.document["stopCode"]) == ("STOPPED", "TerminationNotice")
        assert task.document["containers"][0]["exitCode"] == 137
        with pytest.raises(AwsError, match="shutting down"):
            world.run()

    played(tmp_path, scenario)


def test_a_failing_service_waits_longer_and_longer(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.runner.broken = "CannotStartContainerError: no"
        world.serve()
        await until(lambda: world.service["deployments"][0]["failedTasks"] == 1)
        service = next(iter(world.ecs.store.services.values()))
        assert service.not_before == world.clock() + 0.5
        for failures, delay in ((2, 1.0), (3, 2.0), (4, 4.0)):
            world.clock.advance(60)
            world.ecs.scheduler.ring(service.key)
            await until(lambda failures=failures: service.failures == failures)
            assert service.not_before == world.clock() + delay
        world.runner.broken = ""
        world.clock.advance(60)
        world.ecs.scheduler.ring(service.key)
        await until(lambda: world.service["runningCount"] == 1)
        world.clock.advance(31)
        world.runner.running[0].end(1)
        await until(lambda: service.failures == 0)
        await until(lambda: world.service["runningCount"] == 1 and len(world.runner.known) == 2)

    played(tmp_path, scenario)


def test_a_service_without_capacity_says_so_and_tries_again(tmp_path: Path) -> None:
    class NoRoom(AlwaysRoom):
        def has_room(self, service: str, place: str) -> bool:
            return (service, place) != ("ecs", "default")

    async def scenario(world: World) -> None:
        world.capacity = NoRoom()
        await world.restart()
        world.serve()
        told = "was unable to place a task. Reason: Capacity is unavailable"
        await until(lambda: any(told in one["message"] for one in world.service["events"]))
        assert world.service["runningCount"] == world.service["pendingCount"] == 0

    played(tmp_path, scenario)


def test_targets_are_in_before_the_old_goes_and_out_before_its_end(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        balancers = [{"targetGroupArn": GROUP, "containerName": "c", "containerPort": 80}]
        world.outside.healthy = False
        world.serve(loadBalancers=balancers)
        await until(lambda: world.outside.targets)
        assert world.service["deployments"][0]["rolloutState"] == "IN_PROGRESS"
        world.outside.initial.clear()
        await until(lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        world.outside.healthy = False
        world.ecs.update_service(ME, {"service": "s", "forceNewDeployment": True})
        await until(lambda: len(world.outside.targets) == 2)
        await asyncio.sleep(0.02)
        assert len(world.runner.running) == 2
        world.outside.initial.clear()
        await until(lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        await until(lambda: len(world.runner.running) == 1)
        assert world.outside.told == ["in", "in", "out", "drained"]
        texts = [event["message"] for event in world.service["events"]]
        assert sum("registered 1 targets" in text for text in texts) == 3

    played(tmp_path, scenario)


def test_the_last_answers_are_given_before_a_container_is_told_to_stop(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.serve(loadBalancers=[{"targetGroupArn": GROUP, "containerName": "c", "containerPort": 80}])
        await until(lambda: world.outside.targets)
        (container,), arn = world.runner.running, next(iter(world.ecs.store.alive.values())).document["taskArn"]
        world.outside.answered.clear()
        world.ecs.update_service(ME, {"service": "s", "desiredCount": 0})
        await until(lambda: world.task(arn)["lastStatus"] == "DEACTIVATING")
        await asyncio.sleep(0.02)
        assert container.signals == []
        world.outside.answered.set()
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert container.signals == [signal.SIGTERM]

    played(tmp_path, scenario)


@pytest.mark.parametrize("end", ["server", "container"])
def test_nobody_waits_for_answers_when_all_ends(tmp_path: Path, end: str) -> None:
    async def scenario(world: World) -> None:
        world.serve(loadBalancers=[{"targetGroupArn": GROUP, "containerName": "c", "containerPort": 80}])
        await until(lambda: world.outside.targets)
        world.outside.answered.clear()
        (container,) = world.runner.running
        if end == "container":
            world.ecs.update_service(ME, {"service": "s", "desiredCount": 0})
            await until(lambda: "out" in world.outside.told)
            container.end(1)
            await until(lambda: not world.ecs.store.alive)

    played(tmp_path, scenario)


def test_a_secret_that_fails_stops_the_ecs_task(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = world.run(secrets=[{"name": "A", "valueFrom": "arn:aws:secretsmanager:us-east-1:0:secret:a"}])
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert world.task(arn)["stoppedReason"].startswith("ResourceInitializationError")

    played(tmp_path, scenario)


def test_a_disk_that_takes_nothing_refuses_removals_in_words(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        provider = {"name": "own", "autoScalingGroupProvider": {"autoScalingGroupArn": "arn:asg"}}
        world.ecs.create_capacity_provider(ME, provider)
        batch = BatchStore(tmp_path / "cloud.db")
        batch.save_thing("environment", "mine", {})
        for store, kind, name in ((world.ecs.store, "provider", "own"), (batch, "environment", "mine")):
            store._disk.execute("PRAGMA query_only = 1")
            with pytest.raises(Unavailable, match="Free some space"):
                store.remove_thing(kind, name)
            assert name in store._things[kind]
            store._disk.execute("PRAGMA query_only = 0")
            store.remove_thing(kind, name)
            assert name not in store._things[kind]
        batch.close()

    played(tmp_path, scenario)


def test_a_full_disk_refuses_the_new_and_loses_nothing_of_the_old(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = world.run()
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        disk = world.ecs.store._disk
        (pages,) = disk.execute("PRAGMA page_count").fetchone()
        disk.execute(f"PRAGMA max_page_count = {pages}")
        large = definition(environment=[{"name": "A", "value": "x" * 300_000}])
        with pytest.raises(Unavailable, match="Free some space"):
            world.ecs.register_task_definition(ME, large)
        tags = [{"key": str(number), "value": "x" * 250} for number in range(50)]
        request = {"taskDefinition": "f:1", "networkConfiguration": NETWORK, "tags": tags, "count": 10}
        with pytest.raises(Unavailable):
            world.ecs.run_task(ME, request)
        known = len(world.ecs.store.tasks)
        world.runner.running[0].end(6)
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        disk.execute("PRAGMA max_page_count = 1000000")
        other = world.run()
        await world.restart()
        assert world.task(arn)["containers"][0]["exitCode"] == 6
        assert world.task(other)
        assert len(world.ecs.store.tasks) == known + 1

    played(tmp_path, scenario)
