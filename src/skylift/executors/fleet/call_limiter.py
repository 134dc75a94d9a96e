"""Calls to the compute: a lane for each verb (how many, how fast, what goes wrong), and the inbox for what comes of
them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from skylift.core.clock import Clock
from skylift.core.errors import Broken, Refused, SkyliftError, Unavailable
from skylift.executors.fleet.metrics import Meter
from skylift.executors.fleet.rate_limiter import RateLimiter, back_off

log = logging.getLogger(__name__)
R = TypeVar("R")

QUIET = 30.0
"""Seconds between two warnings of one lane; those in between are counted."""


class CallLimiter:
    """The calls of one verb.

    Args:
        verb: as in ``Compute``, for people and metrics.
        rate: calls a second.
        most: calls at the same time.
    """

    def __init__(self, verb: str, rate: float, most: int, meter: Meter) -> None:
        self.verb = verb
        self.rate = RateLimiter(rate, rate)
        self.calls = 0
        self._most = most
        self._meter = meter
        self._failures = 0
        self._closed_until = float("-inf")
        self._quiet_until = float("-inf")
        self._unsaid = 0

    def ready(self, now: float) -> float:
        """When the next call may be made; infinity when one must come back first."""
        if self.calls >= self._most:
            return float("inf")
        return max(self._closed_until, now + self.rate.wait(now))

    def open(self, now: float) -> bool:
        """Whether a call may be made now; counts it when it may."""
        return self.calls < self._most and now >= self._closed_until and self.rate.take(now)

    def went_well(self) -> None:
        """A call was answered: the lane is open again, however long it was to stay closed."""
        self._failures = 0
        self._closed_until = float("-inf")

    def failed(self, now: float, text: str) -> None:
        """A call failed in a way that is nobody's own: all calls of this verb wait a little."""
        self._failures += 1
        self._closed_until = now + back_off(self._failures)
        self.complain(now, text)

    def complain(self, now: float, text: str) -> None:
        """Logs a warning, at most one in 30 seconds with the number of those that were left out."""
        if now < self._quiet_until:
            self._unsaid += 1
            return
        log.warning("%s%s", text, f" (and {self._unsaid} more like it)" if self._unsaid else "")
        self._quiet_until, self._unsaid = now + QUIET, 0

    def count(self, outcome: str) -> None:
        """Counts a call by what came of it."""
        self._meter.count("calls", verb=self.verb, outcome=outcome)


class Calls:
    """Makes calls in the pool and puts what comes of them into the inbox, where the one deciding thread takes it out.

    Args:
        pool: runs the calls; any ``Executor``.
        ring: called when there is something in the inbox, from any thread.
    """

    def __init__(self, pool: Executor, clock: Clock, meter: Meter, ring: Callable[[], None]) -> None:
        self._pool = pool
        self._clock = clock
        self._meter = meter
        self._ring = ring
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def tell(self, what: Callable[[], None]) -> None:
        """Has something done by the deciding thread. From any thread."""
        self._inbox.put(what)
        self._ring()

    def listen(self) -> None:
        """Does all that is in the inbox."""
        while True:
            try:
                what = self._inbox.get_nowait()
            except Empty:
                return
            try:
                what()
            except Exception:
                # What came of one call must not keep what came of the others from being heard.
                log.exception("a mistake in the executor's background thread, please report it")

    def make(self, limiter: CallLimiter, call: Callable[[], R], then: Callable[[R | SkyliftError], None]) -> None:
        """Makes one call, which the lane has counted as open. Whatever it raises comes back as one of the house's
        errors."""
        limiter.calls += 1
        began = self._clock()

        def run() -> None:
            result: R | SkyliftError
            try:
                result = call()
            except SkyliftError as error:
                result = error
            except Exception as error:  # noqa: BLE001  a compute broke its contract; its flights must still land
                result = Broken(f"{type(error).__name__}: {error}")
            self.tell(partial(self._returned, limiter, began, result, then))

        try:
            self._pool.submit(run)
        except RuntimeError:
            # The pool is shut down: this process ends, and whoever comes next takes over.
            limiter.calls -= 1

    def _returned(self, limiter: CallLimiter, began: float, result: Any, then: Callable[[Any], None]) -> None:
        limiter.calls -= 1
        self._meter.time("call_seconds", self._clock() - began, verb=limiter.verb)
        if isinstance(result, SkyliftError) or limiter.verb != "submit":
            limiter.count(outcome_of(result))
        then(result)


def outcome_of(result: Any) -> str:
    """What came of a call, in one word."""
    if isinstance(result, Unavailable):
        return "throttled" if result.throttled else "later"
    if isinstance(result, Refused):
        return "refused"
    return "broken" if isinstance(result, SkyliftError) else "ok"
