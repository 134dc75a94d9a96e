"""A line of flights that wait for their moment, earliest first. Nothing is ever searched or sorted."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from skylift.executors.fleet.flight import Flight

_tickets = count(1)
"""Of all lines: a flight stands in one line at most, and in it where its newest ticket is."""


class DueQueue:
    """A heap by due time; who is put again, or into another line, leaves the old place by itself."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flight]] = []

    def put(self, flight: Flight) -> None:
        """Puts a flight where its ``due`` says."""
        flight.ticket = next(_tickets)
        heapq.heappush(self._heap, (flight.due, flight.ticket, flight))

    def due(self) -> float:
        """When the first one is due; infinity when nobody waits."""
        heap = self._heap
        while heap and heap[0][2].ticket != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else float("inf")

    def take(self, until: float, most: int = 1) -> list[Flight]:
        """Takes out the first ones that are due until then; all of them until infinity."""
        taken: list[Flight] = []
        while len(taken) < most and self.due() <= until and self._heap:
            flight = heapq.heappop(self._heap)[2]
            flight.ticket = 0
            taken.append(flight)
        return taken

    def __iter__(self) -> Iterator[Flight]:
        """All that stand in it, in no order."""
        return iter([flight for _, ticket, flight in self._heap if flight.ticket == ticket])

    def __len__(self) -> int:
        """How many stand in it at most: those who left by themselves may still be counted."""
        return len(self._heap)


def leave(flight: Flight) -> None:
    """Takes a flight out of whatever line it stands in."""
    flight.ticket = 0
