"""Landing: when an attempt has ended, either another follows, or Airflow gets the news. Bad news includes an
explanation."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial

from skylift.core.attempt import SUPERSEDED, Exit, Observation, Phase, Verdict
from skylift.core.errors import SkyliftError
from skylift.executors.fleet.due_queue import DueQueue, leave
from skylift.executors.fleet.fleet_context import FleetContext
from skylift.executors.fleet.flight import Flight, News, Stage
from skylift.executors.fleet.rate_limiter import back_off
from skylift.executors.fleet.settle import Event, Settlement, Standing, settle
from skylift.executors.fleet.stopping import Stopping


class Landing:
    def __init__(self, context: FleetContext, stopping: Stopping) -> None:
        self._context = context
        self._stopping = stopping
        # Ends that wait for an explanation, by the time at which they are reported without it; their news; and those
        # not asked about yet.
        self._waiting = DueQueue()
        self._news: dict[Flight, News] = {}
        self._unasked: deque[Flight] = deque()
        self._limiter = context.limiter("explain", context.timing.looks, 4)

    def end(self, flight: Flight, means: Verdict, seen: Observation, stands: Standing = Standing.UNKNOWN) -> None:
        """An attempt has ended (``means`` is not ``UNDERWAY``).

        Args:
            stands: the state of its task instance in Airflow's database.
        """
        order = flight.order
        if means is Verdict.LOST and order.repeat and stands in {Standing.UNKNOWN, Standing.QUEUED}:
            if flight.superseded:
                self._repeat(flight, "token", seen.reason, counts=False)
                return
            if seen.shortage:
                self._short(flight, seen.reason)
                return
            if seen.exit_code == Exit.UNREACHABLE:
                self._unanswered(flight, seen)
                return
        most = self._context.timing.most_attempts if order.repeat else flight.spent
        settlement = settle(
            means,
            seen.exit_code,
            order.kind,
            number=flight.spent,
            most=most,
            outside=seen.outside,
            stands=stands,
        )
        if settlement.repeat:
            flight.unanswered, flight.unanswered_since = 0, None
            self._repeat(flight, "missing" if seen.phase is Phase.MISSING else "lost", seen.reason)
            return
        if means is Verdict.LOST:
            self._context.meter.count("given_up", why="attempts")
        self._context.meter.count("ends", verdict=means, kind=order.kind)
        self._settle(flight, settlement, seen.reason)

    def refused(self, flight: Flight, why: str) -> None:
        """It can never be launched like this."""
        if flight.revoked:
            self.forget(flight)
            return
        self._context.meter.count("given_up", why="refused")
        self._land(flight, News(flight.order, Stage.ENDED, Event.FAILED, why, record=True))

    def no_capacity(self, flight: Flight, why: str) -> None:
        """There was no capacity for it for as long as we may wait."""
        waited = self._context.clock() - (flight.short_since or 0.0)
        text = (
            f"there was no capacity for {waited:.0f} seconds ([skylift] capacity_seconds); {flight.shortages} times "
            "asked, "
            f"the last answer: {why}"
        )
        self._context.meter.count("given_up", why="capacity")
        self._land(flight, News(flight.order, Stage.ENDED, Event.FAILED, text, record=True))

    def unwanted(self, flight: Flight, why: str) -> None:
        """Airflow no longer wants it. Its slot is free; the flight's ``revoked`` stops whatever runs of
        it."""
        self._context.meter.count("unwanted")
        self._context.news.append(News(flight.order, Stage.ENDED, Event.NONE, why, record=True))

    def forget(self, flight: Flight) -> None:
        """Nothing more is to be done for it or said about it."""
        flight.over = True
        leave(flight)
        self._context.index.remove(flight, self._context.clock())

    def step(self, now: float) -> None:
        """Asks for explanations, and reports the bad news that has waited long enough for one."""
        while self._unasked and self._limiter.open(now):
            flight = self._unasked.popleft()
            if flight in self._news:
                call = partial(self._context.compute.explain, flight.ref)
                self._context.calls.make(self._limiter, call, partial(self._explained, flight))
        for flight in self._waiting.take(now, 1000):
            self._land(flight, self._news[flight])

    def next(self, now: float) -> float:
        """When there is more to do."""
        return min(self._waiting.due(), self._limiter.ready(now) if self._unasked else float("inf"))

    def came_late(self, flight: Flight) -> None:
        """Airflow considers it running, but its containers have all ended: it fails, because nobody is left to end
        it."""
        text = (
            f"attempt {flight.number - 1} ended while Airflow was being told that it begins; Airflow heard it "
            "afterwards, and takes the task instance for running: it fails here, and its retries apply"
        )
        self._land(flight, News(flight.order, Stage.ENDED, Event.FAILED, text, record=True))

    # Another attempt.

    def _short(self, flight: Flight, reason: str) -> None:
        now = self._context.clock()
        flight.shortages += 1
        flight.short_since = now if flight.short_since is None else flight.short_since
        if now - flight.short_since >= self._context.timing.capacity:
            self.no_capacity(flight, reason)
        else:
            self._repeat(flight, "shortage", reason, counts=False)

    def _unanswered(self, flight: Flight, seen: Observation) -> None:
        """Its container found no Airflow API: it waits, as for capacity."""
        now = self._context.clock()
        flight.unanswered += 1
        flight.unanswered_since = now if flight.unanswered_since is None else flight.unanswered_since
        waited = now - flight.unanswered_since
        if waited < self._context.timing.unanswered:
            self._repeat(flight, "unanswered", seen.reason, counts=False)
            return
        self._context.meter.count("given_up", why="unanswered")
        text = (
            f"{flight.unanswered} containers in {waited:.0f} seconds found no Airflow API server ([skylift] "
            f"api_server_seconds); the last: {seen.reason}"
        )
        self._settle(flight, Settlement(event=Event.FAILED, record=True), text)

    def _repeat(self, flight: Flight, why: str, reason: str, *, counts: bool = True) -> None:
        now = self._context.clock()
        text = f"attempt {flight.number} never began, another follows: {reason}"
        self._context.meter.count("repeats", why=why)
        self._tell_of_repeat(flight, News(flight.order, Stage.REPEATED, reason=text, record=True), why)
        if flight.missing_since is not None:
            flight.alone = False
            # What the compute has forgotten may still exist; stopping it costs one call, a double would cost a
            # container.
            self._stopping.stop(flight.ref, f"{SUPERSEDED}: {text}")
        times = {"shortage": flight.shortages, "unanswered": flight.unanswered}.get(why, flight.spent)
        wait = back_off(times, first=2.0)
        flight.spent += counts
        self._context.index.unplace(flight, now)
        flight.restart(now, wait)
        if not flight.busy:
            self._context.router.route(flight)

    def _tell_of_repeat(self, flight: Flight, news: News, why: str) -> None:
        """The first such news is explained, like the last: nobody should have to wait for the last."""
        asked = why in {"lost", "unanswered"} and flight.ref and self._context.timing.explain and not flight.explained
        if not asked or not self._limiter.open(self._context.clock()):
            self._context.news.append(news)
            return
        flight.explained = True
        call = partial(self._context.compute.explain, flight.ref)
        self._context.calls.make(self._limiter, call, partial(self._told_of_repeat, news))

    def _told_of_repeat(self, news: News, result: str | SkyliftError) -> None:
        more = "" if isinstance(result, SkyliftError) else result
        self._context.news.append(replace(news, reason="\n".join(filter(None, (news.reason, more)))))

    # The news.

    def _settle(self, flight: Flight, settlement: Settlement, reason: str) -> None:
        news = News(flight.order, Stage.ENDED, settlement.event, reason, settlement.record)
        if settlement.event is not Event.FAILED or not flight.ref or not self._context.timing.explain:
            self._land(flight, news)
            return
        flight.over = True
        flight.due = self._context.clock() + self._context.timing.explain
        self._news[flight] = news
        self._waiting.put(flight)
        self._unasked.append(flight)

    def _explained(self, flight: Flight, result: str | SkyliftError) -> None:
        news = self._news.get(flight)
        if news is None:
            return
        if isinstance(result, SkyliftError):
            self._limiter.complain(self._context.clock(), f"{flight.order.key}: its end cannot be explained: {result}")
            result = ""
        text = "\n".join(filter(None, (news.reason, result)))
        self._land(flight, News(news.order, news.stage, news.event, text, news.record))

    def _land(self, flight: Flight, news: News) -> None:
        self._news.pop(flight, None)
        self.forget(flight)
        self._context.news.append(news)
