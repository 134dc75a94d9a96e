"""A local cloud for tests of ECS: the real one on a free port, with a tiny image; in a thread, or as a process to be
killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from skylift.core.errors import Refused
from skylift.localcloud.cloud import LocalCloud
from skylift.localcloud.containers.runner import Runner
from skylift.localcloud.ecs.tasks.slots import SLOTS
from skylift.wire.app import WireApp
from skylift.wire.intercept import Call, Interception, Interceptor
from skylift.wire.serve import HttpServer, listen
from skylift.wire.signing.keys import DerivedKeys, Key, Keyrings, StaticKeys

ACCOUNT = "000000000000"
REGION = "us-east-1"
OWNER = Key("AKIATEST", "test-secret", f"arn:aws:iam::{ACCOUNT}:user/test")
MASTER = b"a master secret for tests, 32 bytes long"
IMAGE = "test/python:1"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
LOG_GROUP = "/test/ecs"
MODULES = f"{Path(__file__).parents[2] / 'src'}:{Path(__file__).parent / 'templates'}"


@dataclass(frozen=True)
class TinyImage:
    """This Python, under the name ``python``, and the system's programs."""

    root: Path
    entrypoint: tuple[str, ...] = ()
    default_command: tuple[str, ...] = ("python", "-c", "print('default command')")
    template: str = ""

    @property
    def environment(self) -> Mapping[str, str]:
        path = {"PATH": f"{self.root / 'bin'}:/usr/bin:/bin"}
        # What a container must have to be forked from a template: Airflow's configuration, here none.
        return path | ({"PYTHONPATH": MODULES, "AIRFLOW__CORE__EXECUTOR": "none"} if self.template else {})

    def executable(self, word: str) -> Path | None:
        found = shutil.which(word, path=self.environment["PATH"])
        return Path(found) if found else None


@dataclass
class TinyImages:
    """Knows one image; its build takes a moment."""

    folder: Path
    template: str = ""
    built: list[str] = field(default_factory=list)
    asks: bool = False

    def find(self, reference: str) -> TinyImage | None:
        return (
            TinyImage(self.folder, template=self.template)
            if reference == IMAGE and (self.folder / "bin" / "python").exists()
            else None
        )

    def build(self, reference: str, progress: Callable[[str], None]) -> TinyImage:
        if reference != IMAGE:
            raise Refused(f"{reference}: not found")
        self.built.append(reference)
        time.sleep(0.2)
        (self.folder / "bin").mkdir(parents=True, exist_ok=True)
        (self.folder / "bin" / "python").symlink_to(sys.executable)
        return TinyImage(self.folder, template=self.template)


class Ear:
    """Between the gate and the faults: keeps who called what, and lets everything pass."""

    def __init__(self, behind: Interceptor) -> None:
        self._behind = behind
        self.calls: list[Call] = []

    async def interception(self, call: Call) -> Interception:
        self.calls.append(call)
        return await self._behind.interception(call)


class Cloud:
    """A local cloud that serves from a thread of this process.

    Attributes:
        ear: heard all calls.
    """

    def __init__(self, home: Path, slots: int = 0, template: str = "") -> None:
        self.home = home
        self.slots = slots
        self.images = TinyImages(home / "image", template)
        self.runner: Runner | None = None
        self.changes: list[tuple[str, str]] = []
        self._listening: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = lambda: None
        self.ear: Ear | None = None
        self.url = ""

    def start(self, port: int = 0) -> Cloud:
        listening = listen(port)
        up = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(listening, up))
            except BaseException as error:  # noqa: BLE001 - handed to the test, which raises it
                failed.append(error)
            finally:
                up.set()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert up.wait(60)
        if failed:
            raise failed[0]
        return self

    def stop(self) -> None:
        self._stop()
        if self._thread is not None:
            self._thread.join(60)
            assert not self._thread.is_alive()

    def client(self, service: str = "ecs") -> Any:
        return client(service, self.url)

    async def _serve(self, listening: socket.socket, up: threading.Event) -> None:
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        told = lambda kind, doc: self.changes.append((kind, _state(doc)))  # noqa: E731 - one line
        cloud = make(self.home, self.url, self.images, told, self.slots, self.runner)
        self.ear = Ear(cloud.faults)
        server = HttpServer(app_of(cloud, self.ear), listening, grace=1.0)
        await cloud.start()
        serving = asyncio.create_task(server.run())
        while not server.started:
            await asyncio.sleep(0.01)
        self._stop = server.stop
        up.set()
        await serving
        await cloud.stop()


@contextmanager
def furnished(home: Path, template: str = "") -> Iterator[Cloud]:
    """A running cloud with the cluster ``default`` and the log group."""
    cloud = Cloud(home, template=template).start()
    try:
        cloud.client().create_cluster()
        cloud.client("logs").create_log_group(logGroupName=LOG_GROUP)
        yield cloud
    finally:
        cloud.stop()


def _state(document: Mapping[str, Any]) -> str:
    return str(document.get("lastStatus") or document["status"])


def make(
    home: Path,
    url: str,
    images: TinyImages,
    on_change: Callable[[str, dict[str, Any]], None],
    slots: int = 0,
    runner: Runner | None = None,
) -> LocalCloud:
    keys = DerivedKeys(MASTER, time.time)
    options: dict[str, Any] = {"images": images, "runner": runner, "on_change": on_change, "slots": slots}
    return LocalCloud(home, url, keys, ACCOUNT, REGION, time.time, **options)


def app_of(cloud: LocalCloud, interceptor: Interceptor | None = None) -> WireApp:
    ring = Keyrings(StaticKeys([OWNER]), DerivedKeys(MASTER, time.time), cloud.extra_keyring)
    return WireApp(
        list(cloud.providers),
        ring,
        fallback=cloud.fallback,
        routes=cloud.routes,
        signed_routes=cloud.signed_routes,
        interceptor=interceptor or cloud.faults,
        account=ACCOUNT,
    )


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=OWNER.access_key,
        aws_secret_access_key=OWNER.secret,
        config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=False),
    )


def definition(*command: str, **members: Any) -> dict[str, Any]:
    """A request for RegisterTaskDefinition with one container ``main``; ``members`` go to the container."""
    logs = {
        "logDriver": "awslogs",
        "options": {"awslogs-group": LOG_GROUP, "awslogs-region": REGION, "awslogs-stream-prefix": "p"},
    }
    container = {"name": "main", "image": IMAGE, "command": list(command), "logConfiguration": logs, **members}
    return {
        "family": "work",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/work",
        "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/start",
        "containerDefinitions": [container],
    }


def run(ecs: Any, request: dict[str, Any], **members: Any) -> str:
    """Registers the definition and runs one ECS task; its ARN."""
    arn = ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"]
    answer = ecs.run_task(taskDefinition=arn, launchType="FARGATE", networkConfiguration=NETWORK, **members)
    assert answer["failures"] == []
    return str(answer["tasks"][0]["taskArn"])


def described(ecs: Any, arn: str) -> dict[str, Any]:
    return dict(ecs.describe_tasks(tasks=[arn], include=["TAGS"])["tasks"][0])


def until(ecs: Any, arn: str, state: str, seconds: float = 20) -> dict[str, Any]:
    """The ECS task once it is in that state."""
    found: dict[str, Any] = {}

    def reached() -> bool:
        found.update(described(ecs, arn))
        return bool(found["lastStatus"] == state)

    wait_for(reached, seconds, lambda: str(found))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 20, tell: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s {tell()}"
        time.sleep(0.02)


async def serve(home: Path, port: int, slots: int, template: str = "") -> None:
    """Serves until SIGTERM, as a process of its own."""
    listening = listen(port)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    cloud = make(home, url, TinyImages(home / "image", template), lambda kind, doc: None, slots)
    server = HttpServer(app_of(cloud), listening, grace=1.0)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await cloud.start()
    await server.run()
    await cloud.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), SLOTS.read(os.environ)))
