"""The lock of a home (flock): its one server holds it from before the process starts until it is gone. The file
contains the server's pid.

The command that starts a server takes the lock and passes it on, so other commands can tell at any moment that a server
is starting.
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
"""Environment variable of a started server: the file descriptor of the lock."""

TAKE_SECONDS = 1.0
"""``holder`` takes the lock for a moment just to check it; others wait this long for that."""


class Held(Exception):
    """Another server has the home."""


@contextmanager
def taken(home: Home) -> Iterator[IO[str]]:
    """Yields the locked file; the lock ends with the last process that has it open. Raises ``Held``."""
    handed = os.environ.pop(HANDED_OVER, "")
    if handed:
        os.set_inheritable(int(handed), False)  # containers must not inherit it
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
    """Writes the server's pid into the locked file."""
    lock.truncate(0)
    lock.write(str(pid))
    lock.flush()


def holder(home: Home) -> int | None:
    """The pid of the server of this home, also while it is starting or stopping; ``None`` when nobody holds the
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
        time.sleep(0.05)  # it holds the lock, and has not written its pid yet
    return None


def _try(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
