"""The background process: runs PostgreSQL, the local cloud and the control plane on one loopback port.

Order of start: lock, port, PostgreSQL, local cloud, HTTP, the AWS resources of the control plane, control plane; then
``server.json`` is written. It stops in reverse order. HTTP stays until the last container is gone, because containers
call it while they end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from skylift.aws import clients
from skylift.cli.home import Home, aim, endpoint
from skylift.cli.lock import Held, sign, taken
from skylift.cli.serving.composition import Server
from skylift.cli.serving.daemon import LOG_BYTES, STAGE, check_port, down_line
from skylift.cli.serving.server import RunningServer, package_version, record, start_time
from skylift.core.errors import Broken, Refused
from skylift.wire.serve import HttpServer as WebServer
from skylift.wire.serve import listen

SETTLE_SECONDS = 10.0
"""Seconds from the start to the first check of our own memory and log."""

LOOK_SECONDS = 60.0
"""Seconds between two checks of our memory and the length of our log."""


def serve_forever(home: Home, port: int) -> None:
    """Runs the server until SIGTERM or SIGINT.

    Raises:
        Refused: another server has this home or this port.
    """
    home.prepare()
    with alone_in(home):
        check_port(port)
        aim(home, port)
        clients.forget()  # the AWS models that it reads are small, and read once
        asyncio.run(_serve(home, port, listen(port)))


def stage(text: str) -> None:
    """Writes the server's progress, for the command that waits."""
    print(f"{STAGE}{text}", flush=True)  # noqa: T201 - standard output is the server's log


def note(text: str) -> None:
    """Writes one line to the server's log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)  # noqa: T201 - as above


async def _serve(home: Home, port: int, listener: socket.socket) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    identity = RunningServer(os.getpid(), start_time(os.getpid()) or 0, port, package_version(), str(home.folder))
    server = Server(home, port, identity, stage, note)
    async with AsyncExitStack() as stack:
        await server.start_cloud(stack)
        web = WebServer(server.app, listener, tls=server.tls)
        serving = asyncio.create_task(web.run(), name="http")
        stack.push_async_callback(_end_web, web, serving)
        # Ended before HTTP: containers call it while they end.
        stack.push_async_callback(server.end_cloud)
        await server.start_control(stack)
        record(home, identity)
        stage("ready")
        note(f"ready at {endpoint(port)}")
        tending = asyncio.create_task(_tend(home.server_log), name="tend")
        stack.callback(tending.cancel)
        await asyncio.wait({serving, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
        home.server_file.unlink(missing_ok=True)
        if not stopping.is_set():
            raise Broken("the HTTP server ended by itself")
        note("stopping")
    stage("stopped")
    # Everything is saved and ended; a thread that builds an image would keep the process alive for minutes.
    os._exit(0)


async def _tend(log: Path) -> None:
    await asyncio.sleep(SETTLE_SECONDS)
    while True:
        await asyncio.to_thread(give_back)
        bound_log(log, sys.stdout.fileno())
        await asyncio.sleep(LOOK_SECONDS)


def give_back() -> None:
    """Returns freed memory that glibc keeps to the system: 20 MB after the start, more after a busy time."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bound_log(path: Path, descriptor: int, most: int = LOG_BYTES) -> bool:
    """Moves the log's text to ``{path}.1`` and empties the file, if it is long and ours. Returns whether it did.

    Args:
        descriptor: where we write. Opened for appending (``daemon``), so that writing continues at the new end.
        most: bytes.
    """
    try:
        ours, found = os.fstat(descriptor), path.stat()
        if (ours.st_dev, ours.st_ino) != (found.st_dev, found.st_ino) or found.st_size <= most:
            return False
        shutil.copyfile(path, path.with_suffix(".log.1"))
        os.truncate(path, 0)
    except OSError as error:  # gone, or a full disk: the next check may succeed
        note(f"the log cannot be cut: {error}")
        return False
    return True


async def _end_web(web: WebServer, serving: asyncio.Task[None]) -> None:
    web.stop()
    await asyncio.gather(serving, return_exceptions=True)


@contextmanager
def alone_in(home: Home) -> Iterator[None]:
    """Holds the home's lock (see ``lock``). The kernel releases it when the process ends, even if it is killed."""
    try:
        with taken(home) as lock:
            sign(lock, os.getpid())
            try:
                yield
            finally:
                sys.stdout.flush()
    except Held as error:
        raise Refused(f"Another server already has {home.folder}. Stop it with: {down_line(home)}") from error
