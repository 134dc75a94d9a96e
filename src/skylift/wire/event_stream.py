"""Answers that go on: AWS's binary event streams (``application/vnd.amazon.eventstream``).

A message is: its length and that of its headers, a checksum of the two, headers, a body, a checksum of all. JSON-RPC
services begin with a message ``initial-response``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.wire.asgi import Receive, Send

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7


@dataclass(frozen=True)
class EventStream:
    """What an operation returns whose answer is a stream of events: each a name of the model and its members.

    An event whose name ends with ``Exception`` is the last one, and an error for the caller.
    """

    events: AsyncIterator[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class StreamedAnswer:
    """An HTTP answer whose body comes piece by piece."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


def streamed(stream: EventStream, request_id: str) -> StreamedAnswer:
    """The answer that an event stream is on the wire."""

    async def pieces() -> AsyncIterator[bytes]:
        yield message("event", "initial-response", b"{}")
        async for name, members in stream.events:
            kind = "exception" if name.endswith("Exception") else "event"
            yield message(kind, name, json.dumps(members, separators=(",", ":")).encode())

    return StreamedAnswer(200, {"content-type": CONTENT_TYPE, "x-amzn-requestid": request_id}, pieces())


def message(kind: str, name: str, body: bytes) -> bytes:
    """One message, with a JSON body."""
    headers = b"".join(
        (
            _header(":message-type", kind),
            _header(":exception-type" if kind == "exception" else ":event-type", name),
            _header(":content-type", "application/json"),
        )
    )
    prelude = (16 + len(headers) + len(body)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    whole = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + body
    return whole + zlib.crc32(whole).to_bytes(4, "big")


def _header(name: str, value: str) -> bytes:
    named, valued = name.encode(), value.encode()
    return bytes([len(named)]) + named + bytes([_STRING]) + len(valued).to_bytes(2, "big") + valued


async def send_stream(receive: Receive, send: Send, answer: StreamedAnswer) -> None:
    """Sends the pieces until there are no more, or the caller has gone."""
    encoded = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    sending = asyncio.ensure_future(_send_all(send, answer.pieces))
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (sending, gone):
            one.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        try:
            await sending
        except asyncio.CancelledError:
            if not gone.done():
                raise


async def _send_all(send: Send, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
