"""Forwards TCP: one listening socket, connections spread over targets. WebSockets and long polls work, since it looks at no byte.

Back-pressure is the sockets' own: a side that does not read stops the other side's writing. A half-closed connection stays half
open until both directions have ended; a connection that breaks is broken to the other side too (a reset, not a clean end),
so that nobody takes half an answer for a whole one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence

from skylift.core.errors import Refused

Target = tuple[str, int]
Choose = Callable[[], Sequence[Target]]

CHUNK_BYTES = 128 * 1024
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 5.0
_LINGER_NOT = struct.pack("ii", 1, 0)
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: skylift\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 45\r\nConnection: close\r\n\r\nNo healthy target stands behind this address\n"
)


class Forwarder:
    """One listener's socket."""

    def __init__(self, address: str, port: int, choose: Choose, *, http: bool) -> None:
        """Opens nothing yet.

        Args:
            address: loopback address to bind.
            port: TCP port to bind.
            choose: targets for a new connection, best first; asked for each connection.
            http: answer 503 when there is no target (an application load balancer does); otherwise just close.
        """
        self.address = address
        self.port = port
        self._choose = choose
        self._http = http
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._open: Counter[Target] = Counter()

    async def start(self) -> None:
        """Binds and listens.

        Raises:
            Refused: the port cannot be bound; the text says which and what to do.
        """
        try:
            self._server = await asyncio.start_server(self._accept, self.address, self.port, limit=CHUNK_BYTES)
        except OSError as error:
            raise Refused(_why_not_bound(self.address, self.port, error)) from error

    async def stop(self) -> None:
        """Stops listening and ends all connections."""
        self.stop_listening()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def stop_listening(self) -> None:
        """Accepts no more; open connections live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def connections(self, target: Target) -> int:
        """How many connections a target has through this listener."""
        return self._open[target]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            await self._serve(reader, writer)
        except OSError:
            # A peer went away; both sides have been told by _join.
            writer.transport.abort()
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for target in self._choose():
            try:
                upstream = await asyncio.wait_for(asyncio.open_connection(*target, limit=CHUNK_BYTES), CONNECT_SECONDS)
            except OSError:
                # Refused, unreachable or too slow (TimeoutError is one): the next may answer.
                continue
            self._open[target] += 1
            try:
                await _join((reader, writer), upstream)
            finally:
                self._open[target] -= 1
            return
        if self._http:
            await _say_unavailable(reader, writer)


async def _join(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], other: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    both = (asyncio.ensure_future(_pump(one[0], other[1])), asyncio.ensure_future(_pump(other[0], one[1])))
    try:
        await asyncio.gather(*both)
        other[1].close()
    except (OSError, asyncio.CancelledError):
        for pump in both:
            pump.cancel()
        _reset(one[1])
        _reset(other[1])
        raise


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof() and not writer.is_closing():
        # The peer may be gone already: then there is nobody to tell.
        with contextlib.suppress(OSError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST; ``abort`` alone would send FIN, which says that all is well."""
    with contextlib.suppress(OSError):  # closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


async def _say_unavailable(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers 503 after the request's head: closing on unread bytes would be a reset, and the answer lost."""
    with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_SECONDS)
    writer.write(UNAVAILABLE)
    await writer.drain()


def _why_not_bound(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {address} is taken by another program: end it (ss -ltnp 'sport = :{port}' names it) or use another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {address} needs privileges (ports below 1024): use a port from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine: on macOS add it with 'sudo ifconfig lo0 alias {address}'"
    return f"port {port} on {address} cannot be bound: {error}"
