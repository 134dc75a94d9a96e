"""Repeats a call that gets no answer: the run that a command follows continues, so one failed call must not end the
command."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from skylift.core.clock import Clock
from skylift.core.errors import Unavailable

T = TypeVar("T")


class Ask(Protocol):
    """Asks until there is an answer: ``patiently``, or a function that knows better when to give up."""

    def __call__(self, look: Callable[[], T], say: Callable[[str], None], what: str) -> T:
        """Like ``patiently``."""
        ...


QUIET_SECONDS = 5.0
"""A shorter silence is not reported."""

PATIENCE_SECONDS = 600.0
"""Silence after which a command gives up. An API server that restarts on a busy machine takes minutes."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0


def patiently(
    look: Callable[[], T],
    say: Callable[[str], None],
    what: str,
    limit: float = PATIENCE_SECONDS,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Returns the result of ``look``; calls it again as long as it raises ``Unavailable``.

    Args:
        look: a call that may be repeated.
        say: called when nobody answers.
        what: who is asked, for people, e.g. ``Airflow``.
        limit: seconds without an answer.
        clock: seconds.
        sleep: waits for this many seconds.

    Raises:
        Unavailable: nobody answered within the limit; the last error's text.
        Refused: from ``look``.
    """
    begun = clock()
    pause = FIRST_PAUSE
    worth_a_word = QUIET_SECONDS
    while True:
        try:
            return look()
        except Unavailable as error:
            silent = clock() - begun
            if silent >= limit:
                raise
            if silent >= worth_a_word:
                worth_a_word = silent * 2  # in a file or a CI log each is a line
                said = str(error).splitlines()[0] if str(error) else "no answer"
                say(f"{what} has not answered for {silent:.0f} s, asking again: {said}")
            sleep(min(pause, limit - silent))
            pause = min(pause * 2, LONGEST_PAUSE)
