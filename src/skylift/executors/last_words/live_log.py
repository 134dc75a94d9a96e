"""What Airflow's UI shows of a task instance while it runs: the state of its container and, if nobody else shows
them, its lines.

Airflow's API server calls ``get_task_log`` whenever a person looks at a running task instance (3.3.2,
``FileTaskHandler._read``), every few seconds. The executor shares ECS's rates for reading, so answers are cached here
for a while.

A streaming remote log (CloudWatch) shows the lines itself, so showing them here would repeat them. Remote logs that get
everything at the end (S3), or no remote log, have nothing to show before. For those, the container's log is read on
from where the last read ended. All lines are returned each time, because Airflow counts them to find the new ones.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from skylift.core.attempt import Attempt, Compute, Explained, Output
from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError
from skylift.executors import airflow_compat
from skylift.executors.in_container.warm import container_of
from skylift.executors.last_words.words import TOKEN

FRESH = 10.0
"""Seconds for which an answer of ECS or Batch is good enough."""

LINES_FRESH = 2.0
"""Seconds for which no new lines are asked for: GetLogEvents has a rate, too, and many may look."""

BEFORE = 5.0
"""Seconds before the task instance's start from which lines are shown: the container's clock need not be the
database's."""

MOST_KEPT = 64
"""Task instances that are looked at by people at the same time; those looked at longest ago are forgotten."""

MOST_LINES = 20_000
"""Of one task instance in this process's memory: the rest is in CloudWatch."""


@dataclass(eq=False)
class CachedStatus:
    """What was found for one launch.

    Attributes:
        looked, read: when the compute, and the log, were last asked.
        token: where to read on.
        lock: if two people look at the same time, one asks and the other uses the result.
    """

    ref: str = ""
    message: str = ""
    looked: float = float("-inf")
    read: float = float("-inf")
    output: Output | None = None
    token: str = ""
    lines: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=Lock)


class StatusCache:
    """Looks up and caches for a while. Thread-safe; never raises ``SkyliftError``.

    Args:
        clock: seconds; must not run back.
        streams: whether Airflow's remote log shows lines while the task instance runs.
    """

    def __init__(self, clock: Clock = time.monotonic, streams: Callable[[], bool] | None = None) -> None:
        self._clock = clock
        self._streams = streams or _streams
        self._cached: OrderedDict[str, CachedStatus] = OrderedDict()
        # Every look changes the order of the dict, and the API server has many threads.
        self._lock = Lock()

    def look(self, compute: Callable[[], Compute], ti: Any, try_number: int) -> tuple[list[str], list[str]]:
        """Airflow's ``get_task_log``: (where it comes from, what it says)."""
        external_id = ti.external_executor_id
        if not external_id or ti.try_number != try_number:
            return [], []
        cached = self._status_of(external_id)
        with cached.lock:
            try:
                self._look(compute(), ti, cached)
                if not self._streams():
                    self._read_on(ti, cached)
            except SkyliftError as error:
                cached.looked, cached.message = self._clock(), f"Nothing can be said of the container: {error}"
            return [cached.message] if cached.message else [], ["\n".join(cached.lines) + "\n"] if cached.lines else []

    def _status_of(self, external_id: str) -> CachedStatus:
        with self._lock:
            cached = self._cached.setdefault(external_id, CachedStatus())
            self._cached.move_to_end(external_id)
            while len(self._cached) > MOST_KEPT:
                self._cached.popitem(last=False)
            return cached

    def _look(self, compute: Compute, ti: Any, cached: CachedStatus) -> None:
        if self._clock() - cached.looked < FRESH:
            return
        cached.looked = self._clock()
        refs = [container_of(ref) for ref in compute.find(_attempt(ti))]
        if not refs:
            cached.message = "No container of it is known (yet, or any more)."
            return
        if refs[-1] != cached.ref:
            cached.ref, cached.output, cached.token, cached.lines = refs[-1], None, "", []
        explainer = compute.explainer if isinstance(compute, Explained) else None
        cached.message = explainer.standing(cached.ref) if explainer else _told(compute, cached.ref)
        if explainer and cached.output is None:
            cached.output = explainer.output(cached.ref)

    def _read_on(self, ti: Any, cached: CachedStatus) -> None:
        if cached.output is None or len(cached.lines) >= MOST_LINES:
            return
        if self._clock() - cached.read < LINES_FRESH:
            return
        cached.read = self._clock()
        # A warm container has printed output of earlier workloads too.
        start = ti.start_date.timestamp() - BEFORE if ti.start_date else 0.0
        lines, cached.token = cached.output.since(cached.token, start)
        cached.lines += [TOKEN.sub("***", line) for line in lines]


def _attempt(ti: Any) -> Attempt:
    return Attempt(
        ti.external_executor_id,
        1,
        str,
        executor_config=ti.executor_config or {},
        labels=airflow_compat.labels_of_instance(ti),
        queue=str(ti.queue or ""),
    )


def _streams() -> bool:
    return hasattr(airflow_compat.remote_task_log(), "log_group")


def _told(compute: Compute, ref: str) -> str:
    return "; ".join(f"{one.ref}: {one.phase} {one.reason}".strip() for one in compute.observe([ref]))


look = StatusCache().look
"""One memory for all executors of this process: external ids are unique."""
