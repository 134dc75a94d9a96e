"""The background process: puts PostgreSQL, the local cloud and the control plane together on one loopback port.

Order of start: lock, port, PostgreSQL, local cloud, HTTP, what the control plane needs of AWS, control plane; only then does
``server.json`` appear. The way down is the reverse, and HTTP stays until the last container is gone, because containers
still call it while they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import IO, Any

import uvicorn

from skylift.cli.composition import House
from skylift.cli.daemon import STAGE, check_port
from skylift.cli.home import Home, aim, endpoint
from skylift.cli.server import Server, package_version, record, start_time
from skylift.core.errors import Broken, Refused

BACKLOG = 2048


def serve_forever(home: Home, port: int) -> None:
    """Runs the server until SIGTERM or SIGINT.

    Raises:
        Refused: another server has this home or this port.
    """
    home.prepare()
    with _alone(home), _listening(home, port) as listener:
        aim(home, port)
        asyncio.run(_serve(home, port, listener))


def stage(text: str) -> None:
    """Writes how far the server is, for the command that waits."""
    print(f"{STAGE}{text}", flush=True)  # noqa: T201 - standard output is the server's log


def note(text: str) -> None:
    """Writes one line to the server's log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)  # noqa: T201 - as above


async def _serve(home: Home, port: int, listener: socket.socket) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    identity = Server(os.getpid(), start_time(os.getpid()) or 0, port, package_version(), str(home.folder))
    house = House(home, port, identity, stage, note)
    async with AsyncExitStack() as stack:
        await _until(stopping, house.raise_cloud(stack))
        web = _Web(uvicorn.Config(house.app, lifespan="off", log_config=None, access_log=False, backlog=BACKLOG))
        serving = asyncio.create_task(web.serve(sockets=[listener]), name="http")
        stack.push_async_callback(_end_web, web, serving)
        await _until(stopping, house.raise_control(stack))
        if not stopping.is_set():
            record(home, identity)
            stage("ready")
            note(f"ready at {endpoint(port)}")
        await asyncio.wait({serving, asyncio.ensure_future(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and not stopping.is_set():
            raise Broken("the HTTP server ended by itself")
        home.server_file.unlink(missing_ok=True)
        note("stopping")
    stage("stopped")


async def _until(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Awaits a stage of the start, unless the way down has begun; it never begins in the middle of a stage."""
    if stopping.is_set():
        work.close()
        return
    await work


class _Web(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not analysed
    """uvicorn without its own signal handling: SIGTERM must end the containers first, HTTP last."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _end_web(web: _Web, serving: asyncio.Task[None]) -> None:
    web.should_exit = True
    web.force_exit = False
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(serving, 5)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Holds the home's lock. The kernel frees it when the process ends, however it ends."""
    lock: IO[str] = home.lock_file.open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(f"Another server already has {home.folder}. Stop it with: skylift down") from error
        try:
            yield
        finally:
            sys.stdout.flush()


@contextmanager
def _listening(home: Home, port: int) -> Iterator[socket.socket]:
    check_port(home, port)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise Refused(f"Port {port} was taken by another program just now: {error.strerror}.") from error
        yield listener
