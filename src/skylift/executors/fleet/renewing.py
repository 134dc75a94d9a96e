"""Renewing: what waits long for its container gets a token that is still valid when the container starts.

A token is valid for ``[scheduler] task_queued_timeout``. At half of that time, and again after each further half, the
compute writes a fresh one to the workload's object. If the workload is in the command, it cannot be changed. Then, near
the end, the waiting container is stopped and another attempt follows. This loses its place in the queue, but the place
would be worth nothing with an expired token.
"""

from __future__ import annotations

import heapq
from functools import partial
from itertools import count

from skylift.core.attempt import SUPERSEDED, Phase
from skylift.core.errors import SkyliftError
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import Flight
from skylift.executors.fleet.rate_limiter import back_off
from skylift.executors.fleet.stopping import Stopping

TOO_OLD = f"{SUPERSEDED}: the workload's token is too old and cannot be renewed in its command"


class Renewing:
    """Renews tokens. It works beside the due queues: a flight is also polled while it waits to be renewed."""

    def __init__(self, context: FleetContext, stopping: Stopping) -> None:
        self._context = context
        self._stopping = stopping
        self._heap: list[tuple[float, int, str, Flight]] = []
        self._order = count()
        self._limiter = context.limiter("renew", context.timing.looks, 2)

    def put(self, flight: Flight) -> None:
        """Its container waits from now on."""
        if self._context.timing.token > 0:
            self._push(flight, self._context.clock() + self._context.timing.token / 2)

    def step(self, now: float) -> None:
        """Starts the renewals that are due."""
        while self.next(now) <= now and self._limiter.open(now):
            flight = heapq.heappop(self._heap)[3]
            call = partial(self._context.compute.renew, flight.attempt(), flight.ref)
            self._context.calls.make(self._limiter, call, partial(self._renewed, flight, flight.ref))

    def next(self, now: float) -> float:
        """When there is more to do."""
        heap = self._heap
        while heap and not _waits(heap[0][3], heap[0][2]):
            heapq.heappop(heap)
        due = heap[0][0] if heap else float("inf")
        return max(due, self._limiter.ready(now)) if due <= now else due

    def _renewed(self, flight: Flight, ref: str, result: bool | SkyliftError) -> None:
        if not _waits(flight, ref):
            return
        now, token = self._context.clock(), self._context.timing.token
        if isinstance(result, SkyliftError):
            self._limiter.failed(now, f"{flight.order.key}: its token cannot be renewed now, trying again: {result}")
            self._push(flight, now + back_off(1))
        elif result:
            self._push(flight, now + token / 2)
        elif now - flight.changed < 0.9 * token:
            self._push(flight, flight.changed + 0.9 * token)
        else:
            # Its end must be seen before the next attempt, or two could start; ``Landing`` ensures this.
            flight.superseded = True
            flight.due = now
            self._stopping.stop(flight.ref, TOO_OLD)
            if not flight.busy:
                self._context.router.route(flight)

    def _push(self, flight: Flight, due: float) -> None:
        heapq.heappush(self._heap, (due, next(self._order), flight.ref, flight))


def _waits(flight: Flight, ref: str) -> bool:
    """Whether it still waits for the same container."""
    same = flight.ref == ref and not flight.over
    return same and flight.phase is Phase.WAITING and not flight.superseded and not flight.revoked
