"""The ``awslogs`` driver: follows containers' log files and sends their lines, in order, without losing any.

It uses files, not pipes, because a container must not die or hang with the server. On Linux inotify tells when a file
grew. Each watch fires once and is set again just before the file is read, so a busy container wakes us at most every
``TALKING`` seconds and a silent one never. On other systems we look at the files that often.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.containers.inotify import Inotify, open_inotify

LATENCY = 0.3
"""Seconds between the first line after a silence and sending it (as long as the sink keeps up)."""
TALKING = 0.8
"""Least seconds between two sends of one file: each costs a line of the log journal and a row of ECS's store,
together 1 ms."""
LONGEST_LINE = 200_000
"""A line without an end is sent in parts of this many bytes (PutLogEvents: an event has at most 256 KB)."""
_CHUNK = 512 * 1024

Sink = Callable[[Sequence[dict[str, Any]], int], Awaitable[None]]
"""Takes events (``timestamp`` in ms, ``message``; at most 10,000 and 1 MB at a time) and the offset after them.
Never raises: it retries or gives up."""


@dataclass(eq=False)
class Tail:
    """One followed file.

    Attributes:
        path: the file; it need not exist yet.
        offset: bytes that were sent.
        sent: when lines of it were last sent, on the event loop's clock.
    """

    path: Path
    sink: Sink
    offset: int = 0
    sent: float = float("-inf")
    timer: asyncio.TimerHandle | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class LogTails:
    """All followed files."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tails: set[Tail] = set()
        self._inotify: Inotify[Tail] | None = open_inotify(self._grew)
        self._sending: set[asyncio.Task[None]] = set()

    def follow(self, path: Path, sink: Sink, offset: int = 0) -> Tail:
        """Begins to follow a file from a byte offset."""
        path.touch(mode=0o600)
        tail = Tail(path, sink, offset)
        self._tails.add(tail)
        self._grew(tail)
        return tail

    async def finish(self, tail: Tail) -> None:
        """Sends all that is left, even a last line without an end, and stops following."""
        self._tails.discard(tail)
        self._drop_timer(tail)
        if self._inotify is not None:
            self._inotify.forget(tail)
        await self._send(tail, last=True)

    async def close(self) -> None:
        """Stops following. What was not sent stays in the files."""
        for tail in self._tails:
            self._drop_timer(tail)
        self._tails.clear()
        if self._sending:
            await asyncio.wait(self._sending)
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _grew(self, tail: Tail) -> None:
        if tail in self._tails and tail.timer is None:
            loop = asyncio.get_running_loop()
            tail.timer = loop.call_at(max(loop.time() + LATENCY, tail.sent + TALKING), self._due, tail)

    def _due(self, tail: Tail) -> None:
        tail.timer = None
        watched = False
        if self._inotify is not None:
            with contextlib.suppress(OSError):  # no watches left on this machine: poll instead
                self._inotify.once(tail.path, tail)
                watched = True
        if not watched:
            self._grew(tail)
        sending = asyncio.ensure_future(self._send(tail))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, tail: Tail, last: bool = False) -> None:
        async with tail.busy:
            while True:
                lines, used = _lines(_read(tail.path, tail.offset), last)
                if not used:
                    return
                tail.sent = asyncio.get_running_loop().time()
                now = round(self._clock() * 1000)
                if lines:
                    await tail.sink([{"timestamp": now, "message": line} for line in lines], tail.offset + used)
                tail.offset += used

    @staticmethod
    def _drop_timer(tail: Tail) -> None:
        if tail.timer is not None:
            tail.timer.cancel()
            tail.timer = None


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= offset:
                return b""
            file.seek(offset)
            return file.read(_CHUNK)
    except FileNotFoundError:
        return b""


def _lines(chunk: bytes, last: bool) -> tuple[list[str], int]:
    """Whole lines of the chunk, and the bytes that they take. Empty lines are dropped, as Docker's awslogs driver
    does."""
    end = chunk.rfind(b"\n") + 1
    if not end:
        if not last and len(chunk) < LONGEST_LINE:
            return [], 0
        end = min(len(chunk), LONGEST_LINE)
    elif last and len(chunk) < _CHUNK:
        end = len(chunk)
    whole = chunk[:end].split(b"\n", 9_999)
    if len(whole) > 9_999:
        end -= len(whole.pop())
    texts = (line[at : at + LONGEST_LINE] for line in whole for at in range(0, len(line) or 1, LONGEST_LINE))
    decoded = (text.rstrip(b"\r").decode("utf-8", "replace") for text in texts)
    return [text for text in decoded if text], end
