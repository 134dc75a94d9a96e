"""What Elastic Load Balancing knows, in memory and in SQLite: what a call has accepted survives ``kill -9``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skylift.core.errors import Unavailable
from skylift.localcloud.database import write_rows

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
    """One listener; ``certificates`` are the ARNs of those beside its default one."""

    shown: Document
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    certificates: list[str] = field(default_factory=list)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.shown["ListenerArn"])

    @property
    def groups(self) -> list[str]:
        """ARNs of the target groups that it forwards to."""
        return [group for action in self.shown["DefaultActions"] for group in weights_of(action)]

    @property
    def all_certificates(self) -> list[str]:
        """ARNs of its certificates, the default one first; none if it is not encrypted."""
        default = [one["CertificateArn"] for one in self.shown.get("Certificates", ())]
        return [*default, *(one for one in self.certificates if one not in default)] if default else []


@dataclass
class ListenerRule:
    """One rule of a listener, but for the default one, which is the listener's own actions; ``listener`` is its
    ARN."""

    shown: Document
    listener: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.shown["RuleArn"])

    @property
    def groups(self) -> list[str]:
        """ARNs of the target groups that it forwards to."""
        return [group for action in self.shown["Actions"] for group in weights_of(action)]


Thing = LoadBalancer | TargetGroup | Listener | ListenerRule

_SAVE = "INSERT INTO elb VALUES (?, ?, ?) ON CONFLICT (arn) DO UPDATE SET body = excluded.body"


def weights_of(action: Document | Mapping[str, Any]) -> dict[str, int]:
    """Target groups of a ``forward`` action with their weights, in either of the two ways to write one."""
    config = action.get("ForwardConfig", {}).get("TargetGroups")
    if config:
        return {group.get("TargetGroupArn", ""): group.get("Weight", 1) for group in config}
    return {action["TargetGroupArn"]: 1} if "TargetGroupArn" in action else {}


class ElbStore:
    """An in-memory store, backed by disk: change what you find here, then ``save`` it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.balancers: dict[str, LoadBalancer] = {}
        self.groups: dict[str, TargetGroup] = {}
        self.listeners: dict[str, Listener] = {}
        self.rules: dict[str, ListenerRule] = {}
        self._path = path
        self._disk = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._disk.execute("PRAGMA journal_mode=WAL")
        self._disk.execute("PRAGMA synchronous=NORMAL")
        self._disk.execute("CREATE TABLE IF NOT EXISTS elb (arn TEXT PRIMARY KEY, kind TEXT, body TEXT NOT NULL)")
        for kind, body in self._disk.execute("SELECT kind, body FROM elb ORDER BY rowid").fetchall():
            self._keep(_read(kind, json.loads(body)))

    def save(self, *things: Thing) -> None:
        """Writes things, all in one transaction; new ones become known.

        Raises:
            Unavailable: the disk cannot take it (it is full); known things return to their last written state.
        """
        try:
            self._write(_SAVE, [(one.arn, type(one).__name__, json.dumps(asdict(one))) for one in things])
        except Unavailable:
            for one in things:
                self._take_back(one)
            raise
        for one in things:
            self._keep(one)

    def remove(self, *arns: str) -> None:
        """Forgets things, all in one transaction. Raises ``Unavailable``: none is forgotten."""
        self._write("DELETE FROM elb WHERE arn = ?", [(arn,) for arn in arns])
        for known in (self.balancers, self.groups, self.listeners, self.rules):
            for arn in arns:
                known.pop(arn, None)

    def thing(self, arn: str) -> Thing | None:
        """Anything by its ARN."""
        known: tuple[Mapping[str, Thing], ...] = (self.balancers, self.groups, self.listeners, self.rules)
        return next((things[arn] for things in known if arn in things), None)

    def listeners_of(self, balancer: str) -> list[Listener]:
        """Listeners of a load balancer (ARN)."""
        return [one for one in self.listeners.values() if one.shown["LoadBalancerArn"] == balancer]

    def rules_of(self, listener: str) -> list[ListenerRule]:
        """Rules of a listener (ARN), by priority, without the default one."""
        found = [one for one in self.rules.values() if one.listener == listener]
        return sorted(found, key=lambda one: int(one.shown["Priority"]))

    def groups_of(self, balancer: str) -> set[str]:
        """ARNs of the target groups that a load balancer (ARN) forwards to."""
        listeners = self.listeners_of(balancer)
        things: list[Listener | ListenerRule] = [
            *listeners,
            *(rule for one in listeners for rule in self.rules_of(one.arn)),
        ]
        return {group for thing in things for group in thing.groups}

    def balancers_of(self, group: str) -> list[str]:
        """ARNs of the load balancers that forward to a target group (ARN)."""
        listeners = {one.arn for one in self.listeners.values() if group in one.groups}
        listeners |= {one.listener for one in self.rules.values() if group in one.groups}
        return sorted({self.listeners[arn].shown["LoadBalancerArn"] for arn in listeners})

    def balancers_showing(self, certificate: str) -> list[str]:
        """ARNs of the load balancers with a listener that has this certificate (ARN)."""
        found = (one for one in self.listeners.values() if certificate in one.all_certificates)
        return sorted({one.shown["LoadBalancerArn"] for one in found})

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        self._disk.close()

    def _write(self, statement: str, rows: list[tuple[str, ...]]) -> None:
        write_rows(self._disk, self._path, "Elastic Load Balancing", statement, rows)

    def _take_back(self, thing: Thing) -> None:
        row = self._disk.execute("SELECT kind, body FROM elb WHERE arn = ?", (thing.arn,)).fetchone()
        if row is not None:
            vars(thing).update(vars(_read(row[0], json.loads(row[1]))))

    def _keep(self, thing: Thing) -> None:
        if isinstance(thing, LoadBalancer):
            self.balancers[thing.arn] = thing
        elif isinstance(thing, TargetGroup):
            self.groups[thing.arn] = thing
        elif isinstance(thing, Listener):
            self.listeners[thing.arn] = thing
        else:
            self.rules[thing.arn] = thing


def _read(kind: str, body: Document) -> Thing:
    if kind == "LoadBalancer":
        return LoadBalancer(**body)
    if kind == "TargetGroup":
        body["targets"] = [(address, port) for address, port in body["targets"]]
        return TargetGroup(**body)
    return ListenerRule(**body) if kind == "ListenerRule" else Listener(**body)
