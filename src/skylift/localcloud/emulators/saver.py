"""Saves what services hold in memory: soon after a change, never more often than it is worth, and whole at the end.

A snapshot is taken on the event loop (so that it is consistent) and written beside it, into a new file that then replaces the old.
What ``keep`` is told of is on the disk before it returns, as long as the state is small (``PROMPT_BYTES``). Of the rest, a process
that is killed loses at most what changed in the last ``DELAY_SECONDS``, or, when taking a snapshot is slow, in ``COST_FACTOR``
times as long as it takes. Nothing is synced: a killed process loses nothing that it has written, only a machine without power does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

DELAY_SECONDS = 1.0
"""From a change to its snapshot: a burst of changes is one write."""

COST_FACTOR = 20.0
"""A service's snapshots take at most one part in so many of the time."""

SWEEP_SECONDS = 30.0
"""How often everything is looked at, for changes that no request made (schedules that fired, deliveries)."""

RETRY_SECONDS = 5.0
"""After a write that failed (a full disk)."""

PROMPT_BYTES = 256_000
"""A state up to this size is written before the answer; a larger one soon after, because it is written whole."""

_log = logging.getLogger("skylift.localcloud.emulators.others")


class States(Protocol):
    """What there is to save."""

    def keys(self) -> Iterable[str]:
        """What is in memory now; a key is a file's name without ``.json``."""
        ...

    def snapshot(self, key: str) -> Any:
        """A copy that nobody changes; ``None`` when there is nothing to save."""
        ...

    def encode(self, key: str, snapshot: Any) -> bytes:
        """The file's content."""
        ...


@dataclass
class _Record:
    due: float | None = None
    not_before: float = 0.0
    digest: bytes = b""
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    size: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Saver:
    """Writes ``{folder}/{key}.json`` for every key that was touched; ``unswept`` ones only when touched, and at the end."""

    def __init__(
        self,
        folder: Path,
        states: States,
        monotonic: Callable[[], float] = time.monotonic,
        unswept: frozenset[str] = frozenset(),
    ) -> None:
        self._folder = folder
        self._states = states
        self._monotonic = monotonic
        self._unswept = unswept
        self._records: dict[str, _Record] = {}
        self._bell = asyncio.Event()
        self._next_sweep = monotonic() + SWEEP_SECONDS

    def touch(self, *keys: str) -> None:
        """Says that these have changed. On the event loop; costs nothing."""
        for key in keys:
            record = self._records.setdefault(key, _Record())
            if record.due is None:
                record.due = max(self._monotonic() + DELAY_SECONDS, record.not_before)
                self._bell.set()

    async def keep(self, *keys: str) -> None:
        """Says that these have changed, and returns once the small ones are on the disk. Many who wait share one write.

        Raises:
            OSError: a file cannot be written (a full disk).
        """
        self.touch(*keys)
        for key in keys:
            record = self._records[key]
            if record.size <= PROMPT_BYTES:
                future = asyncio.get_running_loop().create_future()
                record.waiting.append(future)
                await self._save(key, unless=future, last=True)

    async def saved(self, key: str) -> None:
        """Touches this one, and returns once it is saved as it is now (or later)."""
        self.touch(key)
        future = asyncio.get_running_loop().create_future()
        self._records[key].waiting.append(future)
        await future

    async def run(self) -> None:
        """Saves until cancelled."""
        while True:
            self._bell.clear()
            now = self._monotonic()
            if now >= self._next_sweep:
                self._next_sweep = now + SWEEP_SECONDS
                self.touch(*(key for key in self._states.keys() if key not in self._unswept))  # noqa: SIM118  # not a dict
            await self.save_due()
            wait = max(0.05, self._next_due() - self._monotonic())
            try:
                await asyncio.wait_for(self._bell.wait(), wait)
            except TimeoutError:
                continue

    async def save_due(self) -> None:
        """Saves what is due now."""
        now = self._monotonic()
        for key in [key for key, record in self._records.items() if record.due is not None and record.due <= now]:
            await self._save(key)

    async def save_all(self) -> None:
        """Saves everything that is in memory. Raises ``OSError`` when a file cannot be written, after all others were."""
        trouble: Exception | None = None
        for key in self._states.keys():  # noqa: SIM118  # not a dict
            try:
                await self._save(key, last=True)
            except Exception as error:  # noqa: BLE001 - raised below: the other services' state must not be lost with this one's
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _next_due(self) -> float:
        dues = [record.due for record in self._records.values() if record.due is not None]
        return min([self._next_sweep, *dues])

    async def _save(self, key: str, *, unless: asyncio.Future[None] | None = None, last: bool = False) -> None:
        record = self._records.setdefault(key, _Record())
        async with record.lock:
            if unless is not None and unless.done():  # the write before this one began after the change
                return
            record.due = None
            began = self._monotonic()
            waiting, record.waiting = record.waiting, []
            try:
                snapshot = self._states.snapshot(key)
                if snapshot is None:
                    _release(waiting)
                    return
                record.digest, record.size = await asyncio.to_thread(self._write, key, snapshot, record.digest)
            except Exception as error:  # a full disk, or a state that cannot be encoded: the others' saves must go on
                record.waiting += (future for future in waiting if future is not unless)
                if last:
                    self.touch(key)
                    raise
                # A traceback only where it is a bug: a full disk is the user's to mend.
                cause = None if isinstance(error, OSError) else error
                _log.warning(
                    "%s.json cannot be saved and will be tried again: %r", self._folder / key, error, exc_info=cause
                )
                record.not_before = self._monotonic() + RETRY_SECONDS
                self.touch(key)
                return
            ended = self._monotonic()
            record.not_before = ended + COST_FACTOR * (ended - began)
            _release(waiting)

    def _write(self, key: str, snapshot: Any, digest: bytes) -> tuple[bytes, int]:
        content = self._states.encode(key, snapshot)
        new = hashlib.blake2b(content, digest_size=16).digest()
        if new != digest:
            write_file(self._folder / f"{key}.json", content)
        return new, len(content)


def _release(waiting: Iterable[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)


def write_file(path: Path, content: bytes) -> None:
    """Replaces a file whole or not at all, readable by its owner only. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
