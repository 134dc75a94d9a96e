"""The inbox of a fleet: what other threads tell the deciding thread, as named messages.

``Fleet._receive`` handles them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event as Bell
from typing import Any

from skylift.core.attempt import Observation
from skylift.executors.fleet.call_limiter import CallLimiter
from skylift.executors.fleet.flight import Order


@dataclass(frozen=True, slots=True)
class NewOrder:
    """The scheduler has a workload to run."""

    order: Order


@dataclass(frozen=True, slots=True)
class Revocation:
    """The scheduler wants everything of a key stopped."""

    key: Hashable
    why: str


@dataclass(frozen=True, slots=True)
class Sightings:
    """Observations from events."""

    observations: Sequence[Observation]


@dataclass(frozen=True, slots=True)
class EventsHeard:
    """Whether events arrive now."""

    well: bool


@dataclass(frozen=True, slots=True)
class CallOver:
    """A call to the compute or to Airflow's database has returned.

    Attributes:
        limiter: counted it.
        began: when it was made.
        result: its answer, or a ``SkyliftError``.
        then: what the caller does with the result.
    """

    limiter: CallLimiter
    began: float
    result: Any
    then: Callable[[Any], None]


Message = NewOrder | Revocation | Sightings | EventsHeard | CallOver


class FleetInbox:
    """Any thread puts messages in. The deciding thread takes them out, and sleeps while there are none."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._bell = Bell()

    def put(self, message: Message) -> None:
        """Tells the deciding thread something, and wakes it."""
        self._messages.put(message)
        self._bell.set()

    def ring(self) -> None:
        """Wakes the deciding thread."""
        self._bell.set()

    def wait(self, seconds: float) -> bool:
        """Sleeps at most this long, until somebody wakes us. Returns whether somebody did since the last time."""
        woken = self._bell.wait(seconds)
        self._bell.clear()
        return woken

    def take(self) -> Iterator[Message]:
        """Takes out all messages, the oldest first."""
        while True:
            try:
                yield self._messages.get_nowait()
            except Empty:
                return
