"""The fleet's numbers (how often, how many, how long), and the one decision that depends only on them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from skylift.executors.fleet.flight import Flight

FIRST_EVENT = 60.0
"""An event about a new container should come within so many seconds; after that it is polled."""


@dataclass(frozen=True)
class Timing:
    """The numbers.

    Attributes:
        young, old: shortest and longest seconds between two polls of an attempt; in between, a tenth of the time
        without
            changes. So long runners cost little, and an end is noticed late by at most a tenth of the run.
        grace: seconds during which MISSING means nothing.
        most_attempts: containers for one launch.
        launches: submit calls per second.
        looks: observe calls per second, for all attempts together; also the number of find and of stop calls.
        calls: calls of one verb at the same time.
        look_all: minimum seconds per page of attempts: with many pages, old ones are polled less often,
            until a poll finds many ends (``watching.FRUITFUL``).
        linger: seconds that an attempt with a group key waits for others before it is submitted.
        eventful: events report changes (``sighted``), so polling is only a safety net.
        reconcile: with events, seconds between two polls of an attempt.
        capacity: seconds to wait for capacity.
        unanswered: seconds to wait for an Airflow API that no container can reach.
        token: seconds that a workload's token is valid; 0: for ever.
        ask: seconds between two questions to Airflow whether waiting work is still wanted; 0: never.
        explain: seconds that the news of a bad end may wait for its explanation; 0: no explanation.
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
        """Enough for all verbs at the same time, so that launches never wait behind polls."""
        return self.calls + 3 * self.half + 5

    @property
    def half(self) -> int:
        """Calls at the same time for verbs other than launches."""
        return max(1, self.calls // 2)

    def interval(self, flight: Flight, now: float, *, hearing: bool, pages: float) -> float:
        """Seconds until an attempt should be polled (again).

        Args:
            flight: its ``changed``, ``looks`` and ``told`` are up to date.
            now: in the flight's clock.
            hearing: events can be relied upon.
            pages: observe calls for one poll of all attempts.
        """
        quiet = now - flight.changed
        if flight.missing_since is not None:
            return min(self.old, max(self.young, 0.1 * (now - flight.missing_since)))
        # Attempts that were launched or adopted together are spread out, so that some are polled in every second.
        turn = pages * self.look_all * random.uniform(0.9, 1.3) if quiet > self.old else 0.0  # noqa: S311  no secret
        polled = max(min(self.old, max(self.young, 0.1 * quiet)), turn)
        if not hearing:
            return polled
        if flight.told:
            return self.reconcile * random.uniform(0.8, 1.0)  # noqa: S311  no secret: looks spread over the time
        if flight.order.began:
            # Adopted while running: its next event is its end, perhaps hours away.
            return min(self.reconcile, max(self.old, quiet))
        # No event about it came in time: its events do not arrive (another cluster than the rule's), so it is polled.
        return polled if flight.looks else FIRST_EVENT
