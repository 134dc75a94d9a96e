"""Forwards TCP: one listening socket, connections spread over targets. WebSockets and long polls work, because it does
not look at the bytes; only where rules must be asked does it read the head of a connection's one request.

Back-pressure comes from the sockets: a side that does not read stops the other side's writing. A half-closed connection
stays half open until both directions have ended. A broken connection is also broken for the other side (a reset, not
a clean end), so that nobody takes half an answer for a whole one. A connection on which nothing moves is closed after
``IDLE_SECONDS``. If there are too many, the one on which nothing has moved for longest is closed earlier.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from skylift.core.errors import Refused
from skylift.localcloud.elb.actions import bad_request
from skylift.localcloud.elb.requests import HttpRequest, Target, read_head
from skylift.localcloud.elb.stickiness import NewCookies
from skylift.wire.descriptors import room_for

Choose = Callable[[], Sequence[Target] | None]
"""``None``: the request must be looked at."""


@dataclass(frozen=True)
class Routed:
    """Where a request goes.

    Attributes:
        targets: best first.
        cookies: what is added to the head of the answer: gets the target that answers, and that head.
    """

    targets: Sequence[Target]
    cookies: NewCookies | None = None


Route = Callable[[HttpRequest], Routed | bytes]
"""Where, or the answer itself."""
Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK_BYTES = 128 * 1024
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 5.0
HEAD_SECONDS = 60.0
"""How long the head of a request may take (idle timeout of application load balancers)."""
HANDSHAKE_SECONDS = 60.0
IDLE_SECONDS = 350.0
"""Like network load balancers. (Application load balancers: 60 by default, but a busy machine may take longer
to answer.)"""
LOOK_SECONDS, BUSY_SECONDS = 5.0, 1.0
SHARE = 0.125
"""Share of this process's descriptors for the connections of one listener; each takes two."""
_BACKLOG, _AT_ONCE = 512, 16
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d ")
"""The head of an answer that is followed by the real one (RFC 9110, section 15.2); 101 is the real one."""
_LINGER_NOT = struct.pack("ii", 1, 0)
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: skylift\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 45\r\nConnection: close\r\n\r\nNo healthy target stands behind this address\n"
)


@dataclass
class Moved:
    """What last moved on a connection.

    Attributes:
        at: when something did (monotonic).
        asking: whether that came from the client, so that its target owes an answer.
        target: where it leads.
        writers: what to close to end it.
        ending: whether it has been told to end.
    """

    at: float = field(default_factory=time.monotonic)
    asking: bool = False
    target: Target | None = None
    writers: tuple[asyncio.StreamWriter, ...] = ()
    ending: bool = False

    def is_idle(self, seconds: float) -> bool:
        """Whether no answer is owed, and nothing has moved for so long."""
        return not self.asking and time.monotonic() - self.at >= seconds


class Forwarder:
    """One listener's socket."""

    def __init__(
        self,
        address: str,
        port: int,
        choose: Choose,
        *,
        http: bool,
        route: Route | None = None,
        idle_seconds: float = IDLE_SECONDS,
        most: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            address: loopback address to bind.
            port: TCP port to bind.
            choose: targets for a new connection, best first; called for each connection.
            route: what to do with a request, called when ``choose`` cannot tell.
            http: answer 503 if there is no target (as an application load balancer does); otherwise just close.
            idle_seconds: a connection on which nothing moves is closed after this.
            most: connections that may be open; 0: as many as fit.
            tls: clients speak TLS; targets do not.
        """
        self.address = address
        self.port = port
        self._choose = choose
        self._http = http
        self._route = route
        self._server: asyncio.Server | None = None
        self._idle_seconds = idle_seconds
        self._most = most
        self._tls = tls
        self._connections: dict[asyncio.Task[None], Moved] = {}
        self._looking: asyncio.Task[None] | None = None
        self._open: Counter[Target] = Counter()

    async def start(self, before: Forwarder | None = None) -> None:
        """Binds and listens.

        Args:
            before: what may listen there now; its socket is used, and it must be stopped afterwards.

        Raises:
            Refused: the port cannot be bound; the text says which and what to do.
        """
        try:
            self._server = await asyncio.start_server(
                self._accept,
                **self._place(before),
                limit=CHUNK_BYTES,
                backlog=_AT_ONCE,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )
        except OSError as error:
            raise Refused(_why_not_bound(self.address, self.port, error)) from error
        for listening in self._server.sockets:
            # asyncio accepts "backlog" connections before it handles the first; the system's own limit may be longer.
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(_BACKLOG)
        self._looking = asyncio.create_task(self._close_idle())

    def _place(self, before: Forwarder | None) -> dict[str, Any]:
        if (
            before is not None
            and before._server is not None
            and (before.address, before.port) == (self.address, self.port)
        ):
            return {"sock": socket.socket(fileno=os.dup(before._server.sockets[0].fileno()))}
        return {"host": self.address, "port": self.port}

    async def stop(self) -> None:
        """Stops listening and ends all connections."""
        self.stop_listening()
        ending = [*self._connections, *([self._looking] if self._looking else [])]
        for one in ending:
            one.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def stop_listening(self) -> None:
        """Accepts no more; open connections go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def connections(self, target: Target) -> int:
        """How many connections a target has through this listener."""
        return self._open[target]

    def close_idle(self, target: Target, seconds: float) -> int:
        """Closes the connections to a target on which nothing is in progress, kindly; returns how many others there
        are.

        Args:
            target: gets no new connections any longer.
            seconds: an answer that nothing has been added to for so long is complete.
        """
        found = [one for one in self._connections.values() if one.target == target]
        idle = [one for one in found if one.is_idle(seconds)]
        for one in idle:
            for writer in one.writers:
                writer.close()
        return len(found) - len(idle)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        if not self._make_room():
            return _reset(writer)
        moved = self._connections[connection] = Moved()
        try:
            await self._serve(reader, writer, moved)
        except OSError:
            # One side went away; _join has told both sides.
            writer.transport.abort()
        finally:
            del self._connections[connection]
            writer.close()
        return None

    def _make_room(self) -> bool:
        """Whether there is room for one more connection; if necessary, first ends the longest idle one."""
        if len(self._connections) < (self._most or room_for(SHARE)):
            return True
        now, open_ones = time.monotonic(), [one for one in self._connections.items() if not one[1].ending]
        longest, moved = min(open_ones, key=lambda one: one[1].at, default=(None, None))
        if longest is None or moved is None or now - moved.at < BUSY_SECONDS:
            return False
        moved.ending = True
        longest.cancel()
        return True

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._idle_seconds / 4))
            before = time.monotonic() - self._idle_seconds
            for connection, moved in list(self._connections.items()):
                if moved.at < before:
                    connection.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Moved) -> None:
        targets, start, cookies = self._choose(), b"", None
        if targets is None and self._route is not None:
            head = await _head(reader)
            source, scheme = writer.get_extra_info("peername")[0], "https" if self._tls else "http"
            request = read_head(head, source, scheme) if head is not None else None
            decision = self._route(request) if request is not None else bad_request()
            if isinstance(decision, bytes):
                return await _answer(reader, writer, decision)
            assert request is not None
            targets, start, cookies = decision.targets, request.passed_on(self.port), decision.cookies
        for target in targets or ():
            moved.target, moved.asking = target, True
            self._open[target] += 1
            try:
                upstream = await asyncio.wait_for(asyncio.open_connection(*target, limit=CHUNK_BYTES), CONNECT_SECONDS)
                moved.at, moved.asking, moved.writers = time.monotonic(), bool(start), (upstream[1], writer)
                upstream[1].write(start)
            except OSError:
                # Refused, unreachable or too slow (TimeoutError is one): the next may answer.
                self._open[target] -= 1
                continue
            try:
                await _join((reader, writer), upstream, moved, partial(cookies, target) if cookies else None)
            finally:
                self._open[target] -= 1
            return None
        if not self._http:
            return None
        if not start:  # closing with unread bytes would reset the connection, and lose the answer
            await _head(reader, REQUEST_SECONDS)
        return await _answer(reader, writer, UNAVAILABLE)


async def _join(one: Side, other: Side, moved: Moved, cookies: Callable[[bytes], bytes] | None = None) -> None:
    both = (
        asyncio.ensure_future(_pump(one[0], other[1], moved, asking=True)),
        asyncio.ensure_future(_pump_answer(other[0], one[1], moved, cookies)),
    )
    try:
        await asyncio.gather(*both)
        other[1].close()
    except (OSError, asyncio.CancelledError):
        for pump in both:
            pump.cancel()
        _reset(one[1])
        _reset(other[1])
        raise


async def _pump_answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Moved, cookies: Callable[[bytes], bytes] | None
) -> None:
    """Passes on an answer; with ``cookies``, adds lines to its head. What is no head is passed on as it is."""
    while cookies is not None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            writer.write(error.partial)
            break
        except asyncio.LimitOverrunError:
            break
        moved.at, moved.asking = time.monotonic(), False
        if _INTERIM.match(head):
            writer.write(head)
            continue
        writer.write(head[:-2] + cookies(head) + b"\r\n")
        break
    await _pump(reader, writer, moved, asking=False)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Moved, *, asking: bool) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        moved.at, moved.asking = time.monotonic(), asking
        writer.write(chunk)
        await writer.drain()
    _end(writer)


def _end(writer: asyncio.StreamWriter) -> None:
    """Says that nothing more comes. TLS has no half-closed connections: there it closes after what is written."""
    if writer.is_closing():
        return
    if not writer.can_write_eof():
        writer.close()
        return
    with contextlib.suppress(OSError):  # the peer may already be gone: then there is nobody to tell
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST; ``abort`` alone would send FIN, which means a normal end."""
    with contextlib.suppress(OSError):  # closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


async def _head(reader: asyncio.StreamReader, seconds: float = HEAD_SECONDS) -> bytes | None:
    """The head of a request with its empty line; ``None``: none came, or a too long one."""
    with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), seconds)
    return None


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Answers, and then reads away what the client still sends: closing with unread bytes would reset the connection,
    and lose the answer."""
    writer.write(answer)
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REQUEST_SECONDS):
            while await reader.read(CHUNK_BYTES):
                pass


def _why_not_bound(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {address} is taken by another program: end it (ss -ltnp 'sport = :{port}' names it) "
            f"or use another port"
        )
    if error.errno == errno.EACCES:
        return f"port {port} on {address} needs privileges (ports below 1024): use a port from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine: on macOS add it with 'sudo ifconfig lo0 alias {address}'"
    return f"port {port} on {address} cannot be bound: {error}"
