"""Makes an Airflow component collect garbage less often, and never search the objects that stay forever.

Python searches all objects for cycles whenever their number has grown by a quarter. During an API server's start (a
million objects) that happened ten times and took 2.5 s of CPU, and 0.45 s more with each hundred Airflow tasks. The
searches of young objects, one for every 700 new ones, took 0.2 s. The objects of a started component live as long as it
does: once it has started, they are frozen (``gc.freeze``).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence

YOUNG = 20_000
"""New objects before Python searches the young ones. A request creates thousands, and keeps none."""

SETTLED_SECONDS = 30.0
"""Seconds after which a scheduler has started."""

_OF_YOUNG, _OF_MIDDLE, _RARELY, _NEVER = 10, 10, 100, 1_000_000
"""Searches of one generation before the next older one is searched: Python's default, once in 20 million new objects,
and never."""


def start(arguments: Sequence[str], after: float = SETTLED_SECONDS) -> threading.Timer | None:
    """Starts it in an API server, whose build calls ``settle`` when it has started, and in a scheduler, by a timer.

    The DAG processor and the triggerer work in forks, which would inherit the thresholds but not the timer.
    """
    component = arguments[0] if arguments else ""
    if component == "api-server":
        gc.set_threshold(YOUNG, _OF_YOUNG, _NEVER)
    if component != "scheduler":
        return None
    gc.set_threshold(YOUNG, _OF_YOUNG, _OF_MIDDLE)
    timer = threading.Timer(after, settle)
    timer.name, timer.daemon = "skylift-collecting", True
    timer.start()
    return timer


def start_short_lived() -> None:
    """For a process that builds Airflow's API, runs one DAG and ends: a fifth of its time went into searches."""
    gc.set_threshold(YOUNG, _OF_YOUNG, _RARELY)


def settle() -> None:
    """Searches once, then freezes all existing objects; from now on only new ones are searched."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, _OF_YOUNG, _OF_MIDDLE)
