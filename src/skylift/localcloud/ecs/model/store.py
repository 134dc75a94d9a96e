"""Everything that ECS knows, in memory and on disk, in one transactional store (SQLite, WAL).

Reads never touch the disk. A write is one short transaction: what a call has accepted is there after ``kill -9``.
The store never contains secret values: definitions only refer to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skylift.core.errors import DiskFull, Unavailable
from skylift.localcloud.ecs.model.lazy import LazyMapping
from skylift.localcloud.ecs.model.lifecycle import TaskState
from skylift.localcloud.events import INSERT, OUTBOX, Events
from skylift.localcloud.ports import Document

Row = tuple[str, str, str]
"""Kind, id, JSON."""
STOPPED_SECONDS = 3600.0
"""How long a stopped ECS task stays visible: "at least one hour" (ECS API reference, DescribeTasks)."""

SOON_SECONDS = 0.02
"""How long a change may wait to be written together with others."""

OWED_SECONDS = 5.0
"""Seconds between two attempts to write what could not be written (a full disk)."""

_HISTORY = """
SELECT id, body, json_extract(body, '$.document.lastStatus'), json_extract(body, '$.document.clusterArn'),
       json_extract(body, '$.document.stoppedAt'), json_extract(body, '$.client_token')
FROM ecs WHERE kind = 'task' ORDER BY json_extract(body, '$.document.createdAt')
"""

_log = logging.getLogger(__name__)


@dataclass
class EcsTask:
    """One ECS task.

    Attributes:
        document: as DescribeTasks shows it, with its tags.
        address: its own loopback address, empty if it has none.
        credential: the token that its containers send to the credentials endpoint.
        folders: container name -> name of its folder below ``containers/``.
        offsets: container name -> bytes of its log that CloudWatch Logs has.
        client_token: idempotency token of the RunTask that made it.
        digest: of that RunTask's parameters.
        deployment: id of its service deployment, or empty.
        registered: whether the service's load balancers and registries know it.
        registries: ARNs of the Cloud Map services that it is an instance of.
        judged: whether its service has reacted to its end.
        groups: ids of the security groups of its network interface.
        public: whether that has a public address.
        protected_until: seconds since the epoch; before that neither scaling in nor a deployment ends it.
    """

    document: Document
    address: str = ""
    credential: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    client_token: str = ""
    digest: str = ""
    deployment: str = ""
    registered: bool = False
    registries: list[str] = field(default_factory=list)
    judged: bool = False
    groups: list[str] = field(default_factory=list)
    public: bool = False
    protected_until: float = 0.0

    @property
    def id(self) -> str:
        """The last part of its ARN."""
        return str(self.document["taskArn"]).rsplit("/", 1)[-1]

    @property
    def state(self) -> TaskState:
        """``lastStatus``."""
        return TaskState(self.document["lastStatus"])

    @property
    def stopped(self) -> bool:
        """Whether it has ended."""
        return self.state is TaskState.STOPPED

    @property
    def wanted(self) -> bool:
        """Whether nobody has asked it to stop, and nothing has stopped it."""
        return bool(self.document["desiredStatus"] == TaskState.RUNNING)

    def container(self, name: str) -> Document:
        """The document of one of its containers."""
        return next(found for found in self.document["containers"] if found["name"] == name)


@dataclass
class EcsService:
    """One service: its document (with its tags) and what the scheduler remembers.

    Attributes:
        failures: ECS tasks of the primary deployment that died young, in a row.
        not_before: seconds since the epoch; no ECS task is started earlier.
        digest: of the CreateService request that made it.
        completed: its last completed deployment, for a rollback.
    """

    document: Document
    failures: int = 0
    not_before: float = 0.0
    digest: str = ""
    completed: Document | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Cluster ARN and service name."""
        return self.document["clusterArn"], self.document["serviceName"]


class EcsStore:
    """An in-memory store, backed by disk. Change what you find here, then ``save`` it.

    ECS tasks are in the order in which they were made; ``alive`` are those that are not STOPPED, ``addresses`` theirs;
    ``by_token`` finds them by cluster ARN and client token.
    """

    def __init__(self, path: Path, events: Events) -> None:
        """Reads the stored state. ``events`` are rung after each transaction with events."""
        self.clusters: dict[str, Document] = {}
        self.definitions: dict[str, Document] = {}
        self.tasks: LazyMapping[EcsTask] = LazyMapping(lambda text: EcsTask(**json.loads(text)))
        self.alive: dict[str, EcsTask] = {}
        self.addresses: set[str] = set()
        self.by_token: dict[tuple[str, str], list[str]] = {}
        self.services: dict[tuple[str, str], EcsService] = {}
        self.providers: dict[str, Document] = {}
        self.settings: dict[str, Document] = {}
        self._things = {
            "cluster": self.clusters,
            "definition": self.definitions,
            "provider": self.providers,
            "setting": self.settings,
        }
        self._owed: dict[tuple[str, str], Row] = {}
        self._owed_events: list[str] = []
        self._late: dict[str, EcsTask] = {}
        self._ends: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._events = events
        self._path = path
        self._disk = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._disk.execute("PRAGMA journal_mode=WAL")
        self._disk.execute("PRAGMA synchronous=NORMAL")
        self._disk.execute(
            "CREATE TABLE IF NOT EXISTS ecs (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT "
            "ROWID"
        )
        self._disk.execute(OUTBOX)
        self._load()

    def save(self, *things: EcsTask | EcsService, events: Sequence[str] = ()) -> None:
        """Writes ECS tasks and services and their events, all or none; new ones become known when they
        are written.

        Raises:
            Unavailable: the disk cannot take them (it is full). Services then return to their last written state; the
                caller must restore ECS tasks, which may have changed since.
        """
        try:
            self._write([_row(thing) for thing in things], events)
        except Unavailable:
            for thing in things:
                if isinstance(thing, EcsService) and self.services.get(thing.key) is thing:
                    self._take_back(thing)
            raise
        self._know(*things)

    def keep(self, *things: EcsTask | EcsService, events: Sequence[str] = ()) -> None:
        """Like ``save``, for what has happened whether the disk accepts it or not: if not, it is written with the next
        write."""
        rows = [_row(thing) for thing in things]
        try:
            self._write(rows, events)
        except Unavailable as error:
            _log.warning("%s", error)
            self._owed |= {row[:2]: row for row in rows}
            self._owed_events += events
            self._flush_in(OWED_SECONDS)
        self._know(*things)

    def soon(self, task: EcsTask, events: Sequence[str] = ()) -> None:
        """Like ``keep``, with the next write or a moment later: for what a restart would find out again by itself."""
        self._late[task.id] = task
        self._owed_events += events
        self._know(task)
        self._flush_in(SOON_SECONDS)

    def is_written(self, task: EcsTask) -> bool:
        """Whether the disk has what is known of an ECS task."""
        return task.id not in self._late and ("task", task.id) not in self._owed

    def save_cluster(self, document: Document) -> None:
        """Writes a cluster. Raises ``Unavailable`` like ``save``."""
        self.save_thing("cluster", document["clusterName"], document)

    def save_definition(self, document: Document) -> None:
        """Writes a task definition; its tags are a member ``tags`` that the API shows separately. Raises
        ``Unavailable`` like ``save``."""
        self.save_thing("definition", document["taskDefinitionArn"], document)

    def save_thing(self, kind: str, name: str, document: Document) -> None:
        """Writes a ``provider`` (capacity provider) or a ``setting`` (of the account). Raises ``Unavailable`` like
        ``save``."""
        try:
            self._write([(kind, name, _text(document))])
        except Unavailable:
            if self._things[kind].get(name) is document:  # changed in place: return to what was last written
                document.clear()
                document.update(self._written(kind, name))
            raise
        self._things[kind][name] = document

    def remove_thing(self, kind: str, name: str) -> None:
        """Removes what ``save_thing`` wrote; harmless if it does not exist. Raises ``Unavailable`` like ``save``."""
        try:
            self._disk.execute("DELETE FROM ecs WHERE kind = ? AND id = ?", (kind, name))
        except sqlite3.OperationalError as error:
            raise self._refused(error) from error
        self._things[kind].pop(name, None)

    def ended_before(self, seconds: float) -> list[EcsTask]:
        """ECS tasks that stopped earlier than that (seconds since the epoch)."""
        return [self.tasks[name] for name, ended in self._ends.items() if ended < seconds]

    def newest_address(self) -> str:
        """The address of the newest ECS task that has one, or empty."""
        return next((address for name in reversed(self.tasks) if (address := self.tasks[name].address)), "")

    def forget(self, tasks: Iterable[EcsTask]) -> None:
        """Removes ECS tasks."""
        gone = []
        for task in tasks:
            gone.append(task.id)
            self.tasks.pop(task.id, None)
            self._ends.pop(task.id, None)
            self._forget_token(task)
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk: they are forgotten at the next start
            self._disk.executemany("DELETE FROM ecs WHERE kind = 'task' AND id = ?", [(name,) for name in gone])

    def _forget_token(self, task: EcsTask) -> None:
        """The token stays as long as one of its ECS tasks: a repeated call must not run them again."""
        key = (task.document["clusterArn"], task.client_token)
        left = [name for name in self.by_token.pop(key, ()) if name != task.id]
        if left:
            self.by_token[key] = left

    def close(self) -> None:
        """Writes what is left, if the disk accepts it, and closes the file. Safe to call twice."""
        self._flush()
        for owed in (self._late, self._owed, self._owed_events):
            owed.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._disk.close()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._late or self._owed or self._owed_events:
            self.keep()

    def _flush_in(self, seconds: float) -> None:
        if self._timer is None:
            with contextlib.suppress(RuntimeError):  # no event loop (a tool): it is written with the next write
                self._timer = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _take_back(self, service: EcsService) -> None:
        """Returns a service to its last written state, for everyone who holds it."""
        found = self._written("service", "\n".join(service.key))
        document = service.document
        vars(service).update(found, document=document)
        document.clear()
        document.update(found["document"])

    def _written(self, kind: str, name: str) -> Document:
        """The last written state of a thing, or the one that is still to be written."""
        owed = self._owed.get((kind, name))
        row = self._disk.execute("SELECT body FROM ecs WHERE kind = ? AND id = ?", (kind, name)).fetchone()
        found: Document = json.loads(owed[2] if owed else row[0])
        return found

    def _know(self, *things: EcsTask | EcsService) -> None:
        for thing in things:
            if isinstance(thing, EcsTask):
                self._know_task(thing)
            else:
                self.services[thing.key] = thing

    def _know_task(self, task: EcsTask) -> None:
        if task.client_token and task.id not in self.tasks:
            self.by_token.setdefault((task.document["clusterArn"], task.client_token), []).append(task.id)
        self.tasks[task.id] = task
        if task.stopped:
            self.alive.pop(task.id, None)
            self.addresses.discard(task.address)
            self._ends[task.id] = task.document["stoppedAt"]
        else:
            self.alive[task.id] = task
            self.addresses.add(task.address)

    def _write(self, rows: list[Row], events: Sequence[str] = ()) -> None:
        late = (_row(task) for task in self._late.values())
        everything = self._owed | {row[:2]: row for row in (*late, *rows)}
        texts = [*self._owed_events, *events]
        try:
            self._disk.execute("BEGIN IMMEDIATE")
            self._disk.executemany("INSERT OR REPLACE INTO ecs VALUES (?, ?, ?)", list(everything.values()))
            if texts:
                self._disk.executemany(INSERT, [(text,) for text in texts])
            self._disk.execute("COMMIT")
        except sqlite3.OperationalError as error:
            with contextlib.suppress(sqlite3.OperationalError):  # SQLite may have rolled back by itself
                self._disk.execute("ROLLBACK")
            raise self._refused(error) from error
        self._owed.clear()
        self._owed_events.clear()
        self._late.clear()
        if texts:
            self._events.ring()

    def _refused(self, error: sqlite3.OperationalError) -> DiskFull:
        return DiskFull(f"ECS cannot write to {self._path}: {error}. Free some space; then it goes on.")

    def _load(self) -> None:
        for kind, name, body in self._disk.execute("SELECT kind, id, body FROM ecs WHERE kind != 'task'"):
            value = json.loads(body)
            if kind == "service":
                service = EcsService(**value)
                self.services[service.key] = service
            elif kind in self._things:
                self._things[kind][name] = value
        for name, body, state, cluster, ended, token in self._disk.execute(_HISTORY):
            self.tasks.put_text(name, body)
            if token:
                self.by_token.setdefault((cluster, token), []).append(name)
            if state == TaskState.STOPPED:
                self._ends[name] = ended
            else:
                self._know(self.tasks[name])


def _row(thing: EcsTask | EcsService) -> Row:
    if isinstance(thing, EcsTask):
        return "task", thing.id, _text(_members(thing))
    return "service", "\n".join(thing.key), _text(_members(thing))


def _members(thing: EcsTask | EcsService) -> Document:
    """The record's members by name, not copied: they are only written."""
    return dict(vars(thing))


def _text(value: Document) -> str:
    return json.dumps(value, separators=(",", ":"))
