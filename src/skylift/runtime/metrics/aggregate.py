"""Collects metric values between two sends: a counter's are added, a gauge keeps the last, a timer keeps all. Pure.

The result is CloudWatch's ``MetricData``: one entry for each metric, however often it was reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.runtime.metrics.names import Dimensions, MetricName

MOST_METRICS = 5_000
"""Metrics kept between two sends. Further new ones are dropped and counted: memory stays bounded, whatever a DAG does.
"""

MOST_VALUES = 150
"""Different values of one timer that are sent individually (PutMetricData's limit), so that CloudWatch can compute
percentiles. With more values, only count, sum, minimum and maximum are sent."""

_Key = tuple[str, Dimensions]


class Aggregate:
    """One process's metrics since they were last taken. Not thread-safe.

    Attributes:
        dropped: number of values for which there was no room.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._units: dict[_Key, str] = {}
        self._sums: dict[_Key, float] = {}
        self._gauges: dict[_Key, float] = {}
        self._timers: dict[_Key, _Timings] = {}

    def count(self, name: MetricName, by: float) -> None:
        """Adds to a counter. Airflow reports each state of a task instance with 0. Metrics cost money, so a counter
        that only got zeros is not sent."""
        key = self._key(name) if by else None
        if key is not None:
            self._sums[key] = self._sums.get(key, 0.0) + by

    def gauge(self, name: MetricName, value: float, delta: bool = False) -> None:
        """Sets a gauge, or with ``delta`` changes it."""
        key = self._key(name)
        if key is not None:
            self._gauges[key] = value + (self._gauges.get(key, 0.0) if delta else 0.0)

    def time(self, name: MetricName, value: float) -> None:
        """Adds a duration, in the metric's unit."""
        key = self._key(name)
        if key is not None:
            self._timers.setdefault(key, _Timings()).add(value)

    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self._units

    def data(self, more: Mapping[str, str]) -> list[dict[str, Any]]:
        """``MetricData`` without time stamps.

        Args:
            more: dimensions of every metric.
        """
        values: dict[_Key, dict[str, Any]] = {
            **{key: {"Value": value} for key, value in {**self._sums, **self._gauges}.items()},
            **{key: timings.value() for key, timings in self._timers.items()},
        }
        return [
            {
                "MetricName": name,
                "Dimensions": [{"Name": dimension, "Value": text} for dimension, text in (*dimensions, *more.items())],
                "Unit": self._units[name, dimensions],
                **value,
            }
            for (name, dimensions), value in values.items()
        ]

    def _key(self, name: MetricName) -> _Key | None:
        key = (name.name, name.dimensions)
        if key not in self._units:
            if len(self._units) >= MOST_METRICS:
                self.dropped += 1
                return None
            self._units[key] = name.unit
        return key


class _Timings:
    def __init__(self) -> None:
        self._values: dict[float, int] = {}
        self._count, self._sum = 0, 0.0
        self._least, self._most = float("inf"), float("-inf")

    def add(self, value: float) -> None:
        self._count += 1
        self._sum += value
        self._least, self._most = min(self._least, value), max(self._most, value)
        if len(self._values) <= MOST_VALUES:
            self._values[value] = self._values.get(value, 0) + 1

    def value(self) -> dict[str, Any]:
        if len(self._values) <= MOST_VALUES:
            return {"Values": list(self._values), "Counts": [float(times) for times in self._values.values()]}
        numbers = {"SampleCount": self._count, "Sum": self._sum, "Minimum": self._least, "Maximum": self._most}
        return {"StatisticValues": {name: float(number) for name, number in numbers.items()}}
