"""uvicorn's connections with limits: on a request's head, on silence, and on their number.

Anyone who reaches the port can open sockets and say nothing; nobody else may suffer from that. So a head must arrive in
time, and a body must progress. If there are too many connections, the one that has been idle longest is closed for the
next; first those that never had a valid request. A connection with a request in progress is never closed: long polls,
live tails and progressing uploads take the time that they need.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from skylift.wire import encryption
from skylift.wire.asgi import Asgi, Message, Receive, Scope, Send
from skylift.wire.descriptors import room_for
from skylift.wire.intercept import CUT, resetting

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """What a connection may take.

    Attributes:
        head_seconds: from the connection, or a request's first byte, to the end of its head.
        body_seconds: in which a body must go on by ``body_bytes``, while we want more of it.
        body_bytes: so much is progress.
        head_bytes: of a request's target and headers.
        headers: how many.
        share: of this process's descriptors that connections may take.
    """

    head_seconds: float = 30.0
    body_seconds: float = 60.0
    body_bytes: int = 1024
    head_bytes: int = 64 * 1024
    headers: int = 256
    share: float = 0.375


class HeadTooLarge(Exception):
    """A request's head is longer than is read."""


class ClientConnection(HttpToolsProtocol):  # type: ignore[misc]  # uvicorn is not type-checked here
    """One connection. ASGI has no word for resetting it: the app finds a function in the scope.

    Attributes:
        known: a request was admitted on it.
        due: when it is closed, unless something comes; infinity while nothing is awaited.
        heard: when something came last.
    """

    app: Asgi
    due: float
    transport: Any
    cycle: Any
    outside: ClientConnection | None = None
    """The connection without TLS in which this one is."""

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for a head, after room was made for this connection."""
        self.limits: Limits = self.config.limits
        self.known, self.heard, self.transport = False, time.monotonic(), transport
        self._too_large, self._since, self._begun = False, 0, False
        self._await_head()
        if self.outside is not None:
            self.connections.discard(self.outside)
        if not make_room(self.connections, room_for(self.limits.share)):
            transport.abort()
            log.warning("a connection was refused: as many are open as there is room for, and all are in use")
            return
        super().connection_made(transport)
        app, cut = self.app, resetting(transport)

        async def with_cut(scope: Scope, receive: Receive, send: Send) -> None:
            async def look(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] < 400:
                    self.known = True
                await send(message)

            scope[CUT] = cut
            await app(scope, receive, look)

        self.app = with_cut

    @property
    def idle(self) -> bool:
        """Whether nothing is being done for it."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def is_overdue(self, now: float) -> bool:
        """Whether what is awaited has not come in time."""
        if self._in_head:
            return self.idle and now > self.due
        waits_for_us = self.flow.read_paused or self.cycle.waiting_for_100_continue
        if waits_for_us or self.cycle.response_started:  # the latter: both talk at once, as in a shell
            self.due = max(self.due, now + self.limits.body_seconds)
        return now > self.due

    def data_received(self, data: bytes) -> None:
        """Some of a head, of a body, or of both."""
        if self.transport.is_closing():
            return None
        self.heard = time.monotonic()
        if not self._begun:
            self._begun = True
            if self.outside is None and encryption.begins(data) and (context := self.config.tls()) is not None:
                return self._encrypt(data, context)
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response("")
        return None

    def _encrypt(self, data: bytes, context: ssl.SSLContext) -> None:
        """Goes on with TLS, as another connection inside this one; this one counts until the handshake is done."""
        inside = ClientConnection(self.config, self.server_state, self.app_state, self.loop)
        inside.outside = self
        gone = partial(self.connections.discard, self)
        encryption.encrypt(self.transport, inside, context, data, self.limits.head_seconds, gone)

    def on_message_begin(self) -> None:
        """A request's first line begins."""
        super().on_message_begin()
        self._in_head = True
        self.due = min(self.due, self.heard + self.limits.head_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or one of a chunked body's trailer."""
        super().on_header(name, value)
        if not self._in_head:
            self._measure()

    def on_headers_complete(self) -> None:
        """The body begins."""
        self._measure()
        self._in_head, self._head_bytes, self._since = False, 0, 0
        self.due = self.heard + self.limits.body_seconds
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._since += len(body)
        if self._since >= self.limits.body_bytes:
            self._since, self.due = 0, self.heard + self.limits.body_seconds
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing more is awaited until the answer is given."""
        self.due = float("inf")
        super().on_message_complete()
        if self.idle:
            self._await_head()

    def on_response_complete(self) -> None:
        """The next head is awaited; on a connection that is known, uvicorn sees to it that one begins."""
        if self.due == float("inf"):
            self._await_head()
        super().on_response_complete()

    def _await_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self.due = float("inf") if self.known else time.monotonic() + self.limits.head_seconds

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, or too much of it."""
        if self._too_large:
            head = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _measure(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.limits.head_bytes or len(self.headers) > self.limits.headers:
            self._too_large = True
            raise HeadTooLarge


def make_room(connections: Iterable[ClientConnection], most: int) -> bool:
    """Whether there is room for one more, after the one that has been idle longest was closed if need be."""
    known = list(connections)
    if len(known) < most:
        return True
    idle = [one for one in known if one.idle]
    if not idle:
        return False
    longest = min(idle, key=lambda one: (one.known, one.heard))
    longest.transport.abort()
    longest.connections.discard(longest)
    return True


async def close_overdue(connections: set[ClientConnection], every: float) -> None:
    """Closes, for ever, connections on which nothing comes that is awaited. ``every``: seconds between two looks."""
    while True:
        await asyncio.sleep(every)
        now = time.monotonic()
        for one in [one for one in connections if one.is_overdue(now)]:
            one.transport.abort()
