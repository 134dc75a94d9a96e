"""Serves ``logs``: combines the store and the operations, and opens, watches and closes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore import xform_name

from skylift.core.clock import Clock
from skylift.core.errors import Refused
from skylift.localcloud.damage import Damage, Damaged
from skylift.localcloud.database import damage_of
from skylift.localcloud.logs.events import NewEvents
from skylift.localcloud.logs.groups import GroupOperations
from skylift.localcloud.logs.insights.operations import QueryOperations
from skylift.localcloud.logs.live_tail import LiveTails, TailOperations
from skylift.localcloud.logs.metric_filters import Emit, MetricEmitter, MetricFilterOperations
from skylift.localcloud.logs.records import RecordOperations
from skylift.localcloud.logs.retention import LogRetention
from skylift.localcloud.logs.store import LogStore
from skylift.localcloud.logs.subscriptions import Deliver, SubscriptionFeed, SubscriptionOperations
from skylift.localcloud.logs.takeover import HOLDS, WITHOUT, take_over
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

FILE = "logs.db"
_log = logging.getLogger(__name__)


class _PinnedClock:
    """The clock, which stands still while old changes are made again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.pinned: float | None = None

    def __call__(self) -> float:
        return self._clock() if self.pinned is None else self.pinned


class LogsProvider(
    GroupOperations,
    QueryOperations,
    MetricFilterOperations,
    SubscriptionOperations,
    RecordOperations,
    TailOperations,
):
    """One method per operation (see ``wire.provider``). Changes are made on the event loop; reading is done in threads.

    Attributes:
        damage: why the logs cannot be read; then every operation is refused.
    """

    service = "logs"
    blocking = False

    def __init__(self, folder: Path, account: str, region: str, clock: Clock, *, emit: Emit, deliver: Deliver) -> None:
        """Opens nothing.

        Args:
            folder: that holds ``logs.db``, and perhaps the files of an older skylift.
            account: twelve digits.
            region: e.g. ``us-east-1``.
            clock: seconds since the epoch.
            emit: stores what metric filters find.
            deliver: delivers to the destinations of subscription filters.
        """
        self.damage: Damage | None = None
        self._folder = folder
        self._clock = _PinnedClock(clock)
        self._caller = Caller("", f"arn:aws:iam::{account}:root", account, region)
        self.store = LogStore(folder / FILE, self._clock)
        self.tails = LiveTails(self.store)
        self.deliver = self._deliver = deliver
        self._following: list[NewEvents] = [
            MetricEmitter(self.store, emit),
            SubscriptionFeed(self.store, account, deliver),
            self.tails,
        ]
        self.listeners = []
        self.queries = {}
        self._background: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the store; takes over what an older skylift left. What cannot be read becomes ``damage``."""
        try:
            self.store.open()
            self.deliver = _to_nobody
            take_over(self._folder, self.store, self._caller.account, self._caller.region, self._replay)
            self.deliver = self._deliver
        except Damaged as error:
            self._hurt(error.damage)
            return
        except sqlite3.DatabaseError as error:
            self._hurt(damage_of(self._folder / FILE, str(error), HOLDS, WITHOUT))
            return
        self.listeners = self._following
        self._background = asyncio.ensure_future(LogRetention(self.store).run())

    async def stop(self) -> None:
        """Closes the store."""
        await self.end_queries()
        if self._background is not None:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._background
            self._background = None
        self.store.close()

    def _hurt(self, damage: Damage) -> None:
        self.damage = damage
        _log.error("%s", damage)

    def _replay(self, at: float, action: str, request: Mapping[str, Any]) -> None:
        method = getattr(self, xform_name(action), None)
        self._clock.pinned = at
        try:
            if method is not None:
                method(self._caller, dict(request))
        except (AwsError, KeyError):
            _log.debug("%s of before was refused", action)
        finally:
            self._clock.pinned = None


def _to_nobody(_arn: str, _data: bytes, _key: str) -> None:
    """Delivers nothing: while old changes are made again."""


class ContainerLogs:
    """What writes containers' output (``ports.Logs``), and that of functions that emulators run."""

    def __init__(self, logs: LogsProvider) -> None:
        self._logs = logs

    def has_group(self, group: str) -> bool:
        """Whether there is such a group. In any thread."""
        self._check()
        with self._logs.store.reading() as disk:
            return disk.execute("SELECT 1 FROM log_group WHERE name = ?", (group,)).fetchone() is not None

    def prepare(self, group: str, stream: str, *, create_group: bool) -> None:
        """Creates what is missing. Raises ``AwsError``, ``Refused`` or ``Unavailable``."""
        self._check()
        self._logs.prepare(group, stream, create_group=create_group)

    def put(self, group: str, stream: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Appends events (``timestamp`` in ms, ``message``). Raises ``AwsError``, ``Refused`` or ``Unavailable``."""
        self._check()
        self._logs.write(group, stream, events)

    def _check(self) -> None:
        if self._logs.damage is not None:
            raise Refused(f"ServiceUnavailableException: {self._logs.damage}")
