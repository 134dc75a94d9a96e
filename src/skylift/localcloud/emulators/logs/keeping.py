"""Bounds the size of CloudWatch Logs: removes events after their group's retention, and compacts the journal.

Compacting means: the whole state is written, and the journals before it are removed. It is done only when the journal
is long, and at least as long as the whole: then it costs no more than writing the journal did.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from skylift.localcloud.emulators.logs.journal import LogJournal
from skylift.localcloud.emulators.whole_file import journal_number

FOLD_BYTES = 64_000_000
"""A shorter journal is never compacted while the server runs."""

SWEEP_SECONDS = 600.0
"""Seconds between two searches for events past their retention. AWS takes up to 72 hours."""

DAY_MILLISECONDS = 86_400_000
RETRY_SECONDS = 5.0

_log = logging.getLogger("skylift.localcloud.emulators.others")


class LogKeeping:
    """Expires events and compacts the journal, in one background task.

    Args:
        groups: the log groups in memory.
        saved: returns once the whole state is written.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        whole: Path,
        journal: LogJournal,
        groups: Callable[[], Iterable[dict[str, Any]]],
        saved: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._whole = whole
        self._journal = journal
        self._groups = groups
        self._saved = saved
        self._clock = clock
        self._bell = asyncio.Event()

    def grown(self) -> None:
        """Reports that the journal has grown. On the event loop; cheap."""
        if self._journal.size > FOLD_BYTES:
            self._bell.set()

    async def run(self) -> None:
        """Expires and compacts until cancelled."""
        while True:
            try:
                for group in list(self._groups()):
                    expire(group, self._clock())
                await asyncio.wait_for(self._bell.wait(), SWEEP_SECONDS)
                self._bell.clear()
                await self.fold()
            except TimeoutError:
                continue
            # A full disk, or a bug: nothing is lost, the journals stay, and it is tried again.
            except Exception:  # noqa: BLE001
                _log.exception("logs could not be expired or their journal folded")
                await asyncio.sleep(RETRY_SECONDS)

    async def fold(self) -> None:
        """Writes the whole state and removes the journals before it, if that is worth it."""
        if self._journal.size > max(FOLD_BYTES, _size(self._whole)):
            await self._saved()
            self._journal.forget_before(journal_number(self._whole))


def expire(group: Mapping[str, Any], now: float) -> int:
    """Removes a group's events that are older than its retention; returns their number. Streams stay, as on AWS."""
    days = group.get("retentionInDays")
    if not days:
        return 0
    oldest, dropped = now * 1000 - days * DAY_MILLISECONDS, 0
    for stream in group["streams"].values():
        kept = [event for event in stream["events"] if event["timestamp"] >= oldest]
        if len(kept) < len(stream["events"]):
            dropped += len(stream["events"]) - len(kept)
            stream["events"][:] = kept
            stream["firstEventTimestamp"] = kept[0]["timestamp"] if kept else None
    return dropped


def copied(groups: Mapping[Any, dict[str, Any]], take: Callable[[], Any]) -> Any:
    """``take``'s deep copy of the state of all logs, but with copied lists of the same events (nobody changes events):
    a thousand times as fast.

    On the event loop: the lists are removed for a moment, and nobody may see that.
    """
    streams = [(key, name, one) for key, group in groups.items() for name, one in group["streams"].items()]
    events = [one["events"] for _, _, one in streams]
    for _, _, one in streams:
        one["events"] = []
    try:
        state = take()
    finally:
        for (_, _, one), held in zip(streams, events, strict=True):
            one["events"] = held
    for (key, name, _), held in zip(streams, events, strict=True):
        state["log_groups"]._data[key]["streams"][name]["events"] = list(held)
    return state


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
