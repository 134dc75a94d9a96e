"""What Elastic Load Balancing knows, in memory and in SQLite: what a call has accepted survives ``kill -9``."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skylift.core.errors import DiskFull, Unavailable

Document = dict[str, Any]


@dataclass
class LoadBalancer:
    """One load balancer: as it is shown (times in seconds since the epoch), its own loopback address, attributes,
    tags."""

    shown: Document
    address: str
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.shown["LoadBalancerArn"])


@dataclass
class TargetGroup:
    """One target group; ``targets`` are addresses with ports, in the order of their registration."""

    shown: Document
    targets: list[tuple[str, int]] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.shown["TargetGroupArn"])


@dataclass
class Listener:
    """One listener."""

    shown: Document
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.shown["ListenerArn"])

    @property
    def groups(self) -> list[str]:
        """ARNs of the target groups that it forwards to."""
        return [group for action in self.shown["DefaultActions"] for group in forwarded_to(action)]


Thing = LoadBalancer | TargetGroup | Listener

_SAVE = "INSERT INTO elb VALUES (?, ?, ?) ON CONFLICT (arn) DO UPDATE SET body = excluded.body"


def forwarded_to(action: Document) -> Iterator[str]:
    """Target groups of a ``forward`` action, in either of the two ways to write one; weight 0 gets nothing."""
    config = action.get("ForwardConfig", {}).get("TargetGroups")
    if config:
        yield from (group["TargetGroupArn"] for group in config if group.get("Weight", 1))
    elif "TargetGroupArn" in action:
        yield action["TargetGroupArn"]


class ElbStore:
    """An in-memory store, backed by disk: change what you find here, then ``save`` it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.balancers: dict[str, LoadBalancer] = {}
        self.groups: dict[str, TargetGroup] = {}
        self.listeners: dict[str, Listener] = {}
        self._path = path
        self._disk = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._disk.execute("PRAGMA journal_mode=WAL")
        self._disk.execute("PRAGMA synchronous=NORMAL")
        self._disk.execute("CREATE TABLE IF NOT EXISTS elb (arn TEXT PRIMARY KEY, kind TEXT, body TEXT NOT NULL)")
        for kind, body in self._disk.execute("SELECT kind, body FROM elb ORDER BY rowid").fetchall():
            self._keep(_read(kind, json.loads(body)))

    def save(self, thing: Thing) -> None:
        """Writes one thing; a new one becomes known.

        Raises:
            Unavailable: the disk cannot take it (it is full); a known thing returns to its last written state.
        """
        kind = type(thing).__name__
        try:
            self._write(_SAVE, [(thing.arn, kind, json.dumps(asdict(thing)))])
        except Unavailable:
            self._take_back(thing)
            raise
        self._keep(thing)

    def remove(self, *arns: str) -> None:
        """Forgets things, all in one transaction. Raises ``Unavailable``: none is forgotten."""
        self._write("DELETE FROM elb WHERE arn = ?", [(arn,) for arn in arns])
        for known in (self.balancers, self.groups, self.listeners):
            for arn in arns:
                known.pop(arn, None)

    def thing(self, arn: str) -> Thing | None:
        """Anything by its ARN."""
        known: tuple[Thing | None, ...] = (self.balancers.get(arn), self.groups.get(arn), self.listeners.get(arn))
        return next((one for one in known if one is not None), None)

    def listeners_of(self, balancer: str) -> list[Listener]:
        """Listeners of a load balancer (ARN)."""
        return [one for one in self.listeners.values() if one.shown["LoadBalancerArn"] == balancer]

    def balancers_of(self, group: str) -> list[str]:
        """ARNs of the load balancers that forward to a target group (ARN)."""
        return sorted({one.shown["LoadBalancerArn"] for one in self.listeners.values() if group in one.groups})

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        self._disk.close()

    def _write(self, statement: str, rows: list[tuple[str, ...]]) -> None:
        try:
            self._disk.execute("BEGIN IMMEDIATE")
            self._disk.executemany(statement, rows)
            self._disk.execute("COMMIT")
        except sqlite3.OperationalError as error:
            with contextlib.suppress(sqlite3.OperationalError):  # SQLite may have rolled back by itself
                self._disk.execute("ROLLBACK")
            text = f"Elastic Load Balancing cannot write to {self._path}: {error}. Free some space; then it goes on."
            raise DiskFull(text) from error

    def _take_back(self, thing: Thing) -> None:
        row = self._disk.execute("SELECT kind, body FROM elb WHERE arn = ?", (thing.arn,)).fetchone()
        if row is not None:
            vars(thing).update(vars(_read(row[0], json.loads(row[1]))))

    def _keep(self, thing: Thing) -> None:
        if isinstance(thing, LoadBalancer):
            self.balancers[thing.arn] = thing
        elif isinstance(thing, TargetGroup):
            self.groups[thing.arn] = thing
        else:
            self.listeners[thing.arn] = thing


def _read(kind: str, body: Document) -> Thing:
    if kind == "LoadBalancer":
        return LoadBalancer(**body)
    if kind == "TargetGroup":
        body["targets"] = [(address, port) for address, port in body["targets"]]
        return TargetGroup(**body)
    return Listener(**body)
