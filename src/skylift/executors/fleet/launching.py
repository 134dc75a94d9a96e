"""Launching: attempts wait until they are due, in groups with equal keys, and go to ``submit``; handles its answers."""

from __future__ import annotations

import logging
import random
from collections.abc import Hashable, Sequence
from functools import partial

from skylift.core.attempt import Phase, Submission
from skylift.core.errors import SkyliftError, Unavailable
from skylift.executors.fleet.due_queue import DueQueue, leave
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import Flight, Verb
from skylift.executors.fleet.landing import Landing
from skylift.executors.fleet.rate_limiter import back_off
from skylift.executors.fleet.watching import Watching

log = logging.getLogger(__name__)


class Launching:
    """Launches attempts.

    A throttle concerns all launches: all slow down. Lack of capacity concerns one attempt: it waits longer and lets
    others pass, because another instance type or queue may have capacity.
    """

    def __init__(self, context: FleetContext, watching: Watching, landing: Landing) -> None:
        self._context = context
        self._watching = watching
        self._landing = landing
        self._line = DueQueue()
        self._group_key: dict[Hashable, dict[Flight, None]] = {}
        self.limiter = context.limiter("submit", context.timing.launches, context.timing.calls)

    def put(self, flight: Flight) -> None:
        """Queues it until it is due. One with a group key first waits a while for others, when it comes for the first
        time."""
        flight.group_key = group_key = self._group_key_of(flight)
        if group_key is not None:
            now = self._context.clock()
            members = self._group_key.setdefault(group_key, {})
            members[flight] = None
            if flight.due <= now:
                full = len(members) % self._context.compute.most_per_submit == 0
                flight.due = now if full else now + self._context.timing.linger
        self._line.put(flight)

    def step(self, now: float) -> None:
        """Starts all calls that are due."""
        while self._line.due() <= now and self.limiter.open(now):
            page = self._page(now)
            for flight in page:
                flight.busy = True
            attempts = [flight.attempt() for flight in page]
            call = partial(self._context.compute.submit, attempts)
            self._context.calls.make(self.limiter, call, partial(self._submitted, page))

    def next(self, now: float) -> float:
        """When there is more to do."""
        due = self._line.due()
        return max(due, self.limiter.ready(now)) if due <= now else due

    def _group_key_of(self, flight: Flight) -> Hashable | None:
        if self._context.compute.most_per_submit == 1:
            return None
        try:
            return self._context.compute.group_key(flight.attempt())
        except Exception:
            # It must not raise; when the attempt goes alone, its own submit will say what is wrong.
            log.exception("a mistake in the compute's kin, please report it")
            return None

    def _page(self, now: float) -> list[Flight]:
        (first,) = self._line.take(now)
        if first.group_key is None:
            return [first]
        members = self._group_key.get(first.group_key, {})
        members.pop(first, None)
        soon = now + self._context.timing.linger
        page = [first]
        for flight in list(members):
            if len(page) == self._context.compute.most_per_submit:
                break
            if flight.over or flight.verb() is not Verb.SUBMIT:
                # Revoked meanwhile.
                del members[flight]
            elif flight.due <= soon:
                del members[flight]
                leave(flight)
                page.append(flight)
        if not members:
            self._group_key.pop(first.group_key, None)
        return page

    def _submitted(self, page: Sequence[Flight], result: list[Submission] | SkyliftError) -> None:
        if isinstance(result, SkyliftError):
            # ``submit`` must not raise; when it does, we do not know whether there is a container.
            text = str(result)
            answer = Submission(later=text) if isinstance(result, Unavailable) else Submission(refused=text)
            result = [answer] * len(page)
        elif len(result) != len(page):
            result = [Submission(later=f"{len(result)} answers for {len(page)} attempts")] * len(page)
        waits: dict[str, float] = {}
        for flight, answer in zip(page, result, strict=True):
            flight.busy = False
            self.limiter.count(_outcome(answer))
            if answer.ref:
                self._placed(flight, answer.ref)
            elif answer.refused:
                self._landing.refused(flight, answer.refused)
            else:
                self._later(flight, answer, waits)

    def _placed(self, flight: Flight, ref: str) -> None:
        now = self._context.clock()
        self.limiter.went_well()
        self._context.index.place(flight, ref)
        flight.failures, flight.unsure = 0, False
        flight.phase, flight.changed, flight.looks, flight.told = Phase.WAITING, now, 0, False
        self._context.meter.count("launches", **self._context.tags(flight))
        self._context.meter.time("queued_seconds", now - flight.since, **self._context.tags(flight))
        self._watching.placed(flight)

    def _later(self, flight: Flight, answer: Submission, waits: dict[str, float]) -> None:
        """Queues it again, with the same token: if AWS made a container but the answer was lost, the token finds it.
        Groups stay together."""
        now = self._context.clock()
        text = answer.later or "the compute gave no answer"
        if answer.shortage:
            flight.shortages += 1
            flight.short_since = now if flight.short_since is None else flight.short_since
            if now - flight.short_since >= self._context.timing.capacity and not flight.revoked:
                self._landing.no_capacity(flight, text)
                return
            wait = waits.setdefault("shortage", back_off(flight.shortages, first=2.0, most=60.0))
        elif answer.throttled:
            self.limiter.rate.slow_down(now)
            wait = waits.setdefault("throttled", random.uniform(0.5, 1.5))  # noqa: S311  no secret
        else:
            flight.failures += 1
            flight.unsure = True
            wait = waits.setdefault("later", back_off(flight.failures))
        self.limiter.complain(now, f"{flight.order.key} waits, attempt {flight.number}: {text}")
        flight.due = now + wait
        self._context.router.route(flight)


def _outcome(answer: Submission) -> str:
    if answer.ref:
        return "ok"
    if answer.refused:
        return "refused"
    return "shortage" if answer.shortage else "throttled" if answer.throttled else "later"
