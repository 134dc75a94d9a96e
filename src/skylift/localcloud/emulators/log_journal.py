"""A journal of CloudWatch Logs: every change is a line on disk before its answer, so that a killed process loses no log line.

ministack keeps logs in memory and writes them whole. Whole is too much to write every second while containers talk, so changes are
appended here, and played again at the next start on top of the last whole file. The whole file's number says with which
journal it goes on, so that a crash between writing the one and removing the other plays nothing twice.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Change:
    """One operation that changed logs.

    Attributes:
        at: seconds since the epoch.
        account: twelve digits.
        region: AWS region.
        action: operation's name, e.g. ``PutLogEvents``.
        request: its members.
    """

    at: float
    account: str
    region: str
    action: str
    request: Mapping[str, Any]


class LogJournal:
    """Appends changes to ``{folder}/logs-{number}.journal``.

    Attributes:
        size: bytes of all journals that are still needed.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self.number = number
        self._descriptor = -1
        self.size = self._on_disk()

    def append(self, change: Change) -> None:
        """Writes one change. Raises ``OSError`` when the disk is full."""
        if self._descriptor < 0:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(self._path(self.number), flags, 0o600)
        line = [change.at, change.account, change.region, change.action, change.request]
        whole = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        written = os.write(self._descriptor, whole)
        if written < len(whole):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(errno.ENOSPC, "no room for a line of the log journal", str(self._path(self.number)))
        self.size += written

    def next(self) -> int:
        """Starts the journal that goes on after the whole file that is now being written; returns its number."""
        self.close()
        self.number += 1
        return self.number

    def forget_before(self, number: int) -> None:
        """Removes journals that a whole file has made needless."""
        for path in self._folder.glob("logs-*.journal"):
            if _number_of(path) < number:
                path.unlink(missing_ok=True)
        self.size = self._on_disk()

    def close(self) -> None:
        """Closes the file; a later ``append`` opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def changes(self) -> Iterator[Change]:
        """What was written since the whole file: from our number on. A line that a crash cut short is left out."""
        numbers = sorted(_number_of(path) for path in self._folder.glob("logs-*.journal"))
        for number in (number for number in numbers if number >= self.number):
            with self._path(number).open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        yield Change(*json.loads(line))
            self.number = number

    def _on_disk(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("logs-*.journal"))

    def _path(self, number: int) -> Path:
        return self._folder / f"logs-{number:08d}.journal"


class JournalTime:
    """Stands for the module ``time`` in ministack's logs, so that a change has the same time when it is made and when it is played."""

    def __init__(self) -> None:
        self._pinned: float | None = None

    @contextlib.contextmanager
    def pinned(self, at: float) -> Iterator[None]:
        """Time stands still at this moment. For operations that do not wait."""
        self._pinned = at
        try:
            yield
        finally:
            self._pinned = None

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time() if self._pinned is None else self._pinned

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


async def replay(changes: Iterator[Change], clock: JournalTime, play: Callable[[Change], Awaitable[None]]) -> int:
    """Plays changes in order, each at its own time. Returns how many."""
    count = 0
    for change in changes:
        with clock.pinned(change.at):
            await play(change)
        count += 1
    return count


def _number_of(path: Path) -> int:
    return int(path.stem.removeprefix("logs-"))
