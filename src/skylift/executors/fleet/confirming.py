"""Confirming: before an end is settled, asks Airflow for the state of the task instance, which tells whether it began.

A container's exit code tells how far its program came, if the program started at all. After a SIGKILL, or with an image
that does not run the command, the code tells nothing. Airflow's database knows: what is still queued there never
began, and what is still running there has nobody left to end it. One query covers everything that ended at the same
moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from skylift.core.attempt import Observation, Phase, Verdict
from skylift.core.errors import SkyliftError
from skylift.executors.fleet.asking import MOST_PER_QUESTION
from skylift.executors.fleet.due_queue import leave
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import AirflowState, Flight
from skylift.executors.fleet.landing import Landing
from skylift.executors.fleet.settle import Standing, corrected

QUESTIONS = 20.0
"""Most queries per second; each is for all ends since the one before."""

MOST_TRIES = 5
"""After so many failed queries, an end is settled by what the container said; with back-off this is about 15
seconds."""


@dataclass(slots=True)
class End:
    """An end that is not settled yet."""

    flight: Flight
    means: Verdict
    seen: Observation
    tries: int = 0


class Confirming:
    """Without ``airflow``, and for what Airflow's database does not contain, ends are settled as observed."""

    def __init__(self, context: FleetContext, landing: Landing, airflow: AirflowState | None) -> None:
        self._context = context
        self._landing = landing
        self._airflow = airflow
        self._ends: deque[End] = deque()
        self._limiter = context.limiter("confirm", QUESTIONS, 1)

    def end(self, flight: Flight, means: Verdict, seen: Observation) -> None:
        """An attempt has ended (``means`` is not ``UNDERWAY``)."""
        if self._airflow is None or not flight.order.subject or seen.phase is not Phase.STOPPED:
            self._landing.end(flight, means, seen)
            return
        flight.ending = True
        leave(flight)
        self._ends.append(End(flight, means, seen))

    def step(self, now: float) -> None:
        """Asks about everything that has ended."""
        while self._airflow is not None and self._ends and self._limiter.open(now):
            page = [self._ends.popleft() for _ in range(min(len(self._ends), MOST_PER_QUESTION))]
            orders = [one.flight.order for one in page]
            self._context.calls.make(
                self._limiter, partial(self._airflow.wanted, orders), partial(self._answered, page)
            )

    def next(self, now: float) -> float:
        """When there is more to do."""
        return self._limiter.ready(now) if self._ends else float("inf")

    def _answered(self, page: list[End], result: Collection[str] | SkyliftError) -> None:
        now = self._context.clock()
        if isinstance(result, SkyliftError):
            self._limiter.failed(
                now, f"Airflow's database does not say how task instances stand, asking again: {result}"
            )
            for one in reversed(page):
                one.tries += 1
                if one.tries < MOST_TRIES:
                    self._ends.appendleft(one)
            page = [one for one in page if one.tries >= MOST_TRIES]
        else:
            self._limiter.went_well()
        for one in page:
            self._settle(one, standing(result, one.flight.order.subject))

    def _settle(self, one: End, stands: Standing) -> None:
        flight = one.flight
        flight.ending = False
        if flight.over:
            return
        if flight.revoked:
            if not flight.busy:
                self._context.router.route(flight)
            return
        means = corrected(one.means, one.seen, stands, alone=flight.alone)
        self._landing.end(flight, means, one.seen, stands)


def standing(answer: Collection[str] | SkyliftError, subject: str) -> Standing:
    """The state of a task instance, from the answer about several."""
    if not isinstance(answer, Mapping):
        return Standing.UNKNOWN
    if subject not in answer:
        return Standing.ELSEWHERE
    return Standing(answer[subject])
