"""The rest of AWS behind the real wire in a process of its own, so that a test can end it kindly, or kill it."""

from __future__ import annotations

import asyncio
import os
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

from skylift.localcloud.behind.setting import behind
from skylift.localcloud.emulators.others import RestOfAws
from skylift.wire.app import WireApp
from skylift.wire.serve import HttpServer, listen
from skylift.wire.signing.keys import Key, Keyrings, StaticKeys

ACCOUNT, REGION = "000000000000", "us-east-1"
KEY = Key("AKIATESTTESTTESTTEST", "secret", f"arn:aws:iam::{ACCOUNT}:user/test")


@dataclass
class Rest:
    """A running server."""

    url: str
    process: subprocess.Popen[str]

    def client(
        self, service: str, key: str = KEY.access_key, secret: str = KEY.secret, token: str | None = None, **config: Any
    ) -> Any:
        """A boto3 client."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=False, **config),
        )

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(20)

    def end(self) -> None:
        """SIGTERM; the server saves and exits with 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0


@contextmanager
def rest_of_aws(home: Path, port: int = 0, others: str = "none") -> Iterator[Rest]:
    """A server of this home, with another endpoint behind it."""
    command = [sys.executable, "-m", "tests.local.rest_server", str(home), str(port), others]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url, "the server did not start"
            yield Rest(url, process)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(20)


async def serve(home: Path, port: int, others: str) -> None:
    """The process."""
    began = time.monotonic()
    listening = listen(port)
    endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
    rest = RestOfAws(home, ACCOUNT, REGION, endpoint, others=behind(others))
    await rest.start()
    server = HttpServer(
        WireApp(rest.providers, Keyrings(StaticKeys([KEY]), rest), fallback=rest.app), listening, grace=1
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    print(server.url, flush=True)
    if "MEASURE" in os.environ:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(f"start {time.monotonic() - began:.2f} s, {pages * 4 // 1024} MB", file=sys.stderr)
    await server.run()
    await rest.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
