"""Makes calls to the compute and to Airflow's database in a pool; their results go into the fleet's inbox."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from skylift.core.clock import Clock
from skylift.core.errors import Broken, SkyliftError
from skylift.executors.fleet.call_limiter import CallLimiter, outcome_of
from skylift.executors.fleet.inbox import CallOver, FleetInbox
from skylift.executors.fleet.metrics import Meter

R = TypeVar("R")


class Calls:
    """Makes calls in a pool.

    Args:
        pool: runs the calls; any ``Executor``.
        inbox: gets the results.
    """

    def __init__(self, pool: Executor, inbox: FleetInbox, clock: Clock, meter: Meter) -> None:
        self._pool = pool
        self._inbox = inbox
        self._clock = clock
        self._meter = meter

    def make(self, limiter: CallLimiter, call: Callable[[], R], then: Callable[[R | SkyliftError], None]) -> None:
        """Makes one call, which the limiter has counted.

        Args:
            call: runs in the pool. Whatever it raises comes back as a ``SkyliftError``.
            then: gets the result, in the deciding thread.
        """
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
            self._inbox.put(CallOver(limiter, began, result, then))

        try:
            self._pool.submit(run)
        except RuntimeError:
            # The pool is shut down: this process is ending, and the next one takes over.
            limiter.calls -= 1

    def over(self, message: CallOver) -> None:
        """A call has returned: counts it, and passes its result on."""
        limiter, result = message.limiter, message.result
        limiter.calls -= 1
        self._meter.time("call_seconds", self._clock() - message.began, verb=limiter.verb)
        if isinstance(result, SkyliftError) or limiter.verb != "submit":
            limiter.count(outcome_of(result))
        message.then(result)
