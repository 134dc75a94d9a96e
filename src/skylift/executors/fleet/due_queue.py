"""A queue of flights by due time, the earliest first. It never searches or sorts."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from skylift.executors.fleet.flight import Flight

_tickets = count(1)
"""Shared by all queues: a flight is in at most one queue, where its newest ticket is."""


class DueQueue:
    """A heap by due time. A flight that is put again, or into another queue, leaves its old place by itself."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flight]] = []

    def put(self, flight: Flight) -> None:
        """Adds a flight at its ``due`` time."""
        flight.ticket = next(_tickets)
        heapq.heappush(self._heap, (flight.due, flight.ticket, flight))

    def due(self) -> float:
        """When the first one is due; infinity if the queue is empty."""
        heap = self._heap
        while heap and heap[0][2].ticket != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else float("inf")

    def take(self, until: float, most: int = 1) -> list[Flight]:
        """Removes the first ones that are due until then; ``until`` infinity removes any."""
        taken: list[Flight] = []
        while len(taken) < most and self.due() <= until and self._heap:
            flight = heapq.heappop(self._heap)[2]
            flight.ticket = 0
            taken.append(flight)
        return taken

    def __iter__(self) -> Iterator[Flight]:
        """All flights in it, in no order."""
        return iter([flight for _, ticket, flight in self._heap if flight.ticket == ticket])

    def __len__(self) -> int:
        """An upper limit of its length: those that left by themselves may still count."""
        return len(self._heap)


def leave(flight: Flight) -> None:
    """Removes a flight from the queue that it is in."""
    flight.ticket = 0
