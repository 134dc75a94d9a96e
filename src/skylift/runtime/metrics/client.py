"""Airflow's StatsD client, which sums in the process and sends to CloudWatch: ``[metrics] statsd_custom_client_path``.

Components send every ``SKYLIFT_METRICS_SECONDS`` from a thread, and once more at their end. An Airflow task, and a
process that parses DAGs, sends only at its end. Airflow waits only for that last send, and never fails because of
metrics: when CloudWatch does not answer, values are dropped, and the log says so once. The reasons are in
``docs/decisions/0012-metrics.md``.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from statsd import StatsClient

from skylift.aws.metrics import CloudWatch
from skylift.core.containers import ENVIRONMENT, METRICS_SECONDS, Command
from skylift.core.errors import SkyliftError
from skylift.runtime.metrics.aggregate import Aggregate
from skylift.runtime.metrics.names import NAMESPACE, MetricName, named

log = logging.getLogger(__name__)

Put = Callable[[str, Sequence[Mapping[str, Any]]], None]

REGULAR = frozenset({Command.API_SERVER, Command.SCHEDULER, Command.DAG_PROCESSOR, Command.TRIGGERER})
"""Programs that live long, and so send repeatedly."""

QUIET = (
    "airflow.observability.metrics.statsd_logger",
    "airflow.sdk.observability.metrics.statsd_logger",
    "botocore.configprovider",
)
"""Loggers that tell of this client once in each process: in the output of Airflow's commands, and in the log of each
Airflow task."""

for quiet in QUIET:
    logging.getLogger(quiet).setLevel(logging.WARNING)


class Sender:
    """The metrics of one process.

    Args:
        environment: the value of the dimension of that name.
        seconds: between two sends; 0: only at the process's end.
        put: CloudWatch's PutMetricData. Raises ``SkyliftError``.
    """

    def __init__(self, environment: str, seconds: float, put: Put) -> None:
        self._environment = environment
        self._seconds = seconds
        self._put = put
        self._lock = threading.Lock()
        self._values = Aggregate()
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def note(self, tell: Callable[[Aggregate], None]) -> None:
        """Adds a value. Fast; the first call starts the thread."""
        with self._lock:
            tell(self._values)
            if self._seconds and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="skylift-metrics", daemon=True)
                self._thread.start()

    def send(self) -> None:
        """Sends the collected values. Never raises."""
        with self._lock:
            values, self._values = self._values, Aggregate()
        data = values.data({"Environment": self._environment})
        self._lost += values.dropped
        if not data:
            return
        now = datetime.now(UTC)
        try:
            self._put(NAMESPACE, [{**one, "Timestamp": now} for one in data])
        except SkyliftError as error:
            if not self._lost:
                log.warning("CloudWatch does not take metrics; they are dropped until it does: %s", error)
            self._lost += len(data)
            return
        if self._lost:
            log.warning("CloudWatch takes metrics again; %d were dropped", self._lost)
            self._lost = 0

    def end(self) -> None:
        """Sends for the last time and stops the thread."""
        self._ended.set()
        self.send()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self.send()


class _Process:
    """State of this process: one sender, however many clients Airflow creates."""

    regular = False
    sender: Sender | None = None
    lock = threading.Lock()


def send_regularly(arguments: Sequence[str]) -> None:
    """Marks this process as an Airflow component, if it is one; its forks are not.

    Args:
        arguments: of Airflow's command line.
    """
    _Process.regular = bool(arguments) and arguments[0] in REGULAR


def sender() -> Sender:
    """This process's sender."""
    with _Process.lock:
        if _Process.sender is None:
            seconds = METRICS_SECONDS.read(os.environ) if _Process.regular else 0
            _Process.sender = Sender(ENVIRONMENT.read(os.environ), seconds, CloudWatch().put)
            # Airflow's forks have cleared the exit handlers of their parent, and run only those that they register.
            atexit.register(_Process.sender.end)
        return _Process.sender


def _forget() -> None:
    """In a fork: the parent sends the earlier values, the thread does not exist, and locks may be held by it."""
    _Process.regular, _Process.sender, _Process.lock = False, None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


class CloudWatchStats(StatsClient):
    """Like ``statsd.StatsClient``, without its socket."""

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        """Ignores the host, port, prefix and so on that Airflow passes."""
        self._prefix = None

    def incr(self, stat: str, count: float = 1, rate: float = 1) -> None:
        """A sample (``rate`` below 1) stands for all: Airflow's own metrics have no rates but one that is not sent."""
        self._note(stat, lambda values, name: values.count(name, count / rate))

    def gauge(self, stat: str, value: float, rate: float = 1, delta: bool = False) -> None:  # noqa: ARG002
        """Like StatsD's."""
        self._note(stat, lambda values, name: values.gauge(name, value, delta))

    def timing(self, stat: str, delta: float | timedelta, rate: float = 1) -> None:  # noqa: ARG002
        """A number is sent unchanged (nearly always milliseconds)."""
        number = delta.total_seconds() * 1000.0 if isinstance(delta, timedelta) else float(delta)
        self._note(stat, lambda values, name: values.time(name, number))

    def set(self, stat: str, value: Any, rate: float = 1) -> None:
        """Sets are not sent: Airflow has none."""

    def close(self) -> None:
        """Does nothing: nothing is open."""

    @staticmethod
    def _note(stat: str, tell: Callable[[Aggregate, MetricName], None]) -> None:
        name = named(stat)
        if name is not None:
            sender().note(lambda values: tell(values, name))
