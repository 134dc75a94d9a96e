"""The threads behind a fleet: one that decides, one that hears of events, and a pool for calls to the compute."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Bell
from threading import Thread

from skylift.core.attempt import Compute
from skylift.core.errors import SkyliftError
from skylift.executors.fleet import Fleet, Rhythm
from skylift.executors.pace import back_off
from skylift.executors.source import Source

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
        self._source = source
        self._threads = [Thread(target=self._decide, name="skylift-fleet", daemon=True)]
        if source is not None:
            self._threads.append(Thread(target=self._listen, args=(source,), name="skylift-events", daemon=True))
        self._ended = Bell()
        self._most = most_seconds_to_end
        self.fleet = Fleet(compute, self._pool, time.monotonic, rhythm, self._bell.set)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Lets launches that are on their way come to their end, for a bounded time."""
        self.fleet.close()
        self._ended.set()
        self._bell.set()
        self._threads[0].join(self._most)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._source is not None:
            self._source.close()

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

    def _listen(self, source: Source) -> None:
        failures = 0
        while not self._ended.is_set():
            try:
                self.fleet.sighted(source.receive())
                failures = 0
            except SkyliftError as error:
                failures += 1
                if failures in {1, 10, 100}:
                    log.warning("Events cannot be received, attempts are looked at instead: %s", error)
                self.fleet.deaf()
                self._ended.wait(back_off(failures))
            except Exception:
                # As in _step: the thread must live on.
                failures += 1
                log.exception("a mistake in the executor's thread for events, please report it")
                self.fleet.deaf()
                self._ended.wait(back_off(failures))
