"""State changes as EventBridge events: their formats, and the outbox, which loses no event of an accepted change.

Whoever changes something writes the event's text to the table ``outbox`` in the transaction of the change, then calls
``ring``. Events go to the default bus in the order in which they were written. They are removed when the bus has stored
their effects on disk, so a crash in between delivers them again (at least once, like EventBridge). While no rule could
match, no event is made or written.

Formats: "Amazon ECS task state change events", "Amazon ECS service action events", "Amazon ECS service deployment state
change events" (ECS developer guide, ``ecs_cwe_events``), "AWS Batch event stream" (Batch user guide,
``batch_job_events``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError
from skylift.localcloud.ports import CloudContext, Document

OUTBOX = "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)"
INSERT = "INSERT INTO outbox (body) VALUES (?)"
"""For the transaction of the change, with a text from ``Events.of_...``."""

_TIMES = ("At", "expirationDate")
_NOT_SHOWN = frozenset({"tags"})
_NEXT = "SELECT number, body FROM outbox WHERE number > ? ORDER BY number LIMIT ?"
_AT_ONCE = 500
_AGAIN_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Bus(Protocol):
    """EventBridge's default bus."""

    def wanted(self) -> bool:
        """Whether any rule could match. Cheap, because it is called on every change."""
        ...

    def put(self, event: Document) -> None:
        """Delivers one event, in EventBridge's format, to the targets of all matching rules."""
        ...

    async def kept(self) -> None:
        """Returns when the effects of all events put before are on disk."""
        ...


class Events:
    """Makes the texts of events, for whoever writes changes.

    Attributes:
        bell: set when a transaction with events was committed.
    """

    def __init__(self, cloud: CloudContext, bus: Bus, clock: Clock) -> None:
        self.bell = asyncio.Event()
        self._cloud = cloud
        self._bus = bus
        self._clock = clock

    def ring(self) -> None:
        """Says that a transaction with events was committed."""
        self.bell.set()

    def of_task(self, document: Document) -> list[str]:
        """An ECS task has changed: texts for ``INSERT`` (none while nobody listens)."""
        if not self._bus.wanted():
            return []
        return [self._text("aws.ecs", "ECS Task State Change", document["taskArn"], self._task_detail(document))]

    def of_service(self, document: Document, name: str, level: str = "INFO", reason: str = "") -> list[str]:
        """A service did something: ``SERVICE_STEADY_STATE``, ``SERVICE_TASK_START_IMPAIRED`` ..."""
        if not self._bus.wanted():
            return []
        detail = {
            "eventType": level,
            "eventName": name,
            "clusterArn": document["clusterArn"],
            "createdAt": iso(self._clock()),
            **({"reason": reason} if reason else {}),
        }
        return [self._text("aws.ecs", "ECS Service Action", document["serviceArn"], detail)]

    def of_deployment(self, document: Document, deployment: Document, name: str) -> list[str]:
        """A service's deployment changed: ``SERVICE_DEPLOYMENT_IN_PROGRESS``, ``..._COMPLETED``, ``..._FAILED``."""
        if not self._bus.wanted():
            return []
        detail = {
            "eventType": "ERROR" if name.endswith("FAILED") else "INFO",
            "eventName": name,
            "deploymentId": deployment["id"],
            "updatedAt": iso(self._clock()),
            "reason": deployment["rolloutStateReason"],
        }
        return [self._text("aws.ecs", "ECS Deployment State Change", document["serviceArn"], detail)]

    def of_batch_job(self, detail: Document) -> list[str]:
        """A Batch job has changed; ``detail`` as DescribeJobs shows it (times in milliseconds)."""
        if not self._bus.wanted():
            return []
        return [self._text("aws.batch", "Batch Job State Change", detail["jobArn"], detail)]

    def _task_detail(self, document: Document) -> Document:
        """The ECS task as DescribeTasks shows it, times as text; a network interface is an ``eni`` here."""
        shown = {key: _shown(key, value) for key, value in document.items() if key not in _NOT_SHOWN}
        shown["attachments"] = [
            {**item, "type": "eni" if item["type"] == "ElasticNetworkInterface" else item["type"]}
            for item in document["attachments"]
        ]
        return {**shown, "updatedAt": iso(self._clock())}

    def _text(self, source: str, kind: str, resource: str, detail: Document) -> str:
        event = {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": kind,
            "source": source,
            "account": self._cloud.account,
            "time": self._clock(),
            "region": self._cloud.region,
            "resources": [resource],
            "detail": detail,
        }
        return json.dumps(event, separators=(",", ":"), default=str)


class EventDelivery:
    """Brings the events of the outbox to the bus."""

    def __init__(self, path: Path, events: Events, bus: Bus) -> None:
        """Opens nothing before ``start``. ``path`` is the SQLite file of those who write changes."""
        self._path = path
        self._bus = bus
        self._bell, self._delivered = events.bell, asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._last = self._forgotten = 0

    async def start(self) -> None:
        """Delivers what was left before, then every new event."""
        self._disk = sqlite3.connect(self._path, isolation_level=None)
        self._disk.execute("PRAGMA synchronous=NORMAL")
        self._disk.execute(OUTBOX)
        self._bell.set()
        # Separate: the bus's disk may take a second, and events that arrive meanwhile must not wait for it.
        loops = self._deliver(), self._tidy()
        self._loops = [asyncio.create_task(loop, name="events") for loop in loops]

    async def close(self) -> None:
        """Delivers what is due and ends. Safe to call without ``start``."""
        if not self._loops:
            return
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        self._put()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._forget(), _AGAIN_SECONDS)
        self._disk.close()

    async def _deliver(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                self._put()
                self._delivered.set()
            # A full disk, or our bug: a loop that ends would hide all later events
            except Exception as error:  # noqa: BLE001
                _again(error, self._bell)

    async def _tidy(self) -> None:
        while True:
            await self._delivered.wait()
            self._delivered.clear()
            try:
                await self._forget()
            except Exception as error:  # noqa: BLE001 - as above
                _again(error, self._delivered)

    def _put(self) -> None:
        """Delivers all that were not delivered yet, in order."""
        while rows := self._disk.execute(_NEXT, (self._last, _AT_ONCE)).fetchall():
            for event in [json.loads(body) for _, body in rows]:
                self._bus.put(event)
            self._last = int(rows[-1][0])

    async def _forget(self) -> None:
        """Removes what was delivered, once the bus has it on its disk."""
        last = self._last
        if last > self._forgotten:
            await self._bus.kept()
            self._disk.execute("DELETE FROM outbox WHERE number <= ?", (last,))
            self._forgotten = last


def _again(error: Exception, bell: asyncio.Event) -> None:
    """Delivers them again, which is allowed."""
    _log.warning(
        "events stay in the outbox: %s", error, exc_info=not isinstance(error, (sqlite3.Error, OSError, SkyliftError))
    )
    asyncio.get_running_loop().call_later(_AGAIN_SECONDS, bell.set)


class NoBus(Bus):
    """A bus without rules."""

    def wanted(self) -> bool:
        """Never."""
        return False

    def put(self, event: Document) -> None:
        """To nobody."""

    async def kept(self) -> None:
        """There is nothing to keep."""


def iso(seconds: float) -> str:
    """``2026-11-20T07:00:00.123Z``."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(key: str, value: Any) -> Any:
    return iso(value) if key.endswith(_TIMES) and isinstance(value, int | float) else value
