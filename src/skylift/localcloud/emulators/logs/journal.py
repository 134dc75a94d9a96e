"""The journal of CloudWatch Logs: every change is written before it is made, and replayed at the next start.

ministack keeps logs in memory and saves them as a whole. That is too much to write every second while containers log.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.localcloud.damage import damaged
from skylift.localcloud.emulators.journal import Journal

HOLDS = "log groups and log lines of CloudWatch Logs"


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
    """Changes in ``{folder}/logs-{number}.journal``."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._lines = Journal(folder, "logs", number, holds=HOLDS)

    @property
    def number(self) -> int:
        """The number of the journal that is being written."""
        return self._lines.number

    @property
    def size(self) -> int:
        """Bytes of all journals that are still needed."""
        return self._lines.size

    def append(self, change: Change) -> None:
        """Writes one change. Raises ``OSError`` when the disk is full."""
        self._lines.append(_line(change))

    @contextlib.contextmanager
    def written_before(self, change: Change) -> Iterator[list[bool]]:
        """Writes a change to the journal, then lets the caller make it; the caller appends whether it succeeded.

        A refused change is removed from the journal again, unless others were written after it: its replay is refused,
        too.

        Raises:
            OSError: the disk is full; nothing was changed.
        """
        begin = self._lines.append(_line(change))
        written, made = (self._lines.number, self._lines.size), list[bool]()
        try:
            yield made
        finally:
            if not any(made) and written == (self._lines.number, self._lines.size):
                self._lines.take_back(begin)

    def next(self) -> int:
        """As ``Journal.next``."""
        return self._lines.next()

    def forget_before(self, number: int) -> None:
        """As ``Journal.forget_before``."""
        self._lines.forget_before(number)

    def close(self) -> None:
        """Closes the file; a later change opens it again."""
        self._lines.close()

    def changes(self) -> Iterator[Change]:
        """The changes since the whole file. Raises ``Damaged``."""
        for entry in self._lines.entries():
            try:
                yield Change(*entry)
            except TypeError as error:
                raise damaged(self._folder / f"logs-{self.number:08d}.journal", str(error), HOLDS) from error


class JournalTime:
    """Replaces the module ``time`` in ministack's logs, so that a change gets the same time when it is made and when it
    is replayed."""

    def __init__(self) -> None:
        self._pinned: float | None = None

    @contextlib.contextmanager
    def pinned(self, at: float) -> Iterator[None]:
        """Fixes the time at this moment. For operations that do not wait."""
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
    """Replays changes in order, each at its own time. Returns their number."""
    count = 0
    for change in changes:
        with clock.pinned(change.at):
            await play(change)
        count += 1
    return count


def _line(change: Change) -> list[Any]:
    return [change.at, change.account, change.region, change.action, change.request]
