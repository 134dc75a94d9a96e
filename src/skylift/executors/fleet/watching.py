"""Watching: polls containers, rarely if events report them, and decides what an observation means for a flight."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from skylift.core.attempt import Observation, Phase, Verdict, verdict
from skylift.core.errors import SkyliftError
from skylift.executors.fleet.confirming import Confirming
from skylift.executors.fleet.due_queue import DueQueue
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import Flight, News, Stage
from skylift.executors.fleet.renewing import Renewing
from skylift.executors.fleet.settle import WorkloadKind

SILENCE = 120.0
"""If a poll finds a change and there was no event for this many seconds, events do not arrive any more."""

FRUITFUL = 10
"""If one poll finds this many ends, poll two more pages at once, because many containers end together."""


class Watching:
    def __init__(self, context: FleetContext, renewing: Renewing, confirming: Confirming) -> None:
        self._context = context
        self._renewing = renewing
        self._confirming = confirming
        self._line = DueQueue()
        self._well = False
        self._heard_at = float("-inf")
        self._ahead = 0
        self._limiter = context.limiter("observe", context.timing.looks, context.timing.half)

    def placed(self, flight: Flight) -> None:
        """It has a container now."""
        now = self._context.clock()
        self._renewing.put(flight)
        flight.due = now + self._interval(flight, now)
        early = self._context.index.arrived(flight.ref)
        if early is not None and not flight.revoked:
            flight.told = True
            self.observed(flight, early)
        else:
            self._context.router.route(flight)

    def put(self, flight: Flight) -> None:
        """It is to be polled when it is due."""
        self._line.put(flight)

    def step(self, now: float) -> None:
        """Starts all polls that are due."""
        while self._due(now) <= now and self._limiter.open(now):
            # Fill pages with those that are due soon: this costs nothing and saves a call later.
            until = float("inf") if self._ahead else now + self._context.timing.old
            self._ahead = max(0, self._ahead - 1)
            page = self._line.take(until, self._context.compute.most_per_observe)
            for flight in page:
                flight.busy = True
            refs = [flight.ref for flight in page]
            call = partial(self._context.compute.observe, refs)
            self._context.calls.make(self._limiter, call, partial(self._looked, page, refs))

    def next(self, now: float) -> float:
        """When there is more to do."""
        due = self._due(now)
        return max(due, self._limiter.ready(now)) if due <= now else due

    def _due(self, now: float) -> float:
        due = self._line.due()
        return min(due, now) if self._ahead and due < float("inf") else due

    def _looked(self, page: Sequence[Flight], refs: Sequence[str], result: list[Observation] | SkyliftError) -> None:
        now = self._context.clock()
        seen: dict[str, Observation] = {}
        if isinstance(result, SkyliftError):
            self._limiter.failed(now, f"Looking at {len(page)} attempts failed, trying again: {result}")
        else:
            self._limiter.went_well()
            seen = {one.ref: one for one in result}
        ends = 0
        for flight, ref in zip(page, refs, strict=True):
            flight.busy = False
            if flight.over:
                continue
            if flight.ref != ref:
                # An event was faster: it is already another attempt.
                self._context.router.route(flight)
            elif isinstance(result, SkyliftError):
                flight.due = now
                self._context.router.route(flight)
            else:
                observation = seen.get(ref) or Observation(ref, Phase.MISSING, reason="no answer")
                flight.looks += 1
                self._note_drift(flight, observation, now)
                self.observed(flight, observation)
                ends += flight.over or flight.ending or flight.ref != ref
        if ends >= FRUITFUL:
            pages = -(-len(self._context.index) // self._context.compute.most_per_observe)
            self._ahead = min(self._ahead + 2, pages)

    # Events.

    def strangers(self, observations: Sequence[Observation]) -> list[str]:
        """The refs that are not ours. From any thread."""
        return [one.ref for one in observations if not self._context.index.knows(one)]

    def sighted(self, observations: Sequence[Observation]) -> None:
        """Acts on events."""
        now = self._context.clock()
        index, meter = self._context.index, self._context.meter
        for one in observations:
            flight = index.of_ref(one.ref)
            if flight is not None:
                self._heard_at = now
                flight.told = True
                meter.count("events", use="old" if 0 < one.version < flight.version else "news")
                self.observed(flight, one)
            elif index.landed(one.ref):
                meter.count("events", use="old")
            elif index.knows(one):
                meter.count("events", use="early")
                index.early(one, now)
            else:
                meter.count("events", use="stranger")

    def hear(self, well: bool) -> None:
        """Whether events can be relied upon from now on; reschedules all polls accordingly."""
        if self._well == well:
            return
        self._well = well
        self._heard_at = self._context.clock()
        self._respace()

    def _hearing(self) -> bool:
        return self._context.timing.eventful and self._well

    def _note_drift(self, flight: Flight, seen: Observation, now: float) -> None:
        if not (flight.told and self._hearing()) or seen.phase in {flight.phase, Phase.MISSING}:
            return
        self._context.meter.count("drift")
        self._limiter.complain(now, f"{flight.order.key}: no event told that it is {seen.phase}; a look found it")
        if now - self._heard_at > SILENCE:
            # The rule or its target is gone, although the queue answers: treat every flight as one without events.
            for other in self._context.index:
                other.told = False
            self._heard_at = now
            self._respace()

    def _respace(self) -> None:
        now = self._context.clock()
        for flight in self._context.index:
            if flight.ref and flight.ticket and not flight.over:
                flight.due = now + self._interval(flight, now)
                self._line.put(flight)

    # What an observation means.

    def observed(self, flight: Flight, seen: Observation) -> None:
        """Acts on one observation; the flight goes on, or lands."""
        now = self._context.clock()
        if flight.over or flight.ending:
            return
        if flight.revoked or _old(flight, seen):
            self._again(flight, now)
            return
        if seen.phase is Phase.MISSING:
            flight.missing_since = now if flight.missing_since is None else flight.missing_since
        else:
            flight.missing_since = None
            self._moved(flight, seen, now)
        missing_for = now - flight.missing_since if flight.missing_since is not None else 0.0
        grace = self._context.timing.grace
        means = verdict(seen, ever_began=flight.began, missing_for=missing_for, grace=grace)
        if means is Verdict.UNDERWAY:
            self._again(flight, now)
        else:
            self._confirming.end(flight, means, seen)

    def _moved(self, flight: Flight, seen: Observation, now: float) -> None:
        flight.version = max(flight.version, seen.version)
        began = seen.began and not flight.began
        flight.began = flight.began or seen.began
        if seen.phase is not flight.phase:
            if began and not flight.order.adopted:
                self._context.meter.time("start_seconds", now - flight.changed, **self._context.tags(flight))
            flight.phase, flight.changed = seen.phase, now
            if seen.phase is Phase.RUNNING and flight.order.kind is not WorkloadKind.TASK:
                self._context.news.append(News(flight.order, Stage.RUNNING, reason=seen.ref))

    def _again(self, flight: Flight, now: float) -> None:
        if not flight.busy:
            flight.due = now + self._interval(flight, now)
            self._context.router.route(flight)

    def _interval(self, flight: Flight, now: float) -> float:
        pages = len(self._context.index) / self._context.compute.most_per_observe
        return self._context.timing.interval(flight, now, hearing=self._hearing(), pages=pages)


def _old(flight: Flight, seen: Observation) -> bool:
    if seen.version and flight.version:
        return seen.version < flight.version
    # If nobody counts versions: a container that ran cannot wait again, so an observation that says so is late.
    return flight.phase is Phase.RUNNING and seen.phase is Phase.WAITING
