"""The airfield: what launching, watching and landing share: the compute and its lanes, the clock, the roster, the news."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from skylift.core.attempt import Compute
from skylift.core.clock import Clock
from skylift.executors.flying.flight import Flight, News
from skylift.executors.flying.lane import Calls, Lane
from skylift.executors.flying.metrics import Meter
from skylift.executors.flying.rhythm import Rhythm
from skylift.executors.flying.roster import Roster


@dataclass
class Airfield:
    """See the file's text.

    Attributes:
        compute: where attempts run.
        clock: seconds; must not run back.
        rhythm: how often, how many, how long.
        calls: makes calls to the compute.
        meter: takes what is counted.
        roster: all flights.
        news: for the scheduler's thread.
        route: puts a flight into the line for what is to be done next with it (``Fleet``).
    """

    compute: Compute
    clock: Clock
    rhythm: Rhythm
    calls: Calls
    meter: Meter
    roster: Roster = field(default_factory=Roster)
    news: deque[News] = field(default_factory=deque)
    route: Callable[[Flight], None] = lambda _: None

    def lane(self, verb: str, rate: float, most: int) -> Lane:
        """A new lane for calls of one verb."""
        return Lane(verb, rate, most, self.meter)

    def tags(self, flight: Flight) -> dict[str, str]:
        """What metrics of one flight are tagged with."""
        return {"queue": flight.order.queue, "kind": flight.order.kind}
