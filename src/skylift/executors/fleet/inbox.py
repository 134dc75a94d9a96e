"""The inbox of a fleet: what other threads tell the one that decides, each as a message with a name.

Who handles which message stands in ``Fleet._receive``.
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
    """Observations came without asking."""

    observations: Sequence[Observation]


@dataclass(frozen=True, slots=True)
class EventsHeard:
    """Whether observations come without asking now."""

    well: bool


@dataclass(frozen=True, slots=True)
class CallOver:
    """A call to the compute or to Airflow's database has come back.

    Attributes:
        limiter: counted it.
        began: when it was made.
        result: its answer, or one of the house's errors.
        then: what whoever made the call does with the result.
    """

    limiter: CallLimiter
    began: float
    result: Any
    then: Callable[[Any], None]


Message = NewOrder | Revocation | Sightings | EventsHeard | CallOver


class FleetInbox:
    """Any thread puts in; the one that decides takes out, and sleeps while there is nothing."""

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
        """Sleeps until somebody wakes us, at most so long. Whether somebody did since the last time."""
        woken = self._bell.wait(seconds)
        self._bell.clear()
        return woken

    def take(self) -> Iterator[Message]:
        """Takes out all that is in it, the oldest first."""
        while True:
            try:
                yield self._messages.get_nowait()
            except Empty:
                return
