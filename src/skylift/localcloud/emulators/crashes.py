"""Decides whether an exception is an emulator's bug or ours. An emulator that crashes on a request is not our bug, and
trying again does not help.

ministack and moto trust requests: a list in place of a string raises a TypeError deep inside. ``edge`` turns such
exceptions into AWS errors, and the log gets one line. An exception in our own code, or from the machine (a full disk),
stays a 500 with its traceback.
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
"""The answer of an operation that crashed; the edge replaces it."""
_BAD_NAMES = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
_QUIET_SECONDS = 60.0
_said: dict[str, float] = {}
_crashes: ContextVar[list[Exception] | None] = ContextVar("crashes", default=None)


def watching() -> list[Exception]:
    """Returns a list to which this task's crashes are added from now on."""
    crashes: list[Exception] = []
    _crashes.set(crashes)
    return crashes


class Stumbled(Exception):
    """An emulator crashed on a request."""


def caught(operation: Callable[..., Awaitable[Any]], *, files: bool) -> Callable[..., Awaitable[Any]]:
    """An emulator's operation whose crashes are recorded when ``watching`` was called.

    Args:
        operation: ministack's function.
        files: whether it writes files. If so, its own 500 may come from the disk and stays; otherwise it is a crash.
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
    """Whether an emulator crashed: of the frames that are an emulator's or ours, the innermost is an emulator's."""
    if isinstance(error, OSError) and error.errno not in _BAD_NAMES:
        return False
    if isinstance(error, MemoryError | Stumbled):
        return isinstance(error, Stumbled)
    return _place(error)[0] in EMULATORS


def note(error: Exception, service: str, operation: str) -> None:
    """Logs one line, for each place at most once a minute. Without the text, which can contain the caller's data."""
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
    """The package (ours or an emulator's) and the line that raised."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in EMULATORS or package == "skylift":
            return package, f"{PurePath(frame.f_code.co_filename).name}:{line}"
    return "", ""
