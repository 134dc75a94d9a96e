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
    """Knows which part of the fleet does the next thing for a flight. The ``Fleet`` implements it."""

    def route(self, flight: Flight) -> None:
        """Gives a flight without a call in progress to the part that does the next thing for it."""
        ...


@dataclass
class FleetContext:
    """What each part of the fleet gets.

    Attributes:
        compute: where attempts run.
        clock: seconds; must not run back.
        timing: how often, how many, how long.
        calls: makes calls to the compute.
        meter: takes metrics.
        router: takes a flight that a part has finished with.
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
        """The tags of one flight's metrics."""
        return {"queue": flight.order.queue, "kind": flight.order.kind}
