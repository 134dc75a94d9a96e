"""CloudWatch for scaling policies (``scaling.interfaces``): in this process. Depends on ministack's internals."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Mapping
from typing import Any

from skylift.localcloud.emulators.ministack import CLOUDWATCH, Ministack
from skylift.localcloud.scaling.interfaces import PolicyAlarm, ScalingMetric, ScalingMetrics

_STALE_SECONDS = 300.0
_MINUTE = 60.0
_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class EmulatedScalingMetrics(ScalingMetrics):
    """Metrics and alarms of ministack."""

    def __init__(self, ministack: Ministack) -> None:
        self._ministack = ministack

    def newest(self, metric: ScalingMetric) -> float | None:
        with self._ministack.scope():
            points = self._points(metric.namespace, metric.name, metric.dimensions, _STALE_SECONDS)
            if not points:
                return None
            newest = points[-1]["Timestamp"]
            return self._statistic(metric.statistic, [one for one in points if one["Timestamp"] > newest - _MINUTE])

    def alarms(self, policy: str) -> list[PolicyAlarm]:
        with self._ministack.scope():
            return [
                PolicyAlarm(one["AlarmName"], one["AlarmArn"], self._breach(one))
                for one in self._ministack.service(CLOUDWATCH)._alarms.values()
                if policy in one.get("AlarmActions", ()) and one.get("ActionsEnabled", True)
            ]

    def _breach(self, alarm: Mapping[str, Any]) -> float | None:
        """By values of its own dimensions; if there are none, an alarm that somebody has just set counts, as if at
        the threshold."""
        if alarm["StateValue"] != "ALARM":
            return None
        lasts = max(_MINUTE, float(alarm.get("Period", 60)) * float(alarm.get("EvaluationPeriods", 1)))
        dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", ())}
        points = self._points(alarm.get("Namespace", ""), alarm.get("MetricName", ""), dimensions, lasts)
        if not points:
            return 0.0 if time.time() < float(alarm.get("StateUpdatedTimestamp", 0)) + lasts else None
        value, threshold = self._statistic(alarm.get("Statistic", "Average"), points), float(alarm.get("Threshold", 0))
        compared = _COMPARED.get(alarm.get("ComparisonOperator", ""))
        return value - threshold if compared is not None and compared(value, threshold) else None

    def _points(self, namespace: str, name: str, dimensions: Mapping[str, str], seconds: float) -> list[Any]:
        cloudwatch, since = self._ministack.service(CLOUDWATCH), time.time() - seconds
        found = cloudwatch._metrics.get((namespace, name, cloudwatch._dims_key(dict(dimensions))))
        return [one for one in found or () if one["Timestamp"] >= since]

    def _statistic(self, name: str, points: list[Any]) -> float:
        cloudwatch = self._ministack.service(CLOUDWATCH)
        return float(cloudwatch._stat_value(cloudwatch._calc_stats(points), name, points))
