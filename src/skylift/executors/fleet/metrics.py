"""The fleet's metrics, each declared once. Airflow's own Stats send them where the user's metrics go.

Only the fleet's own threads report them, never the scheduler's, so a metric costs no heartbeat. An error while
reporting is logged once and costs no work.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

log = logging.getLogger(__name__)

PREFIX = "skylift."


class Sort(StrEnum):
    """The kind of a metric's values."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


@dataclass(frozen=True)
class Metric:
    """One metric; its full name is ``skylift.<name>``, after the prefix that ``[metrics]`` may set.

    Attributes:
        name: lower case with underscores.
        sort: counter, gauge, or timer (reported in milliseconds, like Airflow's).
        tags: in addition to ``executor`` and ``team``, which all metrics have.
        meaning: one or two sentences for people.
    """

    name: str
    sort: Sort
    tags: tuple[str, ...]
    meaning: str


METRICS = (
    Metric("launches", Sort.COUNTER, ("queue", "kind"), "Attempts that the compute accepted: one container each."),
    Metric("queued_seconds", Sort.TIMER, ("queue", "kind"), "From the executor's heartbeat until the compute accepts."),
    Metric(
        "start_seconds",
        Sort.TIMER,
        ("queue", "kind"),
        "From when the compute accepts until the container is seen running.",
    ),
    Metric(
        "repeats",
        Sort.COUNTER,
        ("why",),
        "Further attempts, by reason: `lost` (it never began), `missing` (the compute forgot it), `shortage`, "
        "`unanswered` (no API server), `token` (too old).",
    ),
    Metric("ends", Sort.COUNTER, ("verdict", "kind"), "Workloads that have ended, by verdict (see docs/glossary.md)."),
    Metric(
        "given_up",
        Sort.COUNTER,
        ("why",),
        "Workloads that failed before they began: `attempts`, `capacity`, `unanswered`, `refused`.",
    ),
    Metric("unwanted", Sort.COUNTER, (), "Workloads stopped because Airflow no longer wanted them."),
    Metric(
        "calls",
        Sort.COUNTER,
        ("verb", "outcome"),
        "Calls to the compute. Outcomes: `ok`, `throttled`, `shortage`, `later` (network, 5xx), `refused`, `broken`.",
    ),
    Metric("call_seconds", Sort.TIMER, ("verb",), "How long one call took."),
    Metric("events", Sort.COUNTER, ("use",), "Events received: `news`, `old` (overtaken), `early`, `stranger`."),
    Metric("drift", Sort.COUNTER, (), "Changes found by polling that an event should have reported."),
    Metric("pending", Sort.GAUGE, (), "Workloads without a container."),
    Metric("waiting", Sort.GAUGE, (), "Containers that have not begun."),
    Metric("running", Sort.GAUGE, (), "Containers that have begun."),
    Metric("oldest_pending_seconds", Sort.GAUGE, (), "Age of the oldest workload whose container has not begun."),
    Metric("launch_rate", Sort.GAUGE, (), "Launches per second that the executor allows itself now, after throttles."),
)
NAMES = {metric.name: metric for metric in METRICS}


class Meter(Protocol):
    """Takes values. Never raises, never waits."""

    def count(self, name: str, by: int = 1, /, **tags: str) -> None: ...

    def gauge(self, name: str, value: float, /, **tags: str) -> None: ...

    def time(self, name: str, seconds: float, /, **tags: str) -> None: ...


class NoMeter:
    """Drops all values."""

    def count(self, name: str, by: int = 1, /, **tags: str) -> None: ...

    def gauge(self, name: str, value: float, /, **tags: str) -> None: ...

    def time(self, name: str, seconds: float, /, **tags: str) -> None: ...


class AirflowMeter:
    """Reports to Airflow's Stats.

    Args:
        stats: has Airflow's ``incr``, ``gauge`` and ``timing`` (``airflow_compat.stats``).
        tags: of every value: executor, team. Empty ones are omitted.
    """

    def __init__(self, stats: Any, **tags: str | None) -> None:
        self._stats = stats
        self._tags = {name: value for name, value in tags.items() if value}
        self._broken = False

    def count(self, name: str, by: int = 1, /, **tags: str) -> None:
        self._report("incr", name, by, tags)

    def gauge(self, name: str, value: float, /, **tags: str) -> None:
        self._report("gauge", name, value, tags)

    def time(self, name: str, seconds: float, /, **tags: str) -> None:
        # StatsD and Airflow's OpenTelemetry both read a bare number as milliseconds.
        self._report("timing", name, seconds * 1000.0, tags)

    def _report(self, how: str, name: str, value: float, tags: dict[str, str]) -> None:
        try:
            own = {key: text for key, text in tags.items() if text}
            getattr(self._stats, how)(PREFIX + name, value, tags={**self._tags, **own})
        except Exception:
            # If the metrics server is down, metrics are lost, but no Airflow tasks.
            if not self._broken:
                self._broken = True
                log.exception("Metrics of the executor cannot be reported")
