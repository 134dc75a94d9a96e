"""How often, how many, how long: the numbers that a fleet goes by, and the one decision that is made of them alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

from skylift.executors.fleet.flight import Flight

FIRST_EVENT = 60.0
"""Seconds within which an event of a new container should have come; after that it is looked at."""


@dataclass(frozen=True)
class Timing:
    """The numbers.

    Attributes:
        young, old: least and most seconds between two looks at an attempt; in between, a tenth of the time for which
            nothing changed, so that long runners cost little and an end is late by a tenth of the run at most.
        grace: seconds for which MISSING means nothing.
        most_attempts: containers for one launch.
        launches: submit calls a second.
        looks: observe calls a second, all attempts together; as many find and stop calls.
        calls: calls of one verb at the same time.
        look_all: seconds that one page of attempts costs at least: with many pages, old ones are looked at less often,
            until a look finds a crowd of ends (``watching.FRUITFUL``).
        linger: seconds that an attempt with kin waits for others of its kin before it is submitted.
        eventful: changes come by events (``sighted``), so that looking is only a safety net.
        reconcile: with events, seconds between two looks at an attempt.
        capacity: seconds for which a lack of capacity is waited out.
        unanswered: seconds for which an Airflow API that no container can reach is waited for.
        token: seconds that a workload's token lives; 0: for ever.
        ask: seconds between two questions to Airflow whether what still waits is wanted; 0: never asked.
        explain: seconds for which the news of a bad end may wait for its explanation; 0: none is asked for.
        gauge: seconds between two reports of the gauges.
    """

    young: float = 1.0
    old: float = 10.0
    grace: float = 300.0
    most_attempts: int = 3
    launches: float = 20.0
    looks: float = 10.0
    calls: int = 8
    look_all: float = 1.0
    linger: float = 0.0
    eventful: bool = False
    reconcile: float = 300.0
    capacity: float = 1800.0
    unanswered: float = 1800.0
    token: float = 0.0
    ask: float = 30.0
    explain: float = 15.0
    gauge: float = 15.0

    def threads(self) -> int:
        """Enough for all verbs at the same time, so that launches never wait behind looks."""
        return self.calls + 3 * self.half + 5

    @property
    def half(self) -> int:
        """Calls at the same time of verbs that are not launches."""
        return max(1, self.calls // 2)

    def interval(self, flight: Flight, now: float, *, hearing: bool, pages: float) -> float:
        """Seconds until an attempt should be looked at (again).

        Args:
            flight: whose ``changed``, ``looks`` and ``told`` are up to date.
            now: in the flight's clock.
            hearing: events can be relied upon.
            pages: observe calls that one look at all attempts costs.
        """
        quiet = now - flight.changed
        if flight.missing_since is not None:
            return min(self.old, max(self.young, 0.1 * (now - flight.missing_since)))
        # Those that were launched or taken over together drift apart, so that some are looked at in every second.
        turn = pages * self.look_all * random.uniform(0.9, 1.3) if quiet > self.old else 0.0  # noqa: S311  no secret
        polled = max(min(self.old, max(self.young, 0.1 * quiet)), turn)
        if not hearing:
            return polled
        if flight.told:
            return self.reconcile * random.uniform(0.8, 1.0)  # noqa: S311  no secret: looks spread over the time
        if flight.order.began:
            # Taken over in mid-flight: its next event is its end, hours away perhaps.
            return min(self.reconcile, max(self.old, quiet))
        # No event of it came in time: its events do not come here (another cluster than the rule's), so it is polled.
        return polled if flight.looks else FIRST_EVENT
