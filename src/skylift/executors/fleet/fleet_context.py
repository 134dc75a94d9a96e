"""What all parts of a fleet share: the compute and the calls to it, the clock, the index of flights, the news."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from skylift.core.attempt import Compute
from skylift.core.clock import Clock
from skylift.executors.fleet.call_limiter import CallLimiter
from skylift.executors.fleet.calls import Calls
from skylift.executors.fleet.flight import Flight, News
from skylift.executors.fleet.flight_index import FlightIndex
from skylift.executors.fleet.metrics import Meter
from skylift.executors.fleet.timing import Timing


class Router(Protocol):
    """Knows which part of the fleet does what is next for a flight. The ``Fleet`` is it."""

    def route(self, flight: Flight) -> None:
        """Gives a flight, about which no call is on its way, to the part that does the next thing for it."""
        ...


@dataclass
class FleetContext:
    """Handed to each part.

    Attributes:
        compute: where attempts run.
        clock: seconds; must not run back.
        timing: how often, how many, how long.
        calls: makes calls to the compute.
        meter: takes what is counted.
        router: where a part sends a flight that it is done with.
        index: all flights.
        news: for the scheduler's thread.
    """

    compute: Compute
    clock: Clock
    timing: Timing
    calls: Calls
    meter: Meter
    router: Router
    index: FlightIndex = field(default_factory=FlightIndex)
    news: deque[News] = field(default_factory=deque)

    def limiter(self, verb: str, rate: float, most: int) -> CallLimiter:
        """The limits of calls of one verb."""
        return CallLimiter(verb, rate, most, self.meter)

    def tags(self, flight: Flight) -> dict[str, str]:
        """What metrics of one flight are tagged with."""
        return {"queue": flight.order.queue, "kind": flight.order.kind}
