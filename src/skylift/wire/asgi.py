"""HTTP as ASGI sees it: a request's head, an answer, and bodies that can be read once.

Request targets come in two forms: ``/path`` and, from clients that believe they talk to a proxy, ``http://host/path``
(Terraform with ``HTTP_PROXY``). uvicorn's httptools parser strips the second form, its h11 parser does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import IO, Any, Protocol
from urllib.parse import unquote

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

IN_MEMORY_BYTES = 8 * 1024 * 1024
"""A body longer than this waits on disk."""
_REPLAY_BYTES = 1024 * 1024
_DRAIN_BYTES = 1024 * 1024
_DRAIN_SECONDS = 5.0
_NOT_IN_A_HEADER = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class Head:
    """What stands before a body.

    Attributes:
        method: upper case.
        path: as sent, still percent-encoded.
        query: as sent, without ``?``.
        headers: names in lower case; a repeated header's values are joined by commas.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer. ``headers`` are added to the content length."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ClientGone(Exception):
    """The client went away before its request was complete: nobody waits for an answer."""


class BodyTooLong(Exception):
    """The body is longer than may be read."""


def origin_form(scope: Scope) -> Scope:
    """The scope with ``/path`` as its target, whatever form the client used."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    if raw.startswith(b"/"):
        return scope
    _, scheme, rest = raw.partition(b"://")
    raw = b"/" + rest.partition(b"/")[2] if scheme else raw
    return {**scope, "raw_path": raw, "path": unquote(raw.decode("latin-1"))}


def head_of(scope: Scope) -> Head:
    """The head of a request in origin form. Bytes that are not UTF-8 survive as surrogates, so that signatures still
    match."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "surrogateescape")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    path = (scope.get("raw_path") or b"/").decode("latin-1")
    return Head(scope["method"].upper(), path, scope["query_string"].decode("latin-1"), headers)


async def send_answer(send: Send, answer: Answer) -> None:
    """Sends a whole answer."""
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    encoded = [(name.lower().encode(), _header_value(value)) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})


def _header_value(value: str) -> bytes:
    """As HTTP can carry it: what a caller sent may be told back to them."""
    return _NOT_IN_A_HEADER.sub(" ", value).encode("utf-8", "surrogateescape")


async def read_body(receive: Receive, most: int) -> bytes:
    """The whole body in memory. Raises ``BodyTooLong`` beyond ``most`` bytes."""
    chunks: list[bytes] = []
    length, more = 0, True
    while more:
        chunk, more = await _next_chunk(receive)
        length += len(chunk)
        if length > most:
            raise BodyTooLong
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Inbox:
    """A ``receive`` that knows whether the body has been read to its end: after that, the next message comes only when
    the client goes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        """The next message."""
        message = await self._receive()
        self.ended = self.ended or message["type"] != "http.request" or not message.get("more_body", False)
        return message


class Outbox:
    """A ``send`` that knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        """Sends."""
        self.begun = True
        await self._send(message)


async def drain(receive: Inbox, head: Head) -> bool:
    """Reads away a short body that nobody wants, so that the connection stays usable. False: it is long, or slow: close
    instead."""
    if receive.ended:
        return True
    length = head.headers.get("content-length", "0")
    if "transfer-encoding" in head.headers or not _is_short(length):
        return False
    try:
        await asyncio.wait_for(read_body(receive, _DRAIN_BYTES), _DRAIN_SECONDS)
    except (BodyTooLong, ClientGone, TimeoutError):
        return False
    return True


def _is_short(length: str) -> bool:
    return length.isascii() and length.isdecimal() and len(length) < 9 and int(length) <= _DRAIN_BYTES


class SpooledBody:
    """A body that had to be read before it may be passed on: in memory, or on disk when long."""

    def __init__(self) -> None:
        # Closed in close().
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        self._sha256 = hashlib.sha256()
        self._left = 0

    @property
    def sha256(self) -> str:
        """The body's digest in hex."""
        return self._sha256.hexdigest()

    async def fill(self, receive: Receive, most: int) -> None:
        """Reads the body. Raises ``BodyTooLong`` beyond ``most`` bytes."""
        more = True
        while more:
            chunk, more = await _next_chunk(receive)
            self._left += len(chunk)
            if self._left > most:
                raise BodyTooLong
            self._sha256.update(chunk)
            self._file.write(chunk)
        self._file.seek(0)

    def beginning(self, most: int = 64 * 1024) -> bytes:
        """The first bytes, before ``replay``."""
        start = self._file.read(most)
        self._file.seek(0)
        return start

    def replay(self, receive: Receive) -> Receive:
        """A ``receive`` that gives the body once more, then whatever comes after it (a disconnect)."""
        begun = False

        async def again() -> Message:
            nonlocal begun
            if begun and not self._left:
                return await receive()
            begun = True
            chunk = self._file.read(_REPLAY_BYTES)
            self._left -= len(chunk)
            return {"type": "http.request", "body": chunk, "more_body": self._left > 0}

        return again

    def close(self) -> None:
        """Frees memory or disk."""
        self._file.close()


class BodyMismatch(Exception):
    """The body is not the one that was signed."""


class BodyCheck(Protocol):
    """Looks at a body while it passes. Both raise what the caller is to be told when the body is wrong."""

    def update(self, data: bytes) -> None:
        """The next piece."""
        ...

    def finish(self) -> None:
        """There is no more."""
        ...


class DigestCheck:
    """The body must have this SHA-256. Raises ``wrong`` when it has another."""

    def __init__(self, sha256: str, wrong: Exception) -> None:
        self._wanted = sha256
        self._wrong = wrong
        self._sha256 = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """The next piece."""
        self._sha256.update(data)

    def finish(self) -> None:
        """There is no more."""
        if self._sha256.hexdigest() != self._wanted:
            raise self._wrong


class CheckedBody:
    """A body that is passed on as it comes, but for the piece that shows that it is wrong: at the latest the last.

    Attributes:
        wrong: what the check said; ``None``: nothing yet.
    """

    def __init__(self, receive: Receive, check: BodyCheck) -> None:
        self._receive = receive
        self._check = check
        self._ended = False
        self.wrong: Exception | None = None

    async def receive(self) -> Message:
        """The next message. Raises ``BodyMismatch`` instead of a piece that is wrong, and ever after."""
        if self.wrong is not None:
            raise BodyMismatch
        message = await self._receive()
        if message["type"] == "http.request" and not self._ended:
            self._ended = not message.get("more_body", False)
            try:
                self._check.update(message.get("body", b""))
                if self._ended:
                    self._check.finish()
            except Exception as error:
                self.wrong = error
                raise BodyMismatch from error
        return message


async def _next_chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def read_beginning(receive: Receive, least: int) -> tuple[bytes, Receive]:
    """The first ``least`` bytes of a body or a little more (a shorter one: all of it), and a ``receive`` that gives the
    whole body."""
    start, more = b"", True
    while more and len(start) < least:
        chunk, more = await _next_chunk(receive)
        start += chunk
    return start, replayed(start, receive, more=more)


def replayed(body: bytes, receive: Receive, *, more: bool = False) -> Receive:
    """A ``receive`` that gives a body that has been read once more, then goes on as before.

    Args:
        body: what has been read.
        receive: gives what comes after it.
        more: whether that is still a part of the body.
    """
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": more}

    return again
