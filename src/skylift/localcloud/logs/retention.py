"""Acts on retention: removes events that have passed it, and those of deleted groups and streams, a piece at a time.

Reading hides such events at once; this gives their space back to the disk.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from skylift.localcloud.logs.store import LogStore

SWEEP_SECONDS = 60.0
AT_ONCE_BYTES = 4_000_000
"""Removed in one transaction, which runs on the event loop."""
_AT_ONCE_ROWS = 500
_FREED_PAGES = 2_000
_DAY_MS = 86_400_000
_log = logging.getLogger(__name__)


class LogRetention:
    """Removes in the background.

    Args:
        store: of the logs.
    """

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Removes until cancelled."""
        while True:
            try:
                await self.sweep()
                await asyncio.to_thread(self._store.checkpoint)
            except sqlite3.OperationalError as error:
                _log.warning("old log events cannot be removed now: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Removes everything that is due; returns how many batches it were."""
        removed = 0
        while rows := await asyncio.to_thread(self._due):
            self._remove(rows)
            removed += len(rows)
            await asyncio.sleep(0)
        return removed

    def _due(self) -> list[tuple[int, int, int, int]]:
        """Batches to remove next: id, group (0: it was deleted), stream, size."""
        now, found = self._store.now(), list[tuple[int, int, int, int]]()
        with self._store.reading() as disk:
            if self._store.may_have_orphans:
                found = disk.execute(
                    "SELECT id, 0, stream, size FROM batch INDEXED BY batch_of_stream"
                    " WHERE stream NOT IN (SELECT id FROM stream) LIMIT ?",
                    (_AT_ONCE_ROWS,),
                ).fetchall()
                self._store.may_have_orphans = bool(found)
            for group, days in disk.execute("SELECT id, retention FROM log_group WHERE retention > 0").fetchall():
                found += disk.execute(
                    "SELECT id, log_group, stream, size FROM batch INDEXED BY batch_of_group"
                    " WHERE log_group = ? AND first < ? AND last < ? LIMIT ?",
                    (group, now - days * _DAY_MS, now - days * _DAY_MS, _AT_ONCE_ROWS),
                ).fetchall()
        chosen, size = list[tuple[int, int, int, int]](), 0
        for row in found:
            if chosen and (size + row[3] > AT_ONCE_BYTES or len(chosen) >= _AT_ONCE_ROWS):
                break
            chosen.append(row)
            size += row[3]
        return chosen

    def _remove(self, rows: list[tuple[int, int, int, int]]) -> None:
        with self._store.writing() as disk:
            disk.executemany("DELETE FROM batch WHERE id = ?", [(row[0],) for row in rows])
            for group in {row[1] for row in rows}:
                size = sum(row[3] for row in rows if row[1] == group)
                disk.execute("UPDATE log_group SET stored = max(0, stored - ?) WHERE id = ?", (size, group))
            for stream in {row[2] for row in rows}:
                disk.execute(
                    "UPDATE stream SET first = (SELECT min(first) FROM batch WHERE stream = :id) WHERE id = :id",
                    {"id": stream},
                )
        with self._store.writing() as disk:
            disk.execute(f"PRAGMA incremental_vacuum({_FREED_PAGES})").fetchall()
