"""Whose mistake is an exception? An emulator that stumbles over a request is no bug of ours, and no reason to try
again.

ministack and moto read requests with trust: a list where a text belongs is a TypeError deep inside. Those become errors
in AWS's words (``edge``), and one line in the log. What breaks in our own code, or on the machine (a full disk), stays
a 500 with its traceback.
"""

from __future__ import annotations

import errno
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import PurePath
from typing import Any

log = logging.getLogger(__name__)

EMULATORS = frozenset({"ministack", "moto"})
CRASHED: tuple[int, dict[str, str], bytes] = (500, {}, b"")
"""What a crashed operation answers; the edge says something else instead."""
_BAD_NAMES = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
_QUIET_SECONDS = 60.0
_said: dict[str, float] = {}
_crashes: ContextVar[list[Exception] | None] = ContextVar("crashes", default=None)


def watching() -> list[Exception]:
    """A list to which crashes within this task are added from now on."""
    crashes: list[Exception] = []
    _crashes.set(crashes)
    return crashes


class Stumbled(Exception):
    """An emulator answered that something broke within it."""


def caught(operation: Callable[..., Awaitable[Any]], *, files: bool) -> Callable[..., Awaitable[Any]]:
    """An emulator's operation whose crashes are noted, where somebody is watching.

    Args:
        operation: as ministack has them.
        files: whether it writes files. Then its own 500 may be the disk's, and stands; else it is a crash as any other.
    """

    async def perform(*words: Any, **more: Any) -> Any:
        try:
            answer = await operation(*words, **more)
            if answer[0] == CRASHED[0] and not files:
                raise Stumbled
            return answer
        except Exception as error:
            crashes = _crashes.get()
            if crashes is None or not is_theirs(error):
                raise
            crashes.append(error)
            status, headers, body = CRASHED
            return status, dict(headers), body

    return perform


def is_theirs(error: Exception) -> bool:
    """Whether an emulator stumbled: the innermost frame that is an emulator's or ours is an emulator's."""
    if isinstance(error, OSError) and error.errno not in _BAD_NAMES:
        return False
    if isinstance(error, MemoryError | Stumbled):
        return isinstance(error, Stumbled)
    return _place(error)[0] in EMULATORS


def note(error: Exception, service: str, operation: str) -> None:
    """One line in the log; the same place once a minute. Not the text: it can hold what the caller sent."""
    package, where = _place(error)
    now = time.monotonic()
    if now - _said.get(where, -_QUIET_SECONDS) < _QUIET_SECONDS:
        return
    if len(_said) > 1000:
        _said.clear()
    _said[where] = now
    log.warning(
        "%s stumbled over a %s request to %s: %s at %s", package, operation, service, type(error).__name__, where
    )


def _place(error: Exception) -> tuple[str, str]:
    """The package (ours or an emulator's) and the line in which it broke."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in EMULATORS or package == "skylift":
            return package, f"{PurePath(frame.f_code.co_filename).name}:{line}"
    return "", ""
