"""Events about attempts: the ``Source`` (events from a queue), and the ``Feed``, a thread that listens to one.

Events are only a shortcut. They arrive twice, late, in any order, or never. So all that an event can do is to
bring an ``Observation`` before the fleet's next poll. The fleet orders them by version, and its slow polling finds
what no event reported. Therefore nothing here may fail work: a missing or silent queue costs calls (the fleet polls as
often as without one) and one warning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from threading import Event as Bell
from threading import Thread
from typing import Protocol

from skylift.core.attempt import Observation
from skylift.core.clock import Clock
from skylift.core.errors import Broken, SkyliftError, Unavailable
from skylift.executors.fleet.rate_limiter import back_off

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds for which a source that does not answer is thought to be back soon; what happens meanwhile waits in its
queue."""

SELDOM = 300.0
"""Most seconds between two tries of a source that says no (deleted, not allowed): somebody may have put it right."""


class Source(Protocol):
    """Where events come from. One thread calls it.

    * ``receive`` waits for events, at most about 20 seconds, and returns what there is: perhaps nothing, perhaps the
    same
      event twice, in any order. Each has the ``external_id`` if the service reports it. What cannot be understood is
      dropped and never raised. Raises ``Unavailable`` if nothing can be received now, ``Refused`` if somebody must fix
      something first.
    * ``settle`` says that the result of the last ``receive`` has been handed over, so that it need not come again.
      ``strangers`` are refs that nobody here knows. They may belong to another scheduler with the same source, so they
      are put back, a limited number of times. Without ``settle`` (a crash), everything comes again. Raises like
      ``receive``.
    * ``close`` releases what the source holds; a ``receive`` in progress may end with an error.
    """

    def receive(self) -> list[Observation]: ...

    def settle(self, strangers: Collection[str]) -> None: ...

    def close(self) -> None: ...


class EventListener(Protocol):
    """What feeds report to: the ``Fleet``. Its methods do not block."""

    def sighted(self, observations: Sequence[Observation]) -> Collection[str]:
        """Takes observations; returns the refs of strangers among them."""
        ...

    def hear(self, well: bool) -> None:
        """Whether events can be relied upon, whenever that changes (at first they cannot)."""
        ...


class Feed:
    """Listens to a source in its own thread and hands everything over.

    Args:
        source: belongs to the feed from now on.
        listener: gets the observations.
        relied_upon: whether the listener is told how well the source works.
        clock: seconds; must not run back.
    """

    def __init__(
        self,
        source: Source,
        listener: EventListener,
        clock: Clock = time.monotonic,
        *,
        relied_upon: bool = True,
    ) -> None:
        self._source = source
        self._listener = listener
        self._relied_upon = relied_upon
        self._clock = clock
        self._ended = Bell()
        self._thread = Thread(target=self._run, name="skylift-events", daemon=True)
        self._well = False
        self._failures = 0
        self._well_at = clock()
        self._warned = False

    def start(self) -> None:
        """Starts listening."""
        self._thread.start()

    def end(self) -> None:
        """Stops listening; waits only a moment. Whatever was received and not settled comes again, to whoever listens
        then."""
        self._ended.set()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def turn(self) -> float:
        """One round: receive, hand over, settle; returns the seconds to rest before the next."""
        try:
            seen = self._source.receive()
            self._source.settle(self._listener.sighted(seen) if seen else ())
        except SkyliftError as error:
            return 0.0 if self._ended.is_set() else self._failed(error)
        except Exception as error:
            if self._ended.is_set():
                # ``close`` has interrupted it.
                return 0.0
            # A source that breaks its contract is our bug. The thread must go on, and the fleet must know that there
            # are no events.
            log.exception("a mistake in the executor's event source, please report it")
            return self._failed(Broken(f"{type(error).__name__}: {error}"))
        self._recovered()
        return 0.0

    def _run(self) -> None:
        while not self._ended.is_set():
            self._ended.wait(self.turn())

    def _failed(self, error: SkyliftError) -> float:
        self._failures += 1
        passing = isinstance(error, Unavailable)
        if not passing or self._clock() - self._well_at >= PATIENCE:
            if not self._warned:
                log.warning("State changes are looked for by polling from now on, as no events can be heard: %s", error)
                self._warned = True
            if self._well:
                self._well = False
                self._tell()
        rest = back_off(self._failures)
        return rest if passing else min(SELDOM, rest * 5)

    def _recovered(self) -> None:
        self._failures = 0
        self._well_at = self._clock()
        if self._warned:
            log.warning("Events are heard again.")
            self._warned = False
        if not self._well:
            self._well = True
            self._tell()

    def _tell(self) -> None:
        if self._relied_upon:
            self._listener.hear(self._well)
