"""Runs an ASGI app on loopback with uvicorn, in the foreground or in its own thread.

The socket is bound first, so that the address is known before the app is made (the app tells containers its own
address). It serves only loopback, because whoever reaches the port may try keys.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from skylift.core.errors import Refused, Unavailable
from skylift.wire.asgi import Asgi
from skylift.wire.connections import LOOK_SECONDS, ClientConnection, Limits, close_overdue
from skylift.wire.encryption import Tls, no_tls
from skylift.wire.quiet_log import keep_quiet

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
_BACKLOG = 512
_AT_ONCE = 16
"""Connections that asyncio accepts before the first of them is looked at: so many may be open beyond the limit."""
_KEEP_ALIVE_SECONDS = 75


def listen(port: int = 0, host: str = LOOPBACK) -> socket.socket:
    """A bound, listening socket.

    Args:
        port: 0 takes a free one.
        host: a loopback address.

    Raises:
        Refused: the host is not loopback, or the port cannot be had.
    """
    family = _loopback_family(host)
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, an answer waits 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise Refused(_why_not(error, host, port)) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """The address of a listening socket: ``http://127.0.0.1:4747``."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class HttpServer:
    """Serves one app on one socket until it is told to stop.

    Args:
        app: what to serve.
        listening: from ``listen``; closed at the end.
        grace: seconds that running requests get when the server stops.
        limits: of each connection.
        tls: gives what a client that begins with TLS is answered with; ``None``: such clients are refused.
    """

    def __init__(
        self,
        app: Asgi,
        listening: socket.socket,
        *,
        grace: float = 5.0,
        limits: Limits | None = None,
        tls: Tls = no_tls,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=ClientConnection,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=_AT_ONCE,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(grace)),
        )
        config.limits, config.tls = limits or Limits(), tls
        self._server = _QuietServer(config)
        self._listening = listening
        self.url = url_of(listening)

    @property
    def started(self) -> bool:
        """Whether requests are answered."""
        return bool(self._server.started)

    async def run(self) -> None:
        """Serves on this event loop until ``stop``."""
        try:
            await self._server.serve(sockets=[self._listening])
        finally:
            self._listening.close()

    def stop(self) -> None:
        """Asks the server to end; from any thread, also before it runs."""
        self._server.should_exit = True


@contextmanager
def serving(
    app: Asgi, *, port: int = 0, host: str = LOOPBACK, grace: float = 5.0, limits: Limits | None = None
) -> Iterator[str]:
    """Serves an app from a background thread; gives its URL.

    Raises:
        Refused: as ``listen``.
        Unavailable: the server did not come up.
    """
    server = HttpServer(app, listen(port, host), grace=grace, limits=limits)
    thread = threading.Thread(target=lambda: asyncio.run(server.run()), name="wire-server", daemon=True)
    thread.start()
    try:
        server._server.up.wait(START_SECONDS)
        if not server.started:
            raise Unavailable(f"the server on {server.url} did not start within {START_SECONDS:.0f} s: see its log")
        yield server.url
    finally:
        server.stop()
        thread.join(grace + START_SECONDS)


class _QuietServer(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not type-checked here
    """uvicorn's server without its signal handling, which would end the process before its owner could tidy up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        keep_quiet()
        try:
            await super().startup(sockets=sockets)
            for listening in sockets or ():
                listening.listen(_BACKLOG)  # asyncio has set it to what it accepts at once
            shortest = min(self.config.limits.head_seconds, self.config.limits.body_seconds)
            looking = close_overdue(self.server_state.connections, min(LOOK_SECONDS, shortest / 4))
            self._closing = asyncio.create_task(looking, name="overdue")
        finally:
            self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.cancel()
        await super().shutdown(sockets=sockets)


def _loopback_family(host: str) -> socket.AddressFamily:
    try:
        address = ipaddress.ip_address(LOOPBACK if host == "localhost" else host)
    except ValueError as error:
        raise Refused(f"{host!r} is not an IP address; skylift listens on loopback only: use {LOOPBACK}") from error
    if not address.is_loopback:
        raise Refused(f"skylift listens on loopback only, and {host} is reachable from outside: use {LOOPBACK}")
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _why_not(error: Exception, host: str, port: int) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} is in use by another program; choose another with --port"
    if number == errno.EACCES:
        return f"port {port} may only be used by root; choose one above 1023 with --port"
    if number == errno.EADDRNOTAVAIL:
        return f"this machine has no address {host}; use {LOOPBACK}"
    return f"port {port} cannot be used: {error}; choose another with --port (1 to 65535, or 0 for any free one)"
