"""The fleet: all attempts of one executor on their way, flown by one background thread and a bounded pool for the network.

The scheduler's thread only puts orders in and takes news out; neither waits. All decisions are made in ``step``, by one
thread and on a clock that is passed in; calls to the compute run in the pool and put their results into the same inbox
as the orders. Later sources of observations (events from a queue) put theirs there as well.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from skylift.core.attempt import Compute, Observation, Phase, Submission, Verdict, verdict
from skylift.core.clock import Clock
from skylift.core.errors import Broken, Refused, SkyliftError, Unavailable
from skylift.executors.flight import Flight, News, Order, Stage
from skylift.executors.pace import Pace, back_off
from skylift.executors.settle import settle

log = logging.getLogger(__name__)
R = TypeVar("R")

LOOKS_FOR_IT = 2
"""Empty answers that are asked again when a container is looked for after a restart."""


@dataclass(frozen=True)
class Rhythm:
    """How often, how many, how long.

    Attributes:
        young, old: seconds between two looks at an attempt whose phase changed lately, and at others.
        youth: seconds for which an attempt counts as young after each change of its phase.
        grace: seconds for which MISSING means nothing.
        most_attempts: containers for one launch.
        launches: submit calls a second.
        looks: observe calls a second, all attempts together.
        calls: calls of one verb at the same time.
        look_all: seconds that one page of attempts costs at least: with many pages, old ones are looked at less often.
        linger: seconds that an attempt with kin waits for others of its kin before it is submitted.
        eventful: changes come by events (``sighted``), so that looking is only a safety net.
        reconcile: with events, seconds between two looks at an attempt.
    """

    young: float = 1.0
    old: float = 10.0
    youth: float = 60.0
    grace: float = 300.0
    most_attempts: int = 3
    launches: float = 20.0
    looks: float = 10.0
    calls: int = 8
    look_all: float = 1.0
    linger: float = 0.0
    eventful: bool = False
    reconcile: float = 300.0


@dataclass
class Lane:
    """The calls of one verb: how many are on their way, how fast they may go, when they may go on after an error."""

    pace: Pace
    calls: int = 0
    failures: int = 0
    closed_until: float = field(default=float("-inf"))
    quiet_until: float = field(default=float("-inf"))
    unsaid: int = 0

    def open(self, now: float, most: int) -> bool:
        """Whether a call may be made now; counts it when it may."""
        return self.calls < most and now >= self.closed_until and self.pace.take(now)

    def complain(self, now: float, text: str) -> None:
        """Logs a warning, at most one in 30 seconds with the number of those that were left out."""
        if now < self.quiet_until:
            self.unsaid += 1
            return
        log.warning("%s%s", text, f" (and {self.unsaid} more)" if self.unsaid else "")
        self.quiet_until, self.unsaid = now + 30, 0


class Fleet:
    """See the file's text.

    Args:
        compute: where attempts run.
        pool: runs the calls; any ``Executor``.
        clock: seconds; must not run back.
        ring: called when there is something new to decide, from any thread.
    """

    def __init__(
        self, compute: Compute, pool: Executor, clock: Clock, rhythm: Rhythm, ring: Callable[[], None] = lambda: None
    ) -> None:
        self._compute = compute
        self._pool = pool
        self._clock = clock
        self._rhythm = rhythm
        self._ring = ring
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._news: deque[News] = deque()
        self._flights: list[Flight] = []
        self._submits = Lane(Pace(rhythm.launches, rhythm.launches))
        self._looks = Lane(Pace(rhythm.looks, rhythm.looks))
        self._others = Lane(Pace(rhythm.looks, rhythm.looks))
        self._closed = False

    # For the scheduler's thread: these never wait.

    def order(self, order: Order) -> None:
        """Takes a workload to run."""
        self._tell(partial(self._take, order))

    def revoke(self, key: Hashable, why: str) -> None:
        """Stops everything of that key, and says no more of it."""
        self._tell(partial(self._revoke, key, why))

    def sighted(self, observations: Sequence[Observation]) -> list[str]:
        """Takes observations that came without asking: at least once, in any order; the refs of strangers among them."""
        self._tell(partial(self._sighted, list(observations)))
        return []

    def hear(self, well: bool) -> None:
        """Whether observations do come without asking now; if not, looks follow the rhythm without events."""

    def drain(self) -> list[News]:
        """The news since the last time."""
        news: list[News] = []
        while self._news:
            news.append(self._news.popleft())
        return news

    def close(self) -> None:
        """From now on nothing is launched, looked at or stopped; calls on their way come to their end."""
        self._closed = True
        self._ring()

    # For the background thread.

    @property
    def launching(self) -> bool:
        """Whether a submit call is on its way."""
        return self._submits.calls > 0

    def step(self) -> float:
        """Takes in what happened, starts all calls that are due; the seconds until there is more to do."""
        while True:
            try:
                self._inbox.get_nowait()()
            except Empty:
                break
        if self._closed:
            return 60.0
        now = self._clock()
        idle = [flight for flight in self._flights if not flight.busy]
        self._submit([one for one in idle if not one.ref and not one.order.began and one.due <= now], now)
        self._find([one for one in idle if not one.ref and one.order.began and one.due <= now], now)
        self._stop([one for one in idle if one.ref and one.revoked and one.due <= now], now)
        self._look([one for one in idle if one.ref and not one.revoked], now)
        return self._rest(now)

    def _rest(self, now: float) -> float:
        dues = [flight.due for flight in self._flights if not flight.busy]
        if not dues:
            return 60.0
        lanes = [lane.closed_until for lane in (self._submits, self._looks) if lane.closed_until > now]
        return max(0.05, min(dues) - now, min(lanes, default=now) - now if min(dues) <= now else 0.0)

    # Orders.

    def _take(self, order: Order) -> None:
        now = self._clock()
        self._flights.append(Flight(order, due=now, changed=now, began=order.began))

    def _revoke(self, key: Hashable, why: str) -> None:
        for flight in [one for one in self._flights if one.order.key == key]:
            flight.revoked = why
            flight.due = self._clock()
            if not flight.busy and not flight.ref:
                self._flights.remove(flight)

    # Submit.

    def _submit(self, due: Sequence[Flight], now: float) -> None:
        for flights in _pages(sorted(due, key=lambda one: one.due), self._compute.most_per_submit):
            if not self._submits.open(now, self._rhythm.calls):
                return
            attempts = [flight.attempt() for flight in flights]
            self._call(self._submits, flights, partial(self._compute.submit, attempts), self._submitted)

    def _submitted(self, flights: Sequence[Flight], result: list[Submission] | SkyliftError) -> None:
        if isinstance(result, SkyliftError):
            unlikely = {"later" if isinstance(result, Unavailable) else "refused": str(result)}
            result = [Submission(**unlikely) for _ in flights]  # type: ignore[arg-type]
        for flight, answer in zip(flights, result, strict=True):
            self._answered(flight, answer)

    def _answered(self, flight: Flight, answer: Submission) -> None:
        now = self._clock()
        if answer.ref:
            flight.ref, flight.failures = answer.ref, 0
            flight.phase, flight.changed = Phase.WAITING, now
            flight.due = now if flight.revoked else now + self._rhythm.young
        elif flight.revoked:
            # Asked for in a call that perhaps did succeed unseen: the next submit with the same token would tell, and
            # Airflow's API refuses the container its start anyway.
            self._flights.remove(flight)
        elif answer.later:
            flight.failures += 1
            flight.due = now + back_off(flight.failures)
            if answer.throttled:
                self._submits.pace.slow_down(now)
            self._submits.complain(now, f"{flight.order.key} waits, attempt {flight.number}: {answer.later}")
        else:
            self._end(flight, Verdict.DIED, None, answer.refused)

    # Look.

    def _look(self, flights: Sequence[Flight], now: float) -> None:
        size = self._compute.most_per_observe
        waiting = sorted(flights, key=lambda one: one.due)
        # Pages are filled up with those that are due next: it costs nothing and saves a call later.
        for page in _pages(waiting, size):
            if page[0].due > now or not self._looks.open(now, max(1, self._rhythm.calls // 2)):
                return
            refs = [flight.ref for flight in page]
            self._call(self._looks, page, partial(self._compute.observe, refs), self._looked)

    def _looked(self, flights: Sequence[Flight], result: list[Observation] | SkyliftError) -> None:
        now = self._clock()
        if isinstance(result, SkyliftError):
            self._looks.failures += 1
            self._looks.closed_until = now + back_off(self._looks.failures)
            self._looks.complain(now, f"Looking at {len(flights)} attempts failed, trying again: {result}")
            return
        self._looks.failures = 0
        seen = {one.ref: one for one in result}
        for flight in flights:
            observation = seen.get(flight.ref) or Observation(flight.ref, Phase.MISSING, reason="no answer")
            self.observed(flight, observation)

    def _sighted(self, observations: Sequence[Observation]) -> None:
        flights = {flight.ref: flight for flight in self._flights}
        for one in observations:
            if one.ref in flights and flights[one.ref] in self._flights:
                self.observed(flights[one.ref], one)

    def observed(self, flight: Flight, seen: Observation) -> None:
        """Draws the consequences of one observation."""
        now = self._clock()
        if flight.revoked:
            return
        if seen.phase is Phase.MISSING:
            flight.missing_since = flight.missing_since if flight.missing_since is not None else now
        else:
            flight.missing_since = None
            self._moved(flight, seen, now)
        missing_for = now - flight.missing_since if flight.missing_since is not None else 0.0
        means = verdict(seen, ever_began=flight.began, missing_for=missing_for, grace=self._rhythm.grace)
        if means is Verdict.UNDERWAY:
            flight.due = now + self._interval(flight, now)
        else:
            self._end(flight, means, seen.exit_code, seen.reason)

    def _moved(self, flight: Flight, seen: Observation, now: float) -> None:
        if seen.phase is not flight.phase:
            flight.phase, flight.changed = seen.phase, now
            if seen.phase is Phase.RUNNING:
                self._news.append(News(flight.order, Stage.RUNNING, reason=seen.ref))
        flight.began = flight.began or seen.began

    def _interval(self, flight: Flight, now: float) -> float:
        if now - flight.changed < self._rhythm.youth and flight.missing_since is None:
            return self._rhythm.young
        pages = len(self._flights) / self._compute.most_per_observe
        return max(self._rhythm.old, pages * self._rhythm.look_all)

    # Ends.

    def _end(self, flight: Flight, means: Verdict, exit_code: int | None, reason: str) -> None:
        order = flight.order
        most = self._rhythm.most_attempts if order.repeat else flight.number
        settlement = settle(means, exit_code, order.kind, number=flight.number, most=most)
        if settlement.repeat:
            self._repeat(flight, reason)
            return
        self._flights.remove(flight)
        self._news.append(News(order, Stage.ENDED, settlement.event, reason, settlement.record))

    def _repeat(self, flight: Flight, reason: str) -> None:
        now = self._clock()
        text = f"attempt {flight.number} never began, another follows: {reason}"
        self._news.append(News(flight.order, Stage.REPEATED, reason=text, record=True))
        if flight.missing_since is not None:
            # What ECS has forgotten may still exist; its stop costs one call, a double would cost a container.
            self._call(self._others, [], partial(self._compute.stop, flight.ref, text), lambda *_: None)
        flight.due = now + back_off(flight.number, first=2.0)
        flight.number += 1
        flight.ref, flight.began, flight.missing_since, flight.phase = "", False, None, Phase.WAITING

    # Find and stop.

    def _find(self, flights: Sequence[Flight], now: float) -> None:
        for flight in flights:
            if not self._others.open(now, max(1, self._rhythm.calls // 2)):
                return
            self._call(self._others, [flight], partial(self._compute.find, flight.attempt()), self._found)

    def _found(self, flights: Sequence[Flight], result: list[str] | SkyliftError) -> None:
        (flight,) = flights
        if isinstance(result, SkyliftError):
            self._try_later(flight, "Looking for the container", result)
        elif result:
            flight.ref, flight.failures, flight.due = result[-1], 0, self._clock()
        elif flight.revoked:
            self._flights.remove(flight)
        elif flight.failures < LOOKS_FOR_IT:
            # Lists are eventually consistent: one empty answer is not yet an answer.
            flight.failures += 1
            flight.due = self._clock() + back_off(flight.failures, first=2.0)
        else:
            self._end(flight, Verdict.GONE, None, "no container of it is known any more; Airflow's heartbeat decides")

    def _stop(self, flights: Sequence[Flight], now: float) -> None:
        for flight in flights:
            if not self._others.open(now, max(1, self._rhythm.calls // 2)):
                return
            self._call(self._others, [flight], partial(self._compute.stop, flight.ref, flight.revoked), self._stopped)

    def _stopped(self, flights: Sequence[Flight], result: SkyliftError | None) -> None:
        for flight in flights:
            if isinstance(result, SkyliftError) and not isinstance(result, Refused):
                self._try_later(flight, "Stopping", result)
            else:
                self._flights.remove(flight)

    def _try_later(self, flight: Flight, doing: str, error: SkyliftError) -> None:
        flight.failures += 1
        now = self._clock()
        flight.due = now + back_off(flight.failures)
        self._others.complain(now, f"{doing} of {flight.order.key} failed, trying again: {error}")

    # Calls.

    def _tell(self, what: Callable[[], None]) -> None:
        self._inbox.put(what)
        self._ring()

    def _call(
        self,
        lane: Lane,
        flights: Sequence[Flight],
        call: Callable[[], R],
        then: Callable[[Sequence[Flight], Any], None],
    ) -> None:
        for flight in flights:
            flight.busy = True
        lane.calls += 1

        def run() -> None:
            result: R | SkyliftError
            try:
                result = call()
            except SkyliftError as error:
                result = error
            except Exception as error:  # noqa: BLE001  a compute broke its contract; its flights must still land
                result = Broken(f"{type(error).__name__}: {error}")
            self._tell(partial(self._returned, lane, flights, result, then))

        self._pool.submit(run)

    def _returned(
        self, lane: Lane, flights: Sequence[Flight], result: Any, then: Callable[[Sequence[Flight], Any], None]
    ) -> None:
        lane.calls -= 1
        for flight in flights:
            flight.busy = False
        then(flights, result)


def _pages(flights: Sequence[Flight], size: int) -> list[Sequence[Flight]]:
    return [flights[start : start + size] for start in range(0, len(flights), size)]
