"""All services in a process of their own: the local cloud (with containers that are none) and MWAA's API on a real
PostgreSQL.

Nothing makes environments true here: a request to MWAA ends with its row, as in the whole skylift, and is then
forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from tests.control_scenes import EVERYTHING, SETTINGS
from tests.local import ecs_cloud

from skylift.aws.secrets import Secret
from skylift.control.api.provider import MwaaProvider
from skylift.control.postgres import PostgresAdmin
from skylift.control.store import EnvironmentStore
from skylift.localcloud.cloud import LocalCloud
from skylift.localcloud.containers.fake import FakeRunner
from skylift.localcloud.postgres.server import Postgres as Server
from skylift.wire.app import WireApp
from skylift.wire.serve import HttpServer as WebServer
from skylift.wire.serve import listen, url_of
from skylift.wire.signing.keys import DerivedKeys, Keyrings, StaticKeys


@dataclass(frozen=True)
class Fuzzed:
    """A running server.

    Attributes:
        url: its address.
        log: warnings and worse, tracebacks too.
    """

    url: str
    log: Path
    process: subprocess.Popen[str]

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=ecs_cloud.REGION,
            aws_access_key_id=ecs_cloud.OWNER.access_key,
            aws_secret_access_key=ecs_cloud.OWNER.secret,
            config=Config(inject_host_prefix=False),
        )


@contextmanager
def fuzzed(home: Path) -> Iterator[Fuzzed]:
    """A server while the block runs."""
    log = home / "fuzz.log"
    command = [sys.executable, "-m", "tests.local.fuzz_server", str(home)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, log.read_text()
        yield Fuzzed(url, log, process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


class _Secrets:
    """Where PostgreSQL is."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def read(self, name: str) -> Secret:
        value = {"host": "127.0.0.1", "port": str(self._server.port)}
        return Secret(name, "1", value | {"username": self._server.superuser, "password": self._server.password})


async def _serve(home: Path, server: Server) -> None:
    listening = listen()
    url = url_of(listening)
    store = EnvironmentStore(PostgresAdmin(_Secrets(server), "skylift/postgres"), "fuzz", time.time)  # type: ignore[arg-type]
    await asyncio.to_thread(store.prepare)
    keys = DerivedKeys(ecs_cloud.MASTER, time.time)
    images = ecs_cloud.TinyImages(home / "image")
    await asyncio.to_thread(images.build, ecs_cloud.IMAGE, lambda _: None)
    cloud = LocalCloud(
        home,
        url,
        keys,
        ecs_cloud.ACCOUNT,
        ecs_cloud.REGION,
        time.time,
        images=images,
        runner=FakeRunner(time.time),  # type: ignore[arg-type]
    )
    app = WireApp(
        [*cloud.providers, MwaaProvider(store, SETTINGS, lambda: None, EVERYTHING)],
        Keyrings(StaticKeys([ecs_cloud.OWNER]), keys, cloud.extra_keyring),
        fallback=cloud.fallback,
        routes=cloud.routes,
        signed_routes=cloud.signed_routes,
        interceptor=cloud.faults,
        account=ecs_cloud.ACCOUNT,
    )
    web = WebServer(app, listening, grace=1.0)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, web.stop)
    await cloud.start()
    print(url, flush=True)
    await web.run()
    await cloud.stop()


def main(home: Path) -> None:
    """The process."""
    logging.basicConfig(level=logging.WARNING)
    server = Server(home)
    server.start()
    try:
        asyncio.run(_serve(home, server))
    finally:
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
