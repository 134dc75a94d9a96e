"""A log that outsiders cannot fill: the same message a few times a minute, then only a count of the omitted ones."""

from __future__ import annotations

import logging
import time

MOST = 10
SECONDS = 60.0
NAMES = ("asyncio", "uvicorn.error", "skylift.wire.app", "skylift.wire.service", "skylift.wire.connections")
"""Loggers to which a caller can make us write."""
_MOST_KINDS = 1000


class Seldom(logging.Filter):
    """Lets a kind of message (its text before anything is put in, and the place of its exception) pass ``MOST`` times
    in ``SECONDS``."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        now, kind = time.monotonic(), (str(record.msg)[:200], _place(record))
        began, count = self._kinds.get(kind, (now, 0))
        if now - began > SECONDS:
            if count > MOST:
                record.msg, record.args = f"{record.getMessage()} ({count - MOST} more in {now - began:.0f} s)", ()
            began, count = now, 0
        if len(self._kinds) > _MOST_KINDS:
            self._kinds.clear()
        self._kinds[kind] = began, count + 1
        return count < MOST


def keep_quiet() -> None:
    """Sees to it that those loggers write seldom; once is enough."""
    for logger in map(logging.getLogger, NAMES):
        if not any(isinstance(one, Seldom) for one in logger.filters):
            logger.addFilter(Seldom())


def _place(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(error).__name__}:{trace.tb_lineno if trace is not None else 0}" if error is not None else ""
