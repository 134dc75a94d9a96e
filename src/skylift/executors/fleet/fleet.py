"""The fleet: all attempts of one executor on their way, flown by one background thread and a bounded pool for the
network.

The scheduler's thread only puts orders in and takes news out; neither waits. All decisions are made in ``step``, by one
thread and on a clock that is passed in; calls to the compute run in the pool and put their results into the same inbox
as the orders and the events. What is to be done next with a flight is said by ``Flight.verb``; each verb has its own
part with
its own line, lane and file: asking, launching, finding, watching, stopping, and landing for what is over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from functools import partial

from skylift.core.attempt import Compute, Observation, Phase
from skylift.core.clock import Clock
from skylift.executors.fleet.asking import Asking, Wanted
from skylift.executors.fleet.call_limiter import Calls
from skylift.executors.fleet.confirming import Confirming
from skylift.executors.fleet.due_queue import leave
from skylift.executors.fleet.finding import AttemptFinder
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import Flight, News, Order, Verb
from skylift.executors.fleet.landing import Landing
from skylift.executors.fleet.launching import Launching
from skylift.executors.fleet.metrics import Meter, NoMeter
from skylift.executors.fleet.renewing import Renewing
from skylift.executors.fleet.stopping import Stopping
from skylift.executors.fleet.timing import Timing
from skylift.executors.fleet.watching import Watching

LONGEST_REST = 60.0
SHORTEST_REST = 0.01
"""Seconds; what comes due in between is done together."""


class Fleet:
    """See the file's text.

    Args:
        compute: where attempts run.
        pool: runs the calls; any ``Executor``.
        clock: seconds; must not run back.
        ring: called when there is something new to decide, from any thread.
        meter: takes what is counted.
        wanted: says what Airflow still wants; ``None``: everything.
    """

    def __init__(
        self,
        compute: Compute,
        pool: Executor,
        clock: Clock,
        timing: Timing,
        ring: Callable[[], None] = lambda: None,
        *,
        meter: Meter | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        meter = meter or NoMeter()
        self._field = field = FleetContext(compute, clock, timing, Calls(pool, clock, meter, ring), meter)
        field.route = self._route
        self._stopping = Stopping(field)
        self._landing = Landing(field, self._stopping)
        self._renewing = Renewing(field, self._stopping)
        self._confirming = Confirming(field, self._landing, wanted)
        self._watching = Watching(field, self._renewing, self._confirming)
        self._finding = AttemptFinder(field, self._stopping, self._landing)
        self._launching = Launching(field, self._watching, self._landing)
        self._asking = Asking(field, self._landing, wanted)
        # In this order: what ends work and frees slots goes before what begins it.
        self._parts = (
            self._stopping,
            self._landing,
            self._watching,
            self._confirming,
            self._finding,
            self._renewing,
            self._asking,
            self._launching,
        )
        self._ring = ring
        self._gauged = clock()
        self._closed = False

    # For the scheduler's thread, and that of the events: these never wait.

    def order(self, order: Order) -> None:
        """Takes a workload to run."""
        self._field.calls.tell(partial(self._take, order))

    def revoke(self, key: Hashable, why: str) -> None:
        """Stops everything of that key, and says no more of it."""
        self._field.calls.tell(partial(self._revoke, key, why))

    def sighted(self, observations: Sequence[Observation]) -> list[str]:
        """Takes observations that came without asking: at least once, in any order; the refs of strangers among
        them."""
        self._field.calls.tell(partial(self._watching.sighted, list(observations)))
        return self._watching.strangers(observations)

    def hear(self, well: bool) -> None:
        """Whether observations do come without asking now; if not, looks follow the rhythm without events."""
        self._field.calls.tell(partial(self._watching.hear, well))

    def next_news(self) -> News | None:
        """The oldest news that was not taken yet."""
        news = self._field.news
        return news.popleft() if news else None

    def drain(self) -> list[News]:
        """All news since the last time."""
        return list(iter(self.next_news, None))

    def close(self) -> None:
        """From now on nothing is launched, looked at or stopped; calls on their way come to their end."""
        self._closed = True
        self._ring()

    # For the background thread.

    @property
    def launching(self) -> bool:
        """Whether a submit call is on its way."""
        return self._launching.limiter.calls > 0

    def step(self) -> float:
        """Takes in what happened, starts all calls that are due; the seconds until there is more to do."""
        self._field.calls.listen()
        if self._closed:
            # The answer of the last launch may have been in the inbox: nobody rings any more.
            return LONGEST_REST if self.launching else SHORTEST_REST
        now = self._field.clock()
        for part in self._parts:
            part.step(now)
        self._gauge(now)
        return min(LONGEST_REST, max(SHORTEST_REST, min(part.next(now) for part in self._parts) - now))

    def _take(self, order: Order) -> None:
        now = self._field.clock()
        flight = Flight(order, since=now, due=now, changed=now, began=order.began, alone=not order.adopted)
        self._field.index.add(flight)
        if order.ref:
            self._field.index.place(flight, order.ref)
        self._route(flight)

    def _revoke(self, key: Hashable, why: str) -> None:
        for flight in self._field.index.of_key(key):
            if not flight.over:
                flight.revoked = why
                flight.due = self._field.clock()
                leave(flight)
                if not flight.busy:
                    self._route(flight)

    def _route(self, flight: Flight) -> None:
        """Puts a flight, about which no call is on its way, where the next thing is done for it."""
        if flight.ending:
            # What is next, Airflow's answer says.
            return
        verb = flight.verb()
        if flight.over or verb is Verb.LEAVE:
            self._landing.forget(flight)
        elif verb is Verb.STOP:
            self._stopping.stop(flight.ref, flight.revoked)
            self._landing.forget(flight)
        elif verb is Verb.LOOK:
            self._watching.put(flight)
        elif verb is Verb.FIND:
            self._finding.put(flight)
        elif verb is Verb.ASK:
            self._asking.put(flight)
        else:
            self._launching.put(flight)

    def _gauge(self, now: float) -> None:
        if now - self._gauged < self._field.timing.gauge:
            return
        self._gauged = now
        pending = waiting = running = 0
        oldest = now
        for flight in self._field.index:
            if flight.phase is Phase.RUNNING or flight.began:
                running += 1
                continue
            pending += not flight.ref
            waiting += bool(flight.ref)
            oldest = min(oldest, flight.since)
        meter = self._field.meter
        meter.gauge("pending", pending)
        meter.gauge("waiting", waiting)
        meter.gauge("running", running)
        meter.gauge("oldest_pending_seconds", now - oldest)
        meter.gauge("launch_rate", self._launching.limiter.rate.rate)
