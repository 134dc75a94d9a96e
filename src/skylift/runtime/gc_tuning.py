"""How often a component of Airflow looks through its objects for cycles: seldom, and never through those that stay for
ever.

Python looks through all objects whenever their number has grown by a quarter. While an API server starts (a million
objects) that was ten times, 2.5 s of CPU, and 0.45 s more with each hundred Airflow tasks; the young ones, looked
through whenever 700 are new, were 0.2 s. What a component is made of lives as long as it does: once it has started, it
is put aside (``gc.freeze``).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence

YOUNG = 20_000
"""New objects until Python looks among the young. A request makes thousands, and keeps none."""

SETTLED_SECONDS = 30.0
"""After which a scheduler has started."""

_OF_YOUNG, _OF_MIDDLE, _NEVER = 10, 10, 1_000_000
"""Searches of one generation until the next older one is searched, too: Python's own numbers, and none."""


def start(arguments: Sequence[str], after: float = SETTLED_SECONDS) -> threading.Timer | None:
    """Begins it in an API server, whose build will say when it has started (``settle``), and in a scheduler, where a
    clock does.

    The DAG processor and the triggerer have their work done by forks, which would inherit our numbers and not the
    clock.
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


def settle() -> None:
    """What is there now stays: one whole search, and from now on only what comes is searched."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, _OF_YOUNG, _OF_MIDDLE)
