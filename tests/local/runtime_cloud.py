"""The rest of AWS on a free loopback port, for the tests of the runtime: real boto3, real HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from skylift.localcloud.emulators.others import RestOfAws
from skylift.wire.app import WireApp
from skylift.wire.signing.keys import Key, Keyrings, StaticKeys


@contextmanager
def rest_of_aws(home: Path) -> Iterator[dict[str, str]]:
    """Serves until the block ends; gives the environment variables that boto3 needs to find it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        rest = RestOfAws(home, "000000000000", "us-east-1", endpoint)
        arn = "arn:aws:iam::000000000000:user/test"
        keys = StaticKeys([Key("AKIDTEST", "secret", arn), Key("a", "b", arn)])
        app = WireApp(rest.providers, Keyrings(keys, rest), fallback=rest.app)
        server = uvicorn.Server(uvicorn.Config(app, interface="asgi3", log_level="warning", lifespan="off"))
        ready = threading.Event()

        async def serve() -> None:
            await rest.start()
            ready.set()
            await server.serve(sockets=[listener])
            await rest.stop()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert ready.wait(30), "the emulators did not start"
            yield {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": "AKIDTEST",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """The process's own environment with these variables, for code that asks boto3 for the usual AWS places."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
