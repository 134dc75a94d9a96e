"""What policies say now: their documents and CloudWatch's values as the figures of ``decision.py``."""

from __future__ import annotations

import math
from collections.abc import Iterable

from skylift.localcloud.ports import Document
from skylift.localcloud.scaling.decision import StepAdjustment, Stepping, Tracking
from skylift.localcloud.scaling.interfaces import ScalingMetric, ScalingMetrics
from skylift.localcloud.scaling.store import ScalingRecord

TRACKING, STEP = "TargetTrackingScaling", "StepScaling"
KINDS = {TRACKING: "TargetTrackingScalingPolicyConfiguration", STEP: "StepScalingPolicyConfiguration"}
ECS_METRICS = {
    "ECSServiceAverageCPUUtilization": "CPUUtilization",
    "ECSServiceAverageMemoryUtilization": "MemoryUtilization",
}
COOLDOWN = 300
"""Seconds: the default for ECS services (API reference)."""


def trackings_of(policies: Iterable[ScalingRecord], metrics: ScalingMetrics) -> list[Tracking]:
    """The target tracking policies."""
    return [
        _tracking(one, one.shown[KINDS[TRACKING]], metrics) for one in policies if one.shown["PolicyType"] == TRACKING
    ]


def steppings_of(policies: Iterable[ScalingRecord], metrics: ScalingMetrics) -> list[Stepping]:
    """The step scaling policies, once for each alarm in the state ALARM."""
    found = []
    for one in policies:
        if one.shown["PolicyType"] != STEP:
            continue
        asked = one.shown[KINDS[STEP]]
        found += [
            Stepping(
                one.shown["PolicyName"],
                alarm.name,
                alarm.breach,
                tuple(_step(step) for step in asked["StepAdjustments"]),
                asked["AdjustmentType"],
                asked.get("MinAdjustmentMagnitude", 0),
                asked.get("Cooldown", COOLDOWN),
            )
            for alarm in metrics.alarms(one.id)
            if alarm.breach is not None
        ]
    return found


def _tracking(policy: ScalingRecord, asked: Document, metrics: ScalingMetrics) -> Tracking:
    metric = _metric(policy.resource, asked)
    return Tracking(
        policy.shown["PolicyName"],
        metric.name,
        metrics.newest(metric),
        asked["TargetValue"],
        not asked.get("DisableScaleIn", False),
        asked.get("ScaleOutCooldown", COOLDOWN),
        asked.get("ScaleInCooldown", COOLDOWN),
    )


def _metric(resource: str, asked: Document) -> ScalingMetric:
    if predefined := asked.get("PredefinedMetricSpecification"):
        _, cluster, service = resource.split("/")
        dimensions = {"ClusterName": cluster, "ServiceName": service}
        return ScalingMetric("AWS/ECS", ECS_METRICS[predefined["PredefinedMetricType"]], dimensions)
    own = asked["CustomizedMetricSpecification"]
    dimensions = {one["Name"]: one["Value"] for one in own.get("Dimensions", ())}
    return ScalingMetric(own["Namespace"], own["MetricName"], dimensions, own["Statistic"])


def _step(step: Document) -> StepAdjustment:
    return StepAdjustment(
        step.get("MetricIntervalLowerBound", -math.inf),
        step.get("MetricIntervalUpperBound", math.inf),
        step["ScalingAdjustment"],
    )
