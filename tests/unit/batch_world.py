"""Batch on ECS on the runner's fake: one server after another over the same folder, with the same containers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.core.clock import ManualClock
from skylift.localcloud.batch.provider import BatchProvider
from skylift.localcloud.containers.fake import FakeContainer, FakeRunner
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.tasks.engine import Neighbours
from skylift.localcloud.ecs.tasks.slots import Slots
from skylift.localcloud.events import EventDelivery, Events
from skylift.localcloud.ports import CloudContext, Document
from skylift.wire.provider import Caller

ME = Caller("AKIA", "arn:aws:iam::000000000000:user/me", "000000000000", "us-east-1")
SMALL = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
LOGS = {"logDriver": "awslogs", "options": {"awslogs-group": "g"}}


@dataclass
class Picture:
    """The one image, always there."""

    entrypoint: tuple[str, ...] = ()
    default_command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/bin"})
    template: str = ""
    asks: bool = False

    def executable(self, word: str) -> Path | None:
        return Path("/bin") / word

    def find(self, reference: str) -> Picture | None:
        return self

    def build(self, reference: str, progress: Callable[[str], None]) -> Picture:
        return self


class Nothing:
    """Logs, secrets and targets that do nothing."""

    async def prepare(self, group: str, stream: str, create_group: bool) -> None: ...

    async def put(self, group: str, stream: str, events: Sequence[Mapping[str, Any]]) -> None: ...

    async def value(self, value_from: str) -> str:
        return "secret"

    async def file(self, bucket: str, key: str) -> bytes:
        return b""

    async def register(self, target_group: str, address: str, port: int) -> None: ...

    async def deregister(self, target_group: str, address: str, port: int) -> None: ...

    async def drained(self, target_group: str, address: str, port: int) -> None: ...

    def health(self, target_group: str, address: str, port: int) -> str:
        return "healthy"


@dataclass
class Ear:
    """A bus that keeps the events."""

    heard: list[Document] = field(default_factory=list)

    def wanted(self) -> bool:
        return True

    def put(self, event: Document) -> None:
        self.heard.append(event)

    async def kept(self) -> None: ...


@dataclass
class World:
    folder: Path
    slots: int = 8
    clock: ManualClock = field(default_factory=ManualClock)
    bus: Ear = field(default_factory=Ear)
    told: list[tuple[str, str]] = field(default_factory=list)
    runner: FakeRunner = field(init=False)
    ecs: EcsProvider = field(init=False)
    batch: BatchProvider = field(init=False)
    delivery: EventDelivery = field(init=False)
    served: bool = False

    def __post_init__(self) -> None:
        self.runner = FakeRunner(self.clock)

    async def restart(self, before: Callable[[EcsProvider], None] = lambda ecs: None) -> None:
        """As after ``kill -9``: what the old one was doing is dropped, the containers go on. ``before`` may change
        ECS's record."""
        if self.served:
            self.batch.engine.close()
            self.ecs.scheduler.close()
            self.ecs.engine.closing = True
            self.ecs.store._late.clear()  # what was to be written soon dies with the process
            for task in asyncio.all_tasks():
                if task.get_name().startswith(("ecs-", "events")):
                    task.cancel()
            await asyncio.sleep(0)
        place = CloudContext("000000000000", "us-east-1", "http://127.0.0.1:1", self.folder)
        nothing = Nothing()
        events = Events(place, self.bus, self.clock)
        self.delivery = EventDelivery(self.folder / "cloud.db", events, self.bus)
        neighbours = Neighbours(Picture(), nothing, nothing, nothing)
        self.ecs = EcsProvider(
            place, neighbours, self.clock, runner=self.runner, events=events, slots=Slots(self.slots)
        )
        self.batch = BatchProvider(self.ecs, self.clock, self._tell)
        self.served = True
        before(self.ecs)
        await self.delivery.start()
        await self.batch.recover()
        await self.ecs.start()
        self.batch.begin()

    def _tell(self, kind: str, document: Document) -> None:
        assert kind == "batch-job"
        self.told.append((document["jobId"], str(document["status"])))

    async def close(self) -> None:
        await self.ecs.close()
        await self.batch.close()
        await self.delivery.close()

    def prepare(self, vcpus: int = 100, **definition: Any) -> None:
        resources = {"type": "FARGATE", "maxvCpus": vcpus, "subnets": ["s"], "securityGroupIds": ["g"]}
        self.batch.create_compute_environment(
            ME, {"computeEnvironmentName": "ce", "type": "MANAGED", "computeResources": resources}
        )
        order = [{"order": 1, "computeEnvironment": "ce"}]
        self.batch.create_job_queue(ME, {"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": order})
        container = {
            "image": "i",
            "command": ["run"],
            "resourceRequirements": SMALL,
            "executionRoleArn": "r",
            "logConfiguration": LOGS,
        }
        request = {"jobDefinitionName": "d", "type": "container", "containerProperties": container, **definition}
        self.batch.register_job_definition(ME, {"platformCapabilities": ["FARGATE"], **request})

    def submit(self, **members: Any) -> str:
        request = {"jobName": "n", "jobQueue": "q", "jobDefinition": "d", **members}
        return str(self.batch.submit_job(ME, request)["jobId"])

    def job(self, name: str) -> dict[str, Any]:
        found = self.batch.describe_jobs(ME, {"jobs": [name]})["jobs"]
        return dict(found[0]) if found else {}

    def states(self, names: Sequence[str]) -> Counter[str]:
        return Counter(str(self.job(name)["status"]) for name in names)

    def summary(self, name: str) -> dict[str, int]:
        return {
            str(state): count for state, count in self.job(name)["arrayProperties"]["statusSummary"].items() if count
        }

    def container(self, name: str) -> FakeContainer:
        """The container of the job's newest attempt."""
        return [one for one in self.runner.known.values() if job_of(one) == name][-1]

    async def runs(self, name: str) -> FakeContainer:
        await until(lambda: self.job(name)["status"] == "RUNNING")
        return self.container(name)

    async def ends(self, name: str) -> dict[str, Any]:
        await until(lambda: self.job(name)["status"] in {"SUCCEEDED", "FAILED"})
        return self.job(name)


def job_of(container: FakeContainer) -> str:
    return container.launch.environment["AWS_BATCH_JOB_ID"]


def played(folder: Path, scenario: Callable[[World], Awaitable[None]], slots: int = 8) -> None:
    async def play() -> None:
        world = World(folder, slots)
        await world.restart()
        await scenario(world)
        await world.close()

    asyncio.run(asyncio.wait_for(play(), 60))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)
