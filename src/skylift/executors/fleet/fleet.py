"""The fleet: all attempts of one executor that are under way. One background thread decides; a limited pool makes the
calls.

The scheduler's thread only puts orders in and takes news out; neither waits. One thread makes all decisions, in
``step``, with a clock that is passed in. Calls to the compute run in the pool, and their results go into the same inbox
as the orders and the events. ``Flight.verb`` says what to do next with a flight. Each verb has its own part with its
own due queue, call limiter and file: asking, launching, finding, watching, stopping, and landing for what has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from concurrent.futures import Executor
from typing import assert_never

from skylift.core.attempt import Compute, Observation, Phase
from skylift.core.clock import Clock
from skylift.executors.events.source import EventListener
from skylift.executors.fleet.asking import Asking
from skylift.executors.fleet.calls import Calls
from skylift.executors.fleet.confirming import Confirming
from skylift.executors.fleet.due_queue import leave
from skylift.executors.fleet.finding import AttemptFinder
from skylift.executors.fleet.fleet_context import FleetContext, Router
from skylift.executors.fleet.flight import AirflowState, Flight, News, Order, Verb
from skylift.executors.fleet.inbox import CallOver, EventsHeard, FleetInbox, Message, NewOrder, Revocation, Sightings
from skylift.executors.fleet.landing import Landing
from skylift.executors.fleet.launching import Launching
from skylift.executors.fleet.metrics import Meter, NoMeter
from skylift.executors.fleet.renewing import Renewing
from skylift.executors.fleet.stopping import Stopping
from skylift.executors.fleet.timing import Timing
from skylift.executors.fleet.watching import Watching

log = logging.getLogger(__name__)

LONGEST_REST = 60.0
SHORTEST_REST = 0.01
"""Seconds; what comes due within this time is done together."""


class Fleet(EventListener, Router):
    """All flights, and the parts that act on them.

    Args:
        compute: where attempts run.
        pool: runs the calls; any ``Executor``.
        clock: seconds; must not run back.
        inbox: takes everything that others tell the fleet; the deciding thread waits at it.
        meter: takes metrics.
        airflow: says what Airflow still wants; ``None``: everything.
    """

    def __init__(
        self,
        compute: Compute,
        pool: Executor,
        clock: Clock,
        timing: Timing,
        inbox: FleetInbox | None = None,
        *,
        meter: Meter | None = None,
        airflow: AirflowState | None = None,
    ) -> None:
        meter = meter or NoMeter()
        self._inbox = inbox or FleetInbox()
        calls = Calls(pool, self._inbox, clock, meter)
        self._context = context = FleetContext(compute, clock, timing, calls, meter, self)
        self._stopping = Stopping(context)
        self._landing = Landing(context, self._stopping)
        self._renewing = Renewing(context, self._stopping)
        self._confirming = Confirming(context, self._landing, airflow)
        self._watching = Watching(context, self._renewing, self._confirming)
        self._finding = AttemptFinder(context, self._stopping, self._landing)
        self._launching = Launching(context, self._watching, self._landing)
        self._asking = Asking(context, self._landing, airflow)
        # In this order: what ends work and frees slots comes before what begins it.
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
        self._gauged = clock()
        self._closed = False

    # For the scheduler's thread and the events' thread: these never wait.

    def order(self, order: Order) -> None:
        """Takes a workload to run."""
        self._inbox.put(NewOrder(order))

    def revoke(self, key: Hashable, why: str) -> None:
        """Stops everything with that key, without further news about it."""
        self._inbox.put(Revocation(key, why))

    def sighted(self, observations: Sequence[Observation]) -> list[str]:
        """Takes observations from events: at least once, in any order; returns the refs of strangers among
        them."""
        self._inbox.put(Sightings(list(observations)))
        return self._watching.strangers(observations)

    def hear(self, well: bool) -> None:
        """Whether events arrive now; if not, the fleet polls as often as without events."""
        self._inbox.put(EventsHeard(well))

    def next_news(self) -> News | None:
        """The oldest news that was not taken yet."""
        news = self._context.news
        return news.popleft() if news else None

    def drain(self) -> list[News]:
        """All news since the last time."""
        return list(iter(self.next_news, None))

    def close(self) -> None:
        """From now on nothing is launched, polled or stopped; calls in progress finish."""
        self._closed = True
        self._inbox.ring()

    # For the background thread.

    @property
    def launching(self) -> bool:
        """Whether a submit call is in progress."""
        return self._launching.limiter.calls > 0

    def step(self) -> float:
        """Handles what happened, starts all calls that are due; returns the seconds until there is more to do."""
        for message in self._inbox.take():
            try:
                self._receive(message)
            except Exception:
                # An error in one result must not keep us from handling the others.
                log.exception("a mistake in the executor's background thread, please report it")
        if self._closed:
            # The answer to the last launch may have been in the inbox: nobody else wakes us now.
            return LONGEST_REST if self.launching else SHORTEST_REST
        now = self._context.clock()
        for part in self._parts:
            part.step(now)
        self._gauge(now)
        return min(LONGEST_REST, max(SHORTEST_REST, min(part.next(now) for part in self._parts) - now))

    def _receive(self, message: Message) -> None:
        match message:
            case NewOrder(order):
                self._take(order)
            case Revocation(key, why):
                self._revoke(key, why)
            case Sightings(observations):
                self._watching.sighted(observations)
            case EventsHeard(well):
                self._watching.hear(well)
            case CallOver():
                self._context.calls.over(message)
            case _:
                assert_never(message)

    def _take(self, order: Order) -> None:
        now = self._context.clock()
        flight = Flight(order, since=now, due=now, changed=now, began=order.began, alone=not order.adopted)
        self._context.index.add(flight)
        if order.ref:
            self._context.index.place(flight, order.ref)
        self.route(flight)

    def _revoke(self, key: Hashable, why: str) -> None:
        for flight in self._context.index.of_key(key):
            if not flight.over:
                flight.revoked = why
                flight.due = self._context.clock()
                leave(flight)
                if not flight.busy:
                    self.route(flight)

    def route(self, flight: Flight) -> None:
        """See ``Router``. Uses ``Flight.verb``."""
        if flight.ending:
            # Airflow's answer will say what is next.
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
        if now - self._gauged < self._context.timing.gauge:
            return
        self._gauged = now
        pending = waiting = running = 0
        oldest = now
        for flight in self._context.index:
            if flight.phase is Phase.RUNNING or flight.began:
                running += 1
                continue
            pending += not flight.ref
            waiting += bool(flight.ref)
            oldest = min(oldest, flight.since)
        meter = self._context.meter
        meter.gauge("pending", pending)
        meter.gauge("waiting", waiting)
        meter.gauge("running", running)
        meter.gauge("oldest_pending_seconds", now - oldest)
        meter.gauge("launch_rate", self._launching.limiter.rate.rate)
