"""The lock of a home (flock): held by its one server, from before the process starts until it is gone, with its pid in
the file.

The command that starts a server takes the lock and hands it over, so that there is no moment in which a server is on
its way and nobody can tell.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from skylift.cli.home import Home

HANDED_OVER = "SKYLIFT_LOCK_DESCRIPTOR"
"""In a started server's environment: the descriptor with the lock."""

TAKE_SECONDS = 1.0
"""Who only looks whether the lock is held (``holder``) has it for a moment: that is waited for."""


class Held(Exception):
    """Another server has the home."""


@contextmanager
def taken(home: Home) -> Iterator[IO[str]]:
    """The locked file; the lock ends with the last process that has it open. Raises ``Held``."""
    handed = os.environ.pop(HANDED_OVER, "")
    if handed:
        os.set_inheritable(int(handed), False)  # containers must not keep it
        with os.fdopen(int(handed), "a+") as lock:
            yield lock
        return
    with home.lock_file.open("a+") as lock:
        deadline = time.monotonic() + TAKE_SECONDS
        while not _try(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise Held
            time.sleep(0.05)
        yield lock


def sign(lock: IO[str], pid: int) -> None:
    """Writes into the locked file who has it."""
    lock.truncate(0)
    lock.write(str(pid))
    lock.flush()


def holder(home: Home) -> int | None:
    """The process that serves this home, also while it is still starting or stopping; none when nobody has the home's
    lock."""
    for _ in range(20):
        try:
            with home.lock_file.open() as lock:
                if _try(lock, fcntl.LOCK_SH):
                    return None
                pid = int(lock.read() or 0)
        except (OSError, ValueError):
            return None
        if pid and os.path.exists(f"/proc/{pid}"):
            return pid
        time.sleep(0.05)  # it has the lock, and has not written who it is yet
    return None


def _try(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
