"""The SQLite file of CloudWatch Logs: groups, streams, batches of events, and documents (filters, queries, ...).

One row is one batch, so writing and searching cost by the batch, not by the event; nothing but SQLite's small cache is
in memory. A commit is in the operating system's hands when it returns: a killed process loses nothing. There is one
writer, which belongs to the event loop; readers have connections of their own, and neither waits for the other (WAL).
A deleted group or stream is out of sight at once; its batches are removed by ``LogRetention``.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.logs.batches import PackedEvents

VERSION = 1
_TABLES = """
CREATE TABLE log_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, created INTEGER, retention INTEGER, stored INTEGER,
    widest INTEGER, body TEXT
);
CREATE TABLE stream (
    id INTEGER PRIMARY KEY AUTOINCREMENT, log_group INTEGER, name TEXT, created INTEGER, first INTEGER, last INTEGER,
    ingested INTEGER, UNIQUE (log_group, name)
);
CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT, log_group INTEGER, stream INTEGER, first INTEGER, last INTEGER,
    ingested INTEGER, size INTEGER, times BLOB, ends BLOB, text BLOB
);
CREATE INDEX batch_of_group ON batch (log_group, first, id, last, stream);
CREATE INDEX batch_of_stream ON batch (stream, first, id, last);
CREATE INDEX batch_backwards ON batch (stream, last, id, first);
CREATE TABLE document (
    kind TEXT, scope TEXT, name TEXT, body TEXT, PRIMARY KEY (kind, scope, name)
) WITHOUT ROWID;
CREATE TABLE note (name TEXT PRIMARY KEY, body TEXT);
"""
_SETTINGS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -1024;"
_GROUP = "SELECT id, name, created, retention, stored, widest, body FROM log_group"
_STREAM = "SELECT id, name, created, first, last, ingested FROM stream"
_DAY_MS = 86_400_000
_CHECKPOINT_PAGES = 4_000
"""The writer merges its log into the file only after so many pages: usually ``checkpoint`` did it in its own thread."""


@dataclass(frozen=True)
class LogGroup:
    """One log group.

    Attributes:
        created: milliseconds since the epoch, as all times here.
        retention: days; 0: for ever.
        stored: bytes, as AWS counts them.
        widest: the longest time between the first and the last event of one batch.
        more: tags, class, key, protection: as in requests.
    """

    id: int
    name: str
    created: int
    retention: int
    stored: int
    widest: int
    more: Mapping[str, Any]

    def oldest(self, now: int) -> int:
        """Events before this time have passed their retention."""
        return now - self.retention * _DAY_MS if self.retention else 0


@dataclass(frozen=True)
class LogStream:
    """One log stream; ``first``, ``last`` and ``ingested`` are ``None`` while it is empty."""

    id: int
    name: str
    created: int
    first: int | None
    last: int | None
    ingested: int | None


class LogStore:
    """The file. Writing methods belong to one thread, and raise ``sqlite3.OperationalError`` when the disk is full.

    Attributes:
        may_have_orphans: whether there may be batches of deleted streams.

    Args:
        path: of the file.
        clock: seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Opens nothing."""
        self.may_have_orphans = True
        self._path = path
        self._clock = clock
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._inside = False
        self._opened = False

    def open(self) -> None:
        """Opens or creates the file. Raises ``sqlite3.DatabaseError`` if it is not such a file."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writer = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._opened = True
        self._path.chmod(0o600)
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.DatabaseError(f"a newer skylift wrote it (version {version})")
        if version == 0:
            self._writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._writer.executescript(_SETTINGS)
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if version == 0:
            self._writer.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        """Closes everything."""
        with self._lock:
            for one in self._idle:
                one.close()
            self._idle.clear()
        if self._opened:
            self._writer.close()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * 1000)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment, for any thread."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA cache_size = -512")
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")
            with self._lock:
                self._idle.append(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing."""
        if self._inside:
            yield self._writer
            return
        self._writer.execute("BEGIN IMMEDIATE")
        self._inside = True
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        finally:
            self._inside = False

    def checkpoint(self) -> None:
        """Merges the log of changes into the file, and syncs it. In any thread; writers need not wait."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")

    # Groups.

    def group(self, name: str) -> LogGroup | None:
        """A group by its name."""
        row = self._writer.execute(f"{_GROUP} WHERE name = ?", (name,)).fetchone()
        return _group(row) if row else None

    def groups(self, prefix: str = "", after: str = "", limit: int = -1) -> list[LogGroup]:
        """Groups whose names begin so and come after a name, in the order of names."""
        rows = self._writer.execute(
            f"{_GROUP} WHERE name > ? AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
            (after, len(prefix), prefix, limit),
        )
        return [_group(row) for row in rows]

    def add_group(self, name: str, more: Mapping[str, Any], created: int = 0) -> LogGroup:
        """A new group."""
        with self.writing() as disk:
            disk.execute(
                "INSERT INTO log_group (name, created, retention, stored, widest, body) VALUES (?, ?, 0, 0, 0, ?)",
                (name, created or self.now(), json.dumps(more)),
            )
        found = self.group(name)
        assert found is not None
        return found

    def change_group(self, group: LogGroup, *, retention: int | None = None, more: Any = None) -> None:
        """Sets its retention or the rest."""
        with self.writing() as disk:
            disk.execute(
                "UPDATE log_group SET retention = ?, body = ? WHERE id = ?",
                (
                    group.retention if retention is None else retention,
                    json.dumps(group.more if more is None else more),
                    group.id,
                ),
            )

    def remove_group(self, group: LogGroup) -> None:
        """Removes it with its streams and filters."""
        with self.writing() as disk:
            disk.execute("DELETE FROM log_group WHERE id = ?", (group.id,))
            disk.execute("DELETE FROM stream WHERE log_group = ?", (group.id,))
            disk.execute("DELETE FROM document WHERE scope = ?", (group.name,))
        self.may_have_orphans = True

    # Streams.

    def stream(self, group: LogGroup, name: str) -> LogStream | None:
        """A stream by its name."""
        row = self._writer.execute(f"{_STREAM} WHERE log_group = ? AND name = ?", (group.id, name)).fetchone()
        return LogStream(*row) if row else None

    def streams(
        self,
        group: LogGroup,
        *,
        prefix: str = "",
        by_time: bool = False,
        descending: bool = False,
        skip: int = 0,
        limit: int = -1,
    ) -> list[LogStream]:
        """Its streams, by name or by the time of the last event."""
        way = "DESC" if descending else "ASC"
        order = f"coalesce(last, created) {way}, name {way}" if by_time else f"name {way}"
        rows = self._writer.execute(
            f"{_STREAM} WHERE log_group = ? AND substr(name, 1, ?) = ? ORDER BY {order} LIMIT ? OFFSET ?",
            (group.id, len(prefix), prefix, limit, skip),
        )
        return [LogStream(*row) for row in rows]

    def add_stream(self, group: LogGroup, name: str, created: int = 0) -> LogStream:
        """A new stream."""
        with self.writing() as disk:
            disk.execute(
                "INSERT INTO stream (log_group, name, created) VALUES (?, ?, ?)",
                (group.id, name, created or self.now()),
            )
        found = self.stream(group, name)
        assert found is not None
        return found

    def remove_stream(self, group: LogGroup, stream: LogStream) -> None:
        """Removes it."""
        with self.writing() as disk:
            size = disk.execute("SELECT total(size) FROM batch WHERE stream = ?", (stream.id,)).fetchone()[0]
            disk.execute("DELETE FROM stream WHERE id = ?", (stream.id,))
            disk.execute("UPDATE log_group SET stored = max(0, stored - ?) WHERE id = ?", (int(size), group.id))
        self.may_have_orphans = True

    # Events.

    def append(self, group: LogGroup, stream: LogStream, times: Sequence[int], packed: PackedEvents) -> int:
        """Adds a batch, in the order of its times; returns its number."""
        now, first, last = self.now(), times[0], times[-1]
        with self.writing() as disk:
            number = disk.execute(
                "INSERT INTO batch (log_group, stream, first, last, ingested, size, times, ends, text)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (group.id, stream.id, first, last, now, packed.size, packed.times, packed.ends, packed.text),
            ).lastrowid
            disk.execute(
                "UPDATE stream SET first = min(coalesce(first, :first), :first),"
                " last = max(coalesce(last, :last), :last), ingested = :now WHERE id = :id",
                {"first": first, "last": last, "now": now, "id": stream.id},
            )
            disk.execute(
                "UPDATE log_group SET stored = stored + ?, widest = max(widest, ?) WHERE id = ?",
                (packed.size, last - first, group.id),
            )
        return int(number or 0)

    # Documents.

    def documents(self, kind: str, scope: str | None = None) -> list[dict[str, Any]]:
        """All of a kind, or those of one scope (a group's name), in the order of their names."""
        where, values = ("", (kind,)) if scope is None else (" AND scope = ?", (kind, scope))
        rows = self._writer.execute(
            f"SELECT body FROM document WHERE kind = ?{where} ORDER BY scope, name",  # noqa: S608  no value of a caller
            values,
        )
        return [json.loads(body) for (body,) in rows]

    def document(self, kind: str, name: str, scope: str = "") -> dict[str, Any] | None:
        """One by its name."""
        row = self._writer.execute(
            "SELECT body FROM document WHERE kind = ? AND scope = ? AND name = ?", (kind, scope, name)
        ).fetchone()
        found: dict[str, Any] | None = json.loads(row[0]) if row else None
        return found

    def put_document(self, kind: str, name: str, body: Mapping[str, Any], scope: str = "") -> None:
        """Adds or replaces one."""
        with self.writing() as disk:
            disk.execute("REPLACE INTO document VALUES (?, ?, ?, ?)", (kind, scope, name, json.dumps(body)))

    def remove_document(self, kind: str, name: str, scope: str = "") -> bool:
        """Removes one; returns whether it was there."""
        with self.writing() as disk:
            done = disk.execute("DELETE FROM document WHERE kind = ? AND scope = ? AND name = ?", (kind, scope, name))
        return done.rowcount > 0

    def noted(self, name: str) -> bool:
        """Whether something was noted for ever."""
        return self._writer.execute("SELECT 1 FROM note WHERE name = ?", (name,)).fetchone() is not None

    def note(self, name: str) -> None:
        """Notes something for ever."""
        with self.writing() as disk:
            disk.execute("REPLACE INTO note VALUES (?, 'true')", (name,))


def _group(row: Sequence[Any]) -> LogGroup:
    number, name, created, retention, stored, widest, body = row
    return LogGroup(number, name, created, retention, stored, widest, json.loads(body))
