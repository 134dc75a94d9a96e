"""The threads behind a fleet: one that decides, and a pool for calls to the compute."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Bell
from threading import Thread

from skylift.core.attempt import Compute
from skylift.executors.events.source import Feed, Source
from skylift.executors.fleet.fleet import Fleet
from skylift.executors.fleet.flight import AirflowState
from skylift.executors.fleet.inbox import FleetInbox
from skylift.executors.fleet.metrics import Meter
from skylift.executors.fleet.timing import Timing

log = logging.getLogger(__name__)


class FleetThreads:
    """The background threads of a fleet, and its pool.

    Args:
        compute: where attempts run.
        timing: see there.
        source: events, if there are any.
        watch: observations that come in addition to events, whether events can be relied upon or not.
        meter, airflow: see ``Fleet``.
        most_seconds_to_end: how long ``end`` waits for calls in progress.
    """

    def __init__(
        self,
        compute: Compute,
        timing: Timing,
        source: Source | None,
        watch: Source | None = None,
        *,
        most_seconds_to_end: float,
        meter: Meter | None = None,
        airflow: AirflowState | None = None,
    ) -> None:
        self._inbox = FleetInbox()
        self._pool = ThreadPoolExecutor(timing.threads(), thread_name_prefix="skylift-call")
        self._thread = Thread(target=self._decide, name="skylift-fleet", daemon=True)
        self._ended = Bell()
        self._most = most_seconds_to_end
        self.fleet = Fleet(compute, self._pool, time.monotonic, timing, self._inbox, meter=meter, airflow=airflow)
        self._feeds = [Feed(source, self.fleet)] if source is not None else []
        if watch is not None:
            self._feeds.append(Feed(watch, self.fleet, relied_upon=False))

    def start(self) -> None:
        self._thread.start()
        for feed in self._feeds:
            feed.start()

    def end(self) -> None:
        """Lets launches in progress finish, for a limited time."""
        self.fleet.close()
        self._ended.set()
        self._inbox.ring()
        if self._thread.is_alive():
            self._thread.join(self._most)
        self._pool.shutdown(wait=False, cancel_futures=True)
        for feed in self._feeds:
            feed.end()

    def _decide(self) -> None:
        while not self._ended.is_set() or self.fleet.launching:
            self._inbox.wait(self._step())

    def _step(self) -> float:
        try:
            return self.fleet.step()
        except Exception:
            # The thread must go on: without it nothing is launched or seen to end until the scheduler restarts.
            log.exception("a mistake in the executor's background thread, please report it")
            return 1.0
