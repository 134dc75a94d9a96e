"""The threads behind a fleet: one that decides, and a pool for calls to the compute."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Bell
from threading import Thread

from skylift.core.attempt import Compute
from skylift.executors.fleet import Fleet, Rhythm
from skylift.executors.source import Feed, Source

log = logging.getLogger(__name__)


class Crew:
    """The background threads of a fleet, and its pool.

    Args:
        compute: where attempts run.
        rhythm: see there.
        source: events, if there are any.
        most_seconds_to_end: for which ``end`` waits for calls on their way.
    """

    def __init__(self, compute: Compute, rhythm: Rhythm, source: Source | None, *, most_seconds_to_end: float) -> None:
        self._bell = Bell()
        # Enough for all lanes of the fleet, so that launches never wait behind looks.
        self._pool = ThreadPoolExecutor(2 * rhythm.calls, thread_name_prefix="skylift-call")
        self._thread = Thread(target=self._decide, name="skylift-fleet", daemon=True)
        self._ended = Bell()
        self._most = most_seconds_to_end
        self.fleet = Fleet(compute, self._pool, time.monotonic, rhythm, self._bell.set)
        self._feed = Feed(source, self.fleet.sighted, self.fleet.hear) if source is not None else None

    def start(self) -> None:
        self._thread.start()
        if self._feed is not None:
            self._feed.start()

    def end(self) -> None:
        """Lets launches that are on their way come to their end, for a bounded time."""
        self.fleet.close()
        self._ended.set()
        self._bell.set()
        self._thread.join(self._most)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._feed is not None:
            self._feed.end()

    def _decide(self) -> None:
        while not self._ended.is_set() or self.fleet.launching:
            self._bell.wait(self._step())
            self._bell.clear()

    def _step(self) -> float:
        try:
            return self.fleet.step()
        except Exception:
            # The thread must live on: without it nothing is launched or seen to end until the scheduler restarts.
            log.exception("a mistake in the executor's background thread, please report it")
            return 1.0
