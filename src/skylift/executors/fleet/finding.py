"""Finding: searches for the container of a launch whose ref nobody knows: another scheduler's, or one whose call got no
answer."""

from __future__ import annotations

from functools import partial

from skylift.core.attempt import Census, Observation, Phase, Verdict
from skylift.core.errors import SkyliftError
from skylift.executors.fleet.due_queue import DueQueue
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import Flight
from skylift.executors.fleet.landing import Landing
from skylift.executors.fleet.rate_limiter import back_off
from skylift.executors.fleet.stopping import Stopping

LOOKS_FOR_IT = 2
"""How often an empty answer is asked again, because lists are eventually consistent."""


CROWD = 20
"""If so many wait to be found, use one list of everything alive, if the compute has a ``Census``."""


class AttemptFinder:
    def __init__(self, context: FleetContext, stopping: Stopping, landing: Landing) -> None:
        self._context = context
        self._stopping = stopping
        self._landing = landing
        self._line = DueQueue()
        self._listing = False
        self._listed_at = float("-inf")
        self._limiter = context.limiter("find", context.timing.looks, context.timing.half)

    def put(self, flight: Flight) -> None:
        """Its container is to be searched for when it is due."""
        self._line.put(flight)

    def step(self, now: float) -> None:
        """Starts the searches that are due."""
        compute = self._context.compute
        crowd = len(self._line) >= CROWD and now - self._listed_at > self._context.timing.reconcile
        if crowd and isinstance(compute, Census) and self._limiter.open(now):
            self._listing, self._listed_at = True, now
            self._context.calls.make(self._limiter, compute.census, self._listed)
        while not self._listing and self._line.due() <= now and self._limiter.open(now):
            (flight,) = self._line.take(now)
            flight.busy = True
            call = partial(self._context.compute.find, flight.attempt())
            self._context.calls.make(self._limiter, call, partial(self._found, flight))

    def next(self, now: float) -> float:
        """When there is more to do."""
        due = float("inf") if self._listing else self._line.due()
        return max(due, self._limiter.ready(now)) if due <= now else due

    def _listed(self, result: dict[str, list[str]] | SkyliftError) -> None:
        now = self._context.clock()
        self._listing = False
        if isinstance(result, SkyliftError):
            self._limiter.complain(now, f"All containers cannot be listed, each is looked for by itself: {result}")
            return
        for flight in self._line:
            if flight.order.external_id in result:
                self._is_there(flight, result[flight.order.external_id], now)

    def _found(self, flight: Flight, result: list[str] | SkyliftError) -> None:
        now = self._context.clock()
        flight.busy = False
        if isinstance(result, SkyliftError):
            self._limiter.failed(now, f"Looking for the container of {flight.order.key} failed, trying again: {result}")
            flight.due = now
        elif result:
            self._is_there(flight, result, now)
            return
        elif flight.failures < LOOKS_FOR_IT:
            flight.failures += 1
            flight.due = now + back_off(flight.failures, first=2.0)
        else:
            self._is_nowhere(flight)
            return
        self._context.router.route(flight)

    def _is_there(self, flight: Flight, refs: list[str], now: float) -> None:
        if flight.revoked:
            for ref in refs[:-1]:
                self._stopping.stop(ref, flight.revoked)
        self._limiter.went_well()
        self._context.index.place(flight, refs[-1])
        flight.failures, flight.due, flight.changed = 0, now, now
        self._context.router.route(flight)

    def _is_nowhere(self, flight: Flight) -> None:
        if flight.revoked:
            self._landing.forget(flight)
            return
        gone = Observation(
            "", Phase.MISSING, reason="no container of it is known any more; Airflow's heartbeat decides"
        )
        self._landing.end(flight, Verdict.GONE, gone)
