"""Closes the idle database connections that an API server has left after a busy time.

Airflow's pool closes a connection beyond its size (5) as soon as it is returned. So sixteen Airflow tasks that reported
at the same time opened 130 connections for 500 requests; each is a new PostgreSQL process and a password check on both
sides, 15 ms of CPU in all. The pool of an API server keeps as many as it may open (``control/definitions.py``), and
this thread closes them when little has happened for a while: an idle connection takes 4 MB in PostgreSQL.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import event

FEW = 5
"""Connections that are kept: Airflow's own pool size."""

LOOK_SECONDS = 20.0
"""Seconds between two checks. Two checks in a row must find little activity."""

QUIET = 60
"""Checkouts between two checks that count as little: a health check is one, a page of Airflow's about ten, an Airflow
task five."""

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


class PoolWatch:
    """Counts how often connections are checked out of a pool.

    Args:
        engine: SQLAlchemy's.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._taken = 0
        self._was_quiet = False
        event.listen(engine, "checkout", self._count)

    def look(self) -> bool:
        """Closes idle connections when there are more than a few, and little happened before this check and the last
        one.
        Returns whether it did.

        A connection that is checked out right now keeps working, and is closed when it is returned.
        """
        before, self._was_quiet, self._taken = self._was_quiet, self._taken <= QUIET, 0
        pool: Any = self.engine.pool
        if not (before and self._was_quiet and hasattr(pool, "checkedin") and pool.checkedin() > FEW):
            return False
        self.engine.dispose()
        return True

    def _count(self, *_: object) -> None:
        self._taken += 1


def _tend(seconds: float) -> None:
    watch: PoolWatch | None = None
    while True:
        time.sleep(seconds)
        engine = getattr(sys.modules.get(SETTINGS), "engine", None)
        if engine is None:  # not there yet
            continue
        try:
            if watch is None or watch.engine is not engine:
                watch = PoolWatch(engine)
            watch.look()
        except Exception as error:  # noqa: BLE001 - connections that are broken already: the next look will do
            _log.info("idle connections are not closed: %s", error)
