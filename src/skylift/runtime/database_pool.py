"""Gives an API server's database connections back that a busy time has left.

Airflow's pool closes at once what is beyond its size (5), so sixteen Airflow tasks that report at the same time made 130
connections for 500 requests: a new process of PostgreSQL each, and a password that both sides compute, 15 ms of CPU in all. The
pool of an API server keeps as many as it may open (``control/definitions.py``), and this thread closes them when nothing has gone on
for a while: an idle connection is 4 MB of PostgreSQL's.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

FEW = 5
"""Connections that may stay, Airflow's own size of a pool."""

LOOK_SECONDS = 20.0
"""Between two looks. Two in a row must find nobody at work."""

SETTINGS = "airflow.settings"
"""The module whose ``engine`` is the API server's."""

_log = logging.getLogger(__name__)


def tend_soon(arguments: Sequence[str], seconds: float = LOOK_SECONDS) -> threading.Thread | None:
    """Starts the thread when these are the API server's arguments."""
    if not arguments or arguments[0] != "api-server":
        return None
    thread = threading.Thread(target=_tend, args=(seconds,), name="skylift-database-pool", daemon=True)
    thread.start()
    return thread


class Quiet:
    """Looks at a pool now and then."""

    def __init__(self) -> None:
        self._was = False

    def look(self, engine: Any) -> bool:
        """Closes the idle connections when there are more than a few, and nobody was at work at this look and the last; whether it did.

        One that is taken out at this very moment goes on, and is closed when it comes back.
        """
        pool: Any = getattr(engine, "pool", None)
        if not hasattr(pool, "checkedin"):  # not connected yet, or a pool that keeps nothing
            return False
        before, self._was = self._was, pool.checkedout() == 0
        if not (before and self._was and pool.checkedin() > FEW):
            return False
        engine.dispose()
        return True


def _tend(seconds: float) -> None:
    quiet = Quiet()
    while True:
        time.sleep(seconds)
        try:
            quiet.look(getattr(sys.modules.get(SETTINGS), "engine", None))
        except Exception as error:  # noqa: BLE001 - connections that are broken already: the next look will do
            _log.info("idle connections are not closed: %s", error)
