"""Asking: whether Airflow still wants what has not begun. So what a user cancelled is not launched, and does not wait
for ever.

Airflow does not tell an executor when a queued task instance is marked, cleared or deleted. A container that starts
then is refused and ends. So correctness never needs these questions, they only save containers. The fleet asks before
each repeated launch, and every half minute about everything that waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from skylift.core.attempt import Phase
from skylift.core.errors import SkyliftError
from skylift.executors.fleet.due_queue import DueQueue
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import AirflowState, Flight
from skylift.executors.fleet.landing import Landing

MOST_PER_QUESTION = 500

NOT_WANTED = "Airflow does not want it any more (marked, cleared or deleted): its container is stopped, none follows"


class Asking:
    """Asks Airflow what is still wanted. Without ``airflow`` everything is."""

    def __init__(self, context: FleetContext, landing: Landing, airflow: AirflowState | None) -> None:
        self._context = context
        self._landing = landing
        self._airflow = airflow
        self._line = DueQueue()
        self._round: list[Flight] = []
        self._next_round = context.clock() + context.timing.ask
        self._limiter = context.limiter("ask", 5.0, 1)

    def put(self, flight: Flight) -> None:
        """It is to be asked about before its launch, when it is due."""
        if self._airflow is None or not flight.order.subject:
            flight.doubt = False
            self._context.router.route(flight)
        else:
            self._line.put(flight)

    def step(self, now: float) -> None:
        """Asks about those in doubt, and one after the other about all that wait."""
        if self._airflow is None or self.next(now) > now or not self._limiter.open(now):
            return
        if now >= self._next_round and not self._round:
            self._next_round = now + self._context.timing.ask
            self._round = [flight for flight in self._context.index if self._waits(flight, now)]
        doubtful = self._line.take(now, MOST_PER_QUESTION)
        for flight in doubtful:
            flight.busy = True
        room = MOST_PER_QUESTION - len(doubtful)
        others, self._round = self._round[:room], self._round[room:]
        if doubtful or others:
            orders = [flight.order for flight in (*doubtful, *others)]
            self._context.calls.make(
                self._limiter, partial(self._airflow.wanted, orders), partial(self._answered, doubtful, others)
            )

    def next(self, now: float) -> float:
        """When there is more to do."""
        if self._airflow is None:
            return float("inf")
        due = (
            now
            if self._round
            else min(self._line.due(), self._next_round if self._context.timing.ask else float("inf"))
        )
        return max(due, self._limiter.ready(now)) if due <= now else due

    def _waits(self, flight: Flight, now: float) -> bool:
        young = now - flight.since < self._context.timing.ask
        waits = flight.phase is Phase.WAITING and not flight.began and not flight.order.began
        return waits and not young and not flight.over and not flight.revoked and bool(flight.order.subject)

    def _answered(
        self, doubtful: Sequence[Flight], others: Sequence[Flight], result: Collection[str] | SkyliftError
    ) -> None:
        now = self._context.clock()
        if isinstance(result, SkyliftError):
            self._limiter.complain(now, f"Airflow's database does not say what is still wanted, all goes on: {result}")
        for flight in doubtful:
            flight.busy, flight.doubt = False, False
        waits = {*doubtful}
        for flight in (*doubtful, *others):
            unwanted = not isinstance(result, SkyliftError) and flight.order.subject not in result
            if flight.over or flight.busy:
                continue
            if unwanted and not flight.revoked and flight.phase is Phase.WAITING:
                flight.revoked = NOT_WANTED
                self._landing.unwanted(flight, NOT_WANTED)
                self._context.router.route(flight)
            elif flight in waits and _runs(result, flight):
                self._landing.came_late(flight)
            elif flight in waits:
                flight.due = now
                self._context.router.route(flight)


def _runs(answer: Collection[str] | SkyliftError, flight: Flight) -> bool:
    """Whether Airflow considers it running, in a container that has ended."""
    state = answer.get(flight.order.subject) if isinstance(answer, Mapping) else None
    return state == "running" and flight.alone and flight.number > 1 and not flight.revoked
