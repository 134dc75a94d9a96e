"""The fake as a server: one loopback port, one file of state, one loop that moves jobs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.anyscale_fake.jobs import JobRuns
from skylift.anyscale_fake.records import Records
from skylift.anyscale_fake.routes import Routes
from skylift.anyscale_fake.services import ROLLOUT_SECONDS, FakeServices
from skylift.core.errors import Refused
from skylift.core.names import TASK_EXECUTION_ROLE
from skylift.wire.serve import HttpServer, listen

IMAGE = "skylift/ray:2.60.0"
ROLE = f"arn:aws:iam::000000000000:role/{TASK_EXECUTION_ROLE}"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-anyscale"], "securityGroups": []}}


@dataclass(frozen=True)
class Address:
    """Where the fake serves, and its keys. Kept, because connections of Airflow name them.

    Attributes:
        key: an API key that may do everything.
        looker: an API key that may only look.
    """

    port: int
    key: str = field(repr=False)
    looker: str = field(repr=False)

    @property
    def url(self) -> str:
        """What belongs into a connection's field host."""
        return f"http://127.0.0.1:{self.port}"

    @staticmethod
    def read(folder: Path) -> Address | None:
        """The address of a folder's fake; ``None`` if it never served."""
        try:
            return Address(**json.loads((folder / "address.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


class FakeAnyscale:
    """The server.

    Args:
        folder: for its state.
        ecs: boto3's client of the local cloud.
        logs: boto3's client of the local cloud.
        secrets_manager: boto3's client of the local cloud.
        image: that job containers start from.
        rollout_seconds: how long the rollout of a service takes.

    Attributes:
        records: what it remembers.
        address: where it serves.

    Raises:
        Refused: no port can be had, or the state is damaged.
    """

    def __init__(
        self,
        folder: Path,
        ecs: Any,
        logs: Any,
        secrets_manager: Any,
        image: str = IMAGE,
        rollout_seconds: float = ROLLOUT_SECONDS,
    ) -> None:
        self.records = Records.load(folder / "state.json")
        known = Address.read(folder)
        try:
            listening = listen(known.port if known else 0)
        except Refused:
            listening = listen(0)  # somebody took our port meanwhile
        port = int(listening.getsockname()[1])
        keys = (
            (known.key, known.looker) if known else (f"aph0_{secrets.token_hex(16)}", f"aph0_{secrets.token_hex(16)}")
        )
        self.address = Address(port, *keys)
        self._write(folder)
        token = hashlib.sha256(f"containers of {keys[0]}".encode()).hexdigest()
        launch = {"networkConfiguration": NETWORK}
        self.runs = JobRuns(self.records, ecs, logs, secrets_manager, token, image, self._spec_url, ROLE, launch)
        services = FakeServices(self.records, rollout_seconds)
        self.routes = Routes(self.records, self.runs, services, folder / "packages", self.address.url, *keys, token)
        self._web = HttpServer(self.routes, listening, grace=1.0)
        self._working: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serves on this event loop until ``stop``."""
        self._working = [
            asyncio.create_task(self._web.run(), name="anyscale-http"),
            asyncio.create_task(self.runs.run(), name="anyscale-jobs"),
        ]
        while not self._web.started and not self._working[0].done():
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Ends. Jobs go on as ECS tasks, and are found again."""
        self._web.stop()
        if self._working:
            self._working[1].cancel()
        for one in self._working:
            with suppress(asyncio.CancelledError):
                await one

    def _spec_url(self, _job: object, run: Any) -> str:
        return f"{self.address.url}/specs/{run.id}?key={run.key}"

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "address.json"
        beside = path.with_name("address.json.new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump({"port": self.address.port, "key": self.address.key, "looker": self.address.looker}, stream)
        beside.replace(path)
