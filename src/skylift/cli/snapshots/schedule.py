"""Takes the snapshots that skylift.toml asks for, while the server runs.

One that fell due while it did not run is taken soon after the next start.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from skylift.cli import environments
from skylift.cli.connection import Connection
from skylift.cli.projects.buckets import followed
from skylift.cli.projects.snapshot_rule import SnapshotRule
from skylift.cli.snapshots import store, taking
from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError, Unavailable

LOOK_SECONDS = 60.0
AGAIN_SECONDS = 600.0
"""After how long a snapshot that failed is tried again."""


class SnapshotWork(Protocol):
    """What the schedule does to environments. Both methods raise ``SkyliftError``."""

    def newest(self, environment: str) -> float | None:
        """When its newest snapshot was begun, in seconds since the epoch; 0: it has none; ``None``: none can be taken
        now."""
        ...

    def take(self, environment: str, keep: int, say: Callable[[str], None]) -> str:
        """Takes one and keeps only the newest so many; returns what it has, for people. ``say`` is called again and
        again meanwhile; what it raises ends it."""
        ...


class SnapshotSchedule:
    """Looks every minute which snapshot is due.

    Args:
        rules: by environment.
        note: told what was taken, and what failed.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        rules: Callable[[], Mapping[str, SnapshotRule]],
        work: SnapshotWork,
        note: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._work = work
        self._note = note
        self._clock = clock
        self._not_before: dict[str, float] = {}
        self._stopping = threading.Event()

    async def run(self) -> None:
        """Until it is cancelled; call ``stop`` before."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def stop(self) -> None:
        """Ends the waiting for a snapshot that is being taken; it is none, as it has no manifest yet."""
        self._stopping.set()

    def look(self) -> None:
        """Takes what is due now, one after the other."""
        try:
            rules = self._rules()
        except SkyliftError as error:
            self._note(f"schedule of snapshots: {error}")
            return
        for name, rule in rules.items():
            if self._stopping.is_set() or self._clock() < self._not_before.get(name, 0.0):
                continue
            try:
                newest = self._work.newest(name)
                if newest is not None and self._clock() >= newest + rule.hours * 3600:
                    self._note(f"{name}: {self._work.take(name, rule.keep, self._say)}, as its schedule says")
            except SkyliftError as error:
                self._not_before[name] = self._clock() + AGAIN_SECONDS
                self._note(f"{name}: no snapshot, trying again in {AGAIN_SECONDS / 60:.0f} minutes: {error}")

    def _say(self, _text: str) -> None:
        if self._stopping.is_set():
            raise Unavailable("skylift stops")


def rules_of(here: Connection) -> Mapping[str, SnapshotRule]:
    """The rules of all projects, as they were at their last ``skylift up``."""
    return {name: one.snapshots for name, one in followed(here.home).items() if one.snapshots is not None}


class LocalSnapshots(SnapshotWork):
    """Snapshots of the environments of this server."""

    def __init__(self, here: Connection) -> None:
        self._here = here

    def newest(self, environment: str) -> float | None:
        found = environments.find(self._here.client("mwaa"), environment)
        if found is None or found["Status"] not in environments.USABLE or environments.is_stopped(found):
            return None
        there = store.listed(self._here.client("s3"), found)
        return datetime.strptime(there[-1].id, store.FORMAT).replace(tzinfo=UTC).timestamp() if there else 0.0

    def take(self, environment: str, keep: int, say: Callable[[str], None]) -> str:
        found = environments.get(self._here.client("mwaa"), environment)
        made, told = taking.take(self._here, found, say)
        gone = taking.keep_newest(self._here.client("s3"), found, keep)
        return f"{told}, as {made}" + (f"; deleted {', '.join(gone)}" if gone else "")
