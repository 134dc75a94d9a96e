"""The airfield: what launching, watching and landing share: the compute and its lanes, the clock, the roster, the
news."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from skylift.core.attempt import Compute
from skylift.core.clock import Clock
from skylift.executors.fleet.call_limiter import CallLimiter, Calls
from skylift.executors.fleet.flight import Flight, News
from skylift.executors.fleet.flight_index import FlightIndex
from skylift.executors.fleet.metrics import Meter
from skylift.executors.fleet.timing import Timing


@dataclass
class FleetContext:
    """See the file's text.

    Attributes:
        compute: where attempts run.
        clock: seconds; must not run back.
        timing: how often, how many, how long.
        calls: makes calls to the compute.
        meter: takes what is counted.
        index: all flights.
        news: for the scheduler's thread.
        route: puts a flight into the line for what is to be done next with it (``Fleet``).
    """

    compute: Compute
    clock: Clock
    timing: Timing
    calls: Calls
    meter: Meter
    index: FlightIndex = field(default_factory=FlightIndex)
    news: deque[News] = field(default_factory=deque)
    route: Callable[[Flight], None] = lambda _: None

    def limiter(self, verb: str, rate: float, most: int) -> CallLimiter:
        """A new lane for calls of one verb."""
        return CallLimiter(verb, rate, most, self.meter)

    def tags(self, flight: Flight) -> dict[str, str]:
        """What metrics of one flight are tagged with."""
        return {"queue": flight.order.queue, "kind": flight.order.kind}
