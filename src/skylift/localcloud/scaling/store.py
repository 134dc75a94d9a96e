"""What Application Auto Scaling knows, in memory and in SQLite: what a call has accepted survives ``kill -9``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from skylift.core.errors import Unavailable
from skylift.localcloud.database import write_rows
from skylift.localcloud.ports import Document

KEPT_ACTIVITIES_SECONDS = 6 * 7 * 86400.0
"""DescribeScalingActivities shows "the previous six weeks" (API reference)."""


class RecordKind(StrEnum):
    """What is kept."""

    TARGET = "target"
    POLICY = "policy"
    ACTION = "action"
    ACTIVITY = "activity"


@dataclass
class ScalingRecord:
    """One thing.

    Attributes:
        kind: which.
        id: its ARN; an activity's id.
        shown: as the API shows it; times in seconds since the epoch.
        state: what is remembered beside it. Of a target: ``out_at``, ``out_from``, ``in_at``, and its tags in ``tags``.
            Of a scheduled action: ``put``, when it was last put, and when it last was due.
    """

    kind: RecordKind
    id: str
    shown: Document
    state: Document = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """The ``ResourceId``: ``service/CLUSTER/NAME``."""
        return str(self.shown["ResourceId"])


class ScalingStore:
    """An in-memory store, backed by disk: change what you find here, then ``save`` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, ScalingRecord] = {}
        self._disk = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._disk.execute("PRAGMA journal_mode=WAL")
        self._disk.execute("PRAGMA synchronous=NORMAL")
        self._disk.execute("CREATE TABLE IF NOT EXISTS scaling (id TEXT PRIMARY KEY, kind TEXT, body TEXT NOT NULL)")
        for row in self._disk.execute("SELECT id, kind, body FROM scaling ORDER BY rowid").fetchall():
            self._records[row[0]] = _read(*row)

    def all(self, kind: RecordKind, resource: str = "") -> list[ScalingRecord]:
        """All of a kind, oldest first; with ``resource`` only those of that one."""
        return [one for one in self._records.values() if one.kind is kind and resource in {"", one.resource}]

    def named(self, kind: RecordKind, resource: str, member: str = "", name: str = "") -> ScalingRecord | None:
        """The one of a resource whose member is that name; a target has none."""
        found = self.all(kind, resource)
        return next((one for one in found if not member or one.shown[member] == name), None)

    def save(self, *records: ScalingRecord) -> None:
        """Writes records, all in one transaction; new ones become known.

        Raises:
            Unavailable: the disk cannot take it (it is full); known records return to their last written state.
        """
        statement = "INSERT INTO scaling VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body"
        rows = [(one.id, one.kind, json.dumps({"shown": one.shown, "state": one.state})) for one in records]
        try:
            self._write(statement, rows)
        except Unavailable:
            for one in records:
                self._take_back(one)
            raise
        self._records |= {one.id: one for one in records}

    def remove(self, records: Sequence[ScalingRecord]) -> None:
        """Forgets records, all in one transaction. Raises ``Unavailable``: none is forgotten."""
        self._write("DELETE FROM scaling WHERE id = ?", [(one.id,) for one in records])
        for one in records:
            self._records.pop(one.id, None)

    def forget_activities(self, before: float) -> None:
        """Removes activities that began before. Raises ``Unavailable``."""
        old = [one for one in self.all(RecordKind.ACTIVITY) if one.shown["StartTime"] < before]
        if old:
            self.remove(old)

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        self._disk.close()

    def _write(self, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
        write_rows(self._disk, self._path, "Application Auto Scaling", statement, rows)

    def _take_back(self, record: ScalingRecord) -> None:
        row = self._disk.execute("SELECT id, kind, body FROM scaling WHERE id = ?", (record.id,)).fetchone()
        if row is not None:
            vars(record).update(vars(_read(*row)))


def _read(identity: str, kind: str, body: str) -> ScalingRecord:
    read = json.loads(body)
    return ScalingRecord(RecordKind(kind), identity, read["shown"], read["state"])
