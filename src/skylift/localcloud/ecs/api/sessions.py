"""Shells in containers, over HTTP: sessions that ExecuteCommand opened, and the route on which a client uses one.

AWS's own protocol (Session Manager's websocket) is not needed here. A session is one request whose body is the input
and whose answer is the output, both as frames, at the same time. A frame is one letter, four bytes of length
(big endian), and that many bytes:

to the container    ``i`` input, ``e`` no more input, ``w`` the window's size (``rows columns`` as text)
from the container  ``o`` standard output, ``r`` standard error (only without a terminal), ``x`` the exit code as text:
                    the last frame

A session accepts one connection, within ten minutes, with its token in the header ``authorization``. When the
connection or the container ends, its program is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from skylift.core.clock import Clock
from skylift.localcloud.containers.program import InteractiveProgram, Program
from skylift.localcloud.containers.runner import CannotStart, Ended
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer

ROUTE = "/_skylift/session"
SESSION_SECONDS = 600.0
LONGEST_FRAME = 1 << 20
_CANNOT_RUN = 127
_MOST_CELLS = 65535
"""Most rows or columns of a terminal's window."""


@dataclass
class Session:
    """A session that waits for its connection.

    Attributes:
        begin: says how to run its command; its argument is whether there is a terminal. Raises ``CannotStart``.
        ended: resolves when the container ends.
    """

    begin: Callable[[bool], Awaitable[Program]]
    ended: asyncio.Future[Ended]
    opened: float
    id: str = field(default_factory=lambda: f"ecs-execute-command-{secrets.token_hex(9)[:17]}")
    token: str = field(default_factory=lambda: secrets.token_urlsafe(48))


class Sessions:
    """All waiting sessions."""

    def __init__(self, endpoint: str, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._waiting: dict[str, Session] = {}

    def open(self, begin: Callable[[bool], Awaitable[Program]], ended: asyncio.Future[Ended]) -> dict[str, str]:
        """A new session, in ExecuteCommand's format."""
        oldest = self._clock() - SESSION_SECONDS
        self._waiting = {name: one for name, one in self._waiting.items() if one.opened > oldest}
        session = Session(begin, ended, self._clock())
        self._waiting[session.id] = session
        url = f"{self._endpoint}{ROUTE}/{session.id}"
        return {"sessionId": session.id, "streamUrl": url, "tokenValue": session.token}

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``POST .../{session id}?terminal=1``: see above."""
        name = scope["path"].rsplit("/", 1)[-1]
        session = self._waiting.get(name)
        shown = dict(scope["headers"]).get(b"authorization", b"")
        if session is None or not hmac.compare_digest(shown, session.token.encode()):
            await send_answer(send, Answer(403, {"content-type": "text/plain"}, b"no such session, or a wrong token"))
            return
        del self._waiting[name]
        terminal = parse_qs(scope["query_string"].decode("latin-1")).get("terminal") == ["1"]
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/octet-stream")]}
        )
        code = await _talk(session, terminal, receive, send)
        last = frame("x", str(code).encode())
        await send({"type": "http.response.body", "body": last})


def frame(kind: str, data: bytes) -> bytes:
    """One frame."""
    return kind.encode() + len(data).to_bytes(4, "big") + data


def frames(buffer: bytearray) -> Iterator[tuple[str, bytes]]:
    """Removes whole frames from a buffer. One that is too long ends them: ``("!", b"")``."""
    while len(buffer) >= 5:
        size = int.from_bytes(buffer[1:5], "big")
        if size > LONGEST_FRAME:
            yield "!", b""
            return
        if len(buffer) < 5 + size:
            return
        kind, data = chr(buffer[0]), bytes(buffer[5 : 5 + size])
        del buffer[: 5 + size]
        yield kind, data


async def _talk(session: Session, terminal: bool, receive: Receive, send: Send) -> int:
    try:
        program = await InteractiveProgram.begin(await session.begin(terminal), terminal)
    except (CannotStart, OSError) as error:
        text = f"{error}\r\n".encode()
        await send({"type": "http.response.body", "body": frame("o" if terminal else "r", text), "more_body": True})
        return _CANNOT_RUN
    typing = asyncio.create_task(_listen(program, receive))
    showing = asyncio.create_task(_show(program, send))
    over: list[asyncio.Future[Any]] = [typing, showing, session.ended]
    try:
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
    finally:
        typing.cancel()
        showing.cancel()
        code = await program.close()
        await asyncio.gather(typing, showing, return_exceptions=True)
    return code


async def _listen(program: InteractiveProgram, receive: Receive) -> None:
    """Passes the input on. Returns when the client is gone; the end of its input alone does not end it."""
    buffer = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        buffer += message.get("body", b"")
        for kind, data in frames(buffer):
            if kind == "i":
                await program.write(data)
            elif kind == "e":
                await program.end_input()
            elif kind == "w":
                with contextlib.suppress(ValueError):
                    rows, columns = (min(int(word), _MOST_CELLS) for word in data[:40].split())
                    program.resize(max(1, rows), max(1, columns))
            else:
                return


async def _show(program: InteractiveProgram, send: Send) -> None:
    while (said := await program.output.get()) is not None:
        kind, data = said
        await send({"type": "http.response.body", "body": frame(kind, data), "more_body": True})
