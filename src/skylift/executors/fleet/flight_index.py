"""All flights of a fleet, found by Airflow's key, by the compute's ref, and by external id, without
searching."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from skylift.core.attempt import Observation
from skylift.executors.fleet.flight import Flight

REMEMBERED = 900.0
"""Seconds for which we still know the ref of a landed flight, because its last events may come late."""

MOST_REMEMBERED = 50_000
MOST_EARLY = 10_000


class FlightIndex:
    """All flights. Only the fleet's own thread changes it; any thread may call ``knows``."""

    def __init__(self) -> None:
        self._flights: dict[Flight, None] = {}
        self._by_key: dict[Hashable, list[Flight]] = {}
        self._by_ref: dict[str, Flight] = {}
        self._by_external_id: dict[str, Flight] = {}
        self._landed: OrderedDict[str, float] = OrderedDict()
        self._early: OrderedDict[str, tuple[float, Observation]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._flights))

    def add(self, flight: Flight) -> None:
        """Adds a new one."""
        self._flights[flight] = None
        self._by_key.setdefault(flight.order.key, []).append(flight)
        self._by_external_id[flight.order.external_id] = flight

    def of_key(self, key: Hashable) -> list[Flight]:
        """All flights of one of Airflow's keys."""
        return list(self._by_key.get(key, ()))

    def of_ref(self, ref: str) -> Flight | None:
        """The flight whose container that is."""
        return self._by_ref.get(ref)

    def place(self, flight: Flight, ref: str) -> None:
        """From now on this is the flight's container."""
        flight.ref = ref
        self._by_ref[ref] = flight

    def unplace(self, flight: Flight, now: float) -> None:
        """The flight's container no longer matters."""
        ref = flight.ref
        if ref and self._by_ref.get(ref) is flight:
            del self._by_ref[ref]
            self._landed[ref] = now
            self._forget(now)

    def remove(self, flight: Flight, now: float) -> None:
        """Forgets a flight that has ended."""
        self.unplace(flight, now)
        if self._flights.pop(flight, self) is self:
            return
        same = self._by_key[flight.order.key]
        same.remove(flight)
        if not same:
            del self._by_key[flight.order.key]
        if self._by_external_id.get(flight.order.external_id) is flight:
            del self._by_external_id[flight.order.external_id]

    # Events.

    def knows(self, seen: Observation) -> bool:
        """Whether this is about one of our flights, past ones included. From any thread."""
        return seen.ref in self._by_ref or seen.ref in self._landed or seen.external_id in self._by_external_id

    def landed(self, ref: str) -> bool:
        """Whether that was the container of a flight that has ended, or of an earlier attempt."""
        return ref in self._landed

    def early(self, seen: Observation, now: float) -> None:
        """Keeps an observation of one of our containers whose ref nobody knows yet: the newest for each."""
        _, kept = self._early.get(seen.ref, (0.0, seen))
        self._early[seen.ref] = (now, seen if seen.version >= kept.version else kept)
        while len(self._early) > MOST_EARLY:
            self._early.popitem(last=False)

    def arrived(self, ref: str) -> Observation | None:
        """The early observation of a container that is known now."""
        _, seen = self._early.pop(ref, (0.0, None))
        return seen

    def _forget(self, now: float) -> None:
        landed = self._landed
        while landed and (len(landed) > MOST_REMEMBERED or next(iter(landed.values())) < now - REMEMBERED):
            landed.popitem(last=False)
        early = self._early
        while early and next(iter(early.values()))[0] < now - REMEMBERED:
            early.popitem(last=False)
