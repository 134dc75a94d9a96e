"""Saves the state that services hold in memory: what must be on the disk, before the answer; everything else soon
after, and again at the end.

A snapshot is taken on the event loop (so that it is consistent) and written off it, to a new file that then replaces
the old one. After ``keep`` returns, the state is on the disk. When it cannot be written, memory returns to the state on
the disk, and every caller whose change is lost gets an error. For the rest (``touch``), a killed process loses at most
the changes of the last ``DELAY_SECONDS``, or, when saving is slow, of ``COST_FACTOR`` times as long as saving takes.
There is no fsync: a killed process loses nothing that it has written, but a power failure may.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from skylift.localcloud.state_file import replace_file, write_beside

DELAY_SECONDS = 1.0
"""Delay from a change to its snapshot, so that a burst of changes is one write."""

COST_FACTOR = 20.0
"""A service's snapshots for which nobody waits take at most 1/``COST_FACTOR`` of the time."""

SWEEP_SECONDS = 30.0
"""How often all services are checked for changes that no request made (schedules, deliveries)."""

RETRY_SECONDS = 5.0
"""Delay after a failed write (a full disk)."""

_log = logging.getLogger("skylift.localcloud.emulators.others")
Waiting = list[asyncio.Future[None]]


class States(Protocol):
    """The state to save."""

    def keys(self) -> Iterable[str]:
        """What is in memory now; a key is a file's name without ``.json``."""
        ...

    def snapshot(self, key: str) -> Any:
        """A copy that nobody changes; ``None`` if there is nothing to save."""
        ...

    def encode(self, key: str, snapshot: Any) -> bytes:
        """The file's content."""
        ...

    def written(self, key: str) -> None:
        """The last snapshot is on the disk."""
        ...

    def roll_back(self, key: str) -> None:
        """Replaces the state in memory with the one on the disk."""
        ...


@dataclass
class _Record:
    """One key.

    Attributes:
        waiting: callers that wait until it is saved, however long it takes.
        promised: callers that changed it and must know now whether it could be saved.
    """

    due: float | None = None
    not_before: float = 0.0
    digest: bytes = b""
    waiting: Waiting = field(default_factory=list)
    promised: Waiting = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Saver:
    """Writes ``{folder}/{key}.json`` for every touched key; the ``unswept`` ones only when touched, and at the end."""

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
        """Marks these as changed. On the event loop; costs nothing."""
        for key in keys:
            record = self._records.setdefault(key, _Record())
            if record.due is None:
                record.due = max(self._monotonic() + DELAY_SECONDS, record.not_before)
                self._bell.set()

    async def keep(self, *keys: str) -> None:
        """Marks these as changed, and returns once all are on the disk. Callers that wait share one write.

        Raises:
            OSError: one cannot be written (a full disk). Then none is, and memory returns to the state on the disk.
        """
        futures = {key: asyncio.get_running_loop().create_future() for key in sorted(set(keys))}
        for key, future in futures.items():
            self._records.setdefault(key, _Record()).promised.append(future)
        if futures:
            # A separate task: the caller may be cancelled, and the write continues.
            await asyncio.shield(asyncio.ensure_future(self._save(list(futures), unless=futures.values())))
        for future in futures.values():
            future.result()

    async def saved(self, key: str) -> None:
        """Marks this one as changed, and returns once its current (or a later) state is saved."""
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
                # Not a dict.
                self.touch(*(key for key in self._states.keys() if key not in self._unswept))  # noqa: SIM118
            await self.save_due()
            wait = max(0.05, self._next_due() - self._monotonic())
            try:
                await asyncio.wait_for(self._bell.wait(), wait)
            except TimeoutError:
                continue

    async def save_due(self) -> None:
        """Saves what is due."""
        now = self._monotonic()
        for key in [key for key, record in self._records.items() if record.due is not None and record.due <= now]:
            await self._save([key])

    async def save_all(self) -> None:
        """Saves everything in memory. Raises ``OSError`` when a file cannot be written, after all others were
        written."""
        trouble: Exception | None = None
        for key in self._states.keys():  # noqa: SIM118  # not a dict
            trouble = await self._save([key]) or trouble
        if trouble is not None:
            raise trouble

    def _next_due(self) -> float:
        dues = [record.due for record in self._records.values() if record.due is not None]
        return min([self._next_sweep, *dues])

    async def _save(self, keys: Sequence[str], *, unless: Iterable[asyncio.Future[None]] = ()) -> Exception | None:
        """Writes all of these or none, unless all callers have been answered meanwhile. Returns the error."""
        futures = list(unless)
        async with AsyncExitStack() as held:
            for key in keys:
                await held.enter_async_context(self._records.setdefault(key, _Record()).lock)
            if futures and all(future.done() for future in futures):  # a write that began after the change
                return None
            records = {key: self._records[key] for key in keys}
            asked = {key: (record.waiting, record.promised) for key, record in records.items()}
            for record in records.values():
                record.due, record.waiting, record.promised = None, [], []
            began = self._monotonic()
            try:
                found = {key: self._states.snapshot(key) for key in keys}
                snapshots = {key: snapshot for key, snapshot in found.items() if snapshot is not None}
                digests = await asyncio.to_thread(self._write, snapshots) if snapshots else {}
            except Exception as error:  # noqa: BLE001 - told to all who wait: the other services' saves must go on
                self._failed(records, asked, error)
                return error
            for key, digest in digests.items():
                records[key].digest = digest
                self._states.written(key)
            ended = self._monotonic()
            for key, record in records.items():
                record.not_before = ended + COST_FACTOR * (ended - began)
                _release([*asked[key][0], *asked[key][1]])
        return None

    def _failed(
        self, records: Mapping[str, _Record], asked: Mapping[str, tuple[Waiting, Waiting]], error: Exception
    ) -> None:
        for key, record in records.items():
            waiting, promised = asked[key]
            promised += record.promised  # these changed it while the write failed, and are rolled back with it
            record.promised = []
            record.waiting += waiting
            if promised:
                self._states.roll_back(key)
            # A traceback only for a bug: a full disk is for the user to repair.
            cause = None if isinstance(error, OSError) else error
            what = "what was asked is undone" if promised else "it will be tried again"
            _log.warning("%s.json cannot be saved, %s: %r", self._folder / key, what, error, exc_info=cause)
            for future in promised:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # the caller may be gone; the log needs no message about that
            record.not_before = self._monotonic() + RETRY_SECONDS
            self.touch(key)

    def _write(self, snapshots: Mapping[str, Any]) -> dict[str, bytes]:
        """Takes disk space for all files before it replaces any."""
        digests: dict[str, bytes] = {}
        beside: dict[Path, Path] = {}
        try:
            for key, snapshot in snapshots.items():
                content = self._states.encode(key, snapshot)
                digests[key] = hashlib.blake2b(content, digest_size=16).digest()
                if digests[key] != self._records[key].digest:
                    path = self._folder / f"{key}.json"
                    beside[path] = write_beside(path, content)
        except BaseException:
            for new in beside.values():
                new.unlink(missing_ok=True)
            raise
        for path, new in beside.items():
            replace_file(path, new, copy=True)
        return digests


def _release(waiting: Iterable[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
