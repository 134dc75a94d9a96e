"""AWS's libraries log each failure with a traceback, at every call. This logs the same once a minute, in one line.

Otherwise an STS that cannot be reached costs a scheduler a thousand lines a minute. What the caller of AWS does with
the failure does not change.
"""

from __future__ import annotations

import logging
import time
from threading import Lock

from skylift.core.clock import Clock

LOUD = (
    "boto3.s3.inject",
    "botocore.args",
    "botocore.client",
    "botocore.credentials",
    "botocore.handlers",
    "botocore.regions",
    "botocore.response",
    "botocore.session",
    "botocore.tokens",
    "botocore.utils",
    "s3transfer.manager",
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.response",
)
"""Loggers of these libraries that warn. A logger's filter sees its own records only, so each is named."""

QUIET = 60.0
"""Seconds between two lines of one kind."""

MOST_KINDS = 100
"""Kinds that are remembered: texts before anything is put into them, so there are few."""


class OncePerMinute(logging.Filter):
    """Lets one warning of a kind through in a minute, as one line, with the number of those that were left out.

    May be used by several threads: the lock is for the two dicts, so that no warning is counted twice or let through
        twice.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
        self._until: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """As logging's: whether the record is to be logged; makes it one line."""
        if record.levelno < logging.WARNING:
            return True
        unsaid = self._take((record.name, str(record.msg)))
        if unsaid < 0:
            return False
        words = [record.getMessage()]
        if record.exc_info and (error := record.exc_info[1]):
            words.append(f"{type(error).__name__}: {error}")
        if unsaid:
            words.append(f"(and {unsaid} more like it)")
        record.msg, record.args = " ".join(" ".join(words).split()), None
        record.exc_info = record.exc_text = record.stack_info = None
        return True

    def _take(self, kind: tuple[str, str]) -> int:
        """How many were left out since the last; -1: it is too soon for another."""
        with self._lock:
            now = self._clock()
            if now < self._until.get(kind, now):
                self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
                return -1
            if len(self._until) >= MOST_KINDS:
                self._until.clear()
                self._unsaid.clear()
            self._until[kind] = now + QUIET
            return self._unsaid.pop(kind, 0)


_FILTER = OncePerMinute()


def settle_down() -> None:
    """Puts the filter on all of them. May be called again."""
    for name in LOUD:
        logging.getLogger(name).addFilter(_FILTER)
