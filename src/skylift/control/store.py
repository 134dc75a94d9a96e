"""The environments' rows in PostgreSQL. The statements are in ``sql/``.

It makes one connection per operation: there are few, and the next one finds a restarted server. Dates are aware, UTC.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from psycopg.types.json import Jsonb

from skylift.control.events import MOST_EVENTS, EnvironmentEvent
from skylift.control.postgres import PostgresAdmin
from skylift.core.clock import Clock
from skylift.core.environment import Generation, Spec, Status
from skylift.core.errors import Broken

LOG = logging.getLogger(__name__)


Told = tuple[str, str, float | None]
"""An event that is to be kept: status afterwards, text, seconds that it took."""


@dataclass(frozen=True)
class LastUpdate:
    """MWAA's ``LastUpdate``: the result of the last request.

    Attributes:
        status: SUCCESS, PENDING or FAILED.
        at: seconds since the epoch.
        source: the operation, e.g. ``CreateEnvironment``.
    """

    status: str
    at: float
    source: str
    code: str = ""
    message: str = ""
    replacement: str = ""  # WorkerReplacementStrategy of the update, as it was given


@dataclass(frozen=True)
class ServedState:
    """The environment before the update in progress; a rollback restores it.

    Attributes:
        facts: those known when the update was requested.
    """

    spec: Spec
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One environment as it is stored.

    Attributes:
        served: set while an update, or its rollback, is under way.
    """

    name: str
    spec: Spec
    generation: Generation
    status: Status
    created_at: datetime
    requested_at: datetime
    last_update: LastUpdate
    facts: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    served: ServedState | None = None

    @property
    def incarnation(self) -> str:
        """Distinguishes it from an earlier environment with the same name."""
        return self.created_at.isoformat()


class EnvironmentStore:
    """Rows of environments. Every method raises ``Unavailable`` while PostgreSQL does not answer."""

    def __init__(self, postgres: PostgresAdmin, database: str, clock: Clock) -> None:
        self._postgres = postgres
        self._database = database
        self._clock = clock
        self._unreadable: set[str] = set()

    def prepare(self) -> None:
        """Creates database and table if they are missing."""
        self._postgres.make_database(self._database)
        with self._postgres.connect(self._database) as connection:
            connection.execute(_statement("schema"))

    def create(self, spec: Spec, tags: Mapping[str, str]) -> bool:
        """A new row in CREATING, generation 1. False when the name is taken."""
        last = LastUpdate("PENDING", self._clock(), "CreateEnvironment")
        values = {"spec": Jsonb(spec.as_json()), "status": Status.CREATING, "tags": Jsonb(dict(tags))}
        event = (str(Status.CREATING), "CreateEnvironment was asked for", None)
        return self._changed(
            "insert", (event,), name=spec.name, at=self._now(), last_update=Jsonb(asdict(last)), **values
        )

    def get(self, name: str) -> Row | None:
        """One row, or None."""
        found = self._rows("select", name=name)
        return _row(found[0]) if found else None

    def all(self) -> list[Row]:
        """Every readable row, by name. An unreadable one (another release wrote it) does not affect the others."""
        return list(self._readable(self._rows("select", name=None)))

    def names(self, after: str, most: int) -> list[str]:
        """At most ``most`` names, alphabetically, that come after a name."""
        return [str(one[0]) for one in self._rows("names", after=after, most=most)]

    def request_delete(self, row: Row) -> bool:
        """DELETING, generation plus one. False when somebody else's change came first."""
        last = Jsonb(asdict(LastUpdate("PENDING", self._clock(), "DeleteEnvironment")))
        event = (str(Status.DELETING), "DeleteEnvironment was asked for", None)
        return self._changed(
            "request_delete", (event,), name=row.name, generation=row.generation, at=self._now(), last_update=last
        )

    def request_update(
        self, row: Row, source: str, told: str, replacement: str = "", status: Status = Status.UPDATING
    ) -> bool:
        """UPDATING (or MAINTENANCE), generation plus one. False when somebody else's request came first.

        Args:
            row: as it is wanted: the new Spec, the facts that still hold, and in ``served`` what serves until now.
            source: what made the request, e.g. ``UpdateEnvironment``.
            told: the event, for people.
        """
        last = LastUpdate("PENDING", self._clock(), source, replacement=replacement)
        return self._changed(
            "request_update",
            ((str(status), told, None),),
            status=status,
            name=row.name,
            generation=row.generation,
            spec=Jsonb(row.spec.as_json()),
            facts=Jsonb(dict(row.facts)),
            at=self._now(),
            last_update=Jsonb(asdict(last)),
            served=_served_json(row.served),
        )

    def request_rollback(self, row: Row, last_update: LastUpdate, event: Told) -> bool:
        """The Spec and the facts from before the update, ROLLING_BACK, with the reason: one write. False when somebody
        else's request came first."""
        if row.served is None:
            raise Broken(f"environment {row.name} has nothing to go back to")
        return self._changed(
            "request_rollback",
            (event,),
            name=row.name,
            generation=row.generation,
            spec=Jsonb(row.served.spec.as_json()),
            facts=Jsonb(dict(row.served.facts)),
            at=self._now(),
            last_update=Jsonb(asdict(last_update)),
        )

    def record(self, row: Row, *events: Told) -> bool:
        """Writes status, last update, facts, progress and what served, if the generation still matches."""
        return self._changed(
            "record",
            events,
            name=row.name,
            generation=row.generation,
            status=row.status,
            last_update=Jsonb(asdict(row.last_update)),
            facts=Jsonb(dict(row.facts)),
            progress=Jsonb(dict(row.progress)),
            served=_served_json(row.served),
        )

    def forget(self, row: Row, event: Told) -> None:
        """Deletes the row, if the generation still matches. Its events stay."""
        self._changed("forget", (event,), name=row.name, generation=row.generation)

    def events(self, environment: str, after: int = 0) -> list[EnvironmentEvent]:
        """What happened to environments of a name, oldest first.

        Args:
            after: id of the last event that is known already.
        """
        rows = self._rows("event_select", environment=environment, after=after)
        return [EnvironmentEvent(int(ident), at.astimezone(UTC), *rest) for ident, at, *rest in rows]

    def tag(self, name: str, add: Mapping[str, str], remove: Sequence[str]) -> bool:
        """Changes tags; False when there is no such environment."""
        return self._changed("tag", (), name=name, add=Jsonb(dict(add)), remove=list(remove))

    def _readable(self, found: Sequence[tuple[Any, ...]]) -> Iterator[Row]:
        for columns in found:
            try:
                row = _row(columns)
            except Exception:  # logged, so that we can repair it; others are still read
                if columns[0] not in self._unreadable:
                    LOG.exception("environment %s: its row cannot be read, so it is left alone", columns[0])
                    self._unreadable.add(columns[0])
            else:
                self._unreadable.discard(row.name)
                yield row

    def _changed(self, statement: str, events: Sequence[Told], **values: Any) -> bool:
        """Runs a statement that answers what it changed; events are kept in the same transaction if it did."""
        with self._postgres.connect(self._database) as connection:
            changed = bool(connection.execute(_statement(statement), values).fetchall())
            for status, text, seconds in events if changed else ():
                told = {"environment": values["name"], "at": self._now(), "status": status, "text": text}
                connection.execute(_statement("event_insert"), {**told, "seconds": seconds})
                connection.execute(_statement("event_prune"), {"environment": values["name"], "most": MOST_EVENTS})
        return changed

    def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with self._postgres.connect(self._database) as connection:
            return connection.execute(_statement(statement), values).fetchall()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


@cache
def _statement(name: str) -> bytes:
    # psycopg takes bytes as a query that it need not prove to be a literal; these are files of ours.
    return files("skylift.control").joinpath("sql", f"{name}.sql").read_bytes()


def _row(columns: tuple[Any, ...]) -> Row:
    name, spec, generation, status, created_at, requested_at, last_update, facts, tags, progress, served = columns
    return Row(
        name=name,
        spec=Spec.from_json(spec),
        generation=Generation(generation),
        status=Status(status),
        created_at=created_at.astimezone(UTC),
        requested_at=requested_at.astimezone(UTC),
        last_update=LastUpdate(**last_update),
        facts=facts,
        tags=tags,
        progress=progress,
        served=ServedState(Spec.from_json(served["spec"]), served["facts"]) if served else None,
    )


def _served_json(served: ServedState | None) -> Jsonb | None:
    return Jsonb({"spec": served.spec.as_json(), "facts": dict(served.facts)}) if served else None
