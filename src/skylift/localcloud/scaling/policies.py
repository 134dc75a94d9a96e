"""Scaling policies: what is accepted, and what they say now."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import uuid
from itertools import pairwise

from skylift.localcloud.ports import Document
from skylift.localcloud.scaling.operations import Request, ScalingOperations, invalid, policy_arn, shown
from skylift.localcloud.scaling.readings import ECS_METRICS, KINDS, STEP, TRACKING
from skylift.localcloud.scaling.store import RecordKind, ScalingRecord
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

_MOST_POLICIES = 50
"""Quota: step scaling and target tracking policies of one target."""


class PolicyOperations(ScalingOperations):
    """PutScalingPolicy and its like."""

    def put_scaling_policy(self, caller: Caller, request: Request) -> Document:
        """Makes or changes a policy, and looks at once whether it has something to do."""
        target = self.target(request)
        name = request["PolicyName"]
        found = self.store.named(RecordKind.POLICY, target.resource, "PolicyName", name)
        kind = request.get("PolicyType") or (found.shown["PolicyType"] if found else STEP)
        if found is not None and kind != found.shown["PolicyType"]:
            raise invalid(f"The policy type of an existing policy cannot be changed: {name}")
        if found is None and len(self.store.all(RecordKind.POLICY, target.resource)) >= _MOST_POLICIES:
            raise AwsError("LimitExceededException", f"A scalable target can have {_MOST_POLICIES} policies at most")
        _check(kind, request)
        member = KINDS[kind]
        arn = found.id if found else policy_arn(caller, "scalingPolicy", str(uuid.uuid4()), target.resource, name)
        document = {
            "PolicyARN": arn,
            "PolicyName": name,
            "ServiceNamespace": "ecs",
            "ResourceId": target.resource,
            "ScalableDimension": request["ScalableDimension"],
            "PolicyType": kind,
            member: request[member],
            "CreationTime": found.shown["CreationTime"] if found else self.clock(),
        }
        policy = found or ScalingRecord(RecordKind.POLICY, arn, document)
        policy.shown = document
        self.store.save(policy)
        self.scaler.ring()
        return {"PolicyARN": arn, "Alarms": self._alarms(policy)}

    def describe_scaling_policies(self, caller: Caller, request: Request) -> Document:
        """Policies, in the order in which they were made."""
        wanted = {"PolicyName": request.get("PolicyNames", [])}
        found, more = self.listed(RecordKind.POLICY, request, wanted)
        return {"ScalingPolicies": [{**shown(one), "Alarms": self._alarms(one)} for one in found], **more}

    def delete_scaling_policy(self, caller: Caller, request: Request) -> Document:
        """Forgets a policy; the service stays as it is."""
        self.store.remove([self.one(RecordKind.POLICY, request, "PolicyName", "Scaling policy")])
        return {}

    def _alarms(self, policy: ScalingRecord) -> list[Document]:
        """Those that a person made for it. Target tracking makes none here: the values are read directly."""
        return [{"AlarmName": one.name, "AlarmARN": one.arn} for one in self.scaler.metrics.alarms(policy.id)]


def _check(kind: str, request: Request) -> None:
    if kind not in KINDS:
        raise AwsError("NotImplemented", f"skylift's local cloud does not serve {kind} policies.", 501)
    if any(member in request for other, member in KINDS.items() if other != kind):
        raise invalid(f"Only {KINDS[kind]} can be specified for the policy type {kind}")
    if KINDS[kind] not in request:
        raise invalid(f"{KINDS[kind]} must be specified for the policy type {kind}")
    if kind == TRACKING:
        _check_tracking(request[KINDS[kind]])
    else:
        _check_steps(request[KINDS[kind]])


def _check_tracking(asked: Request) -> None:
    predefined, customized = asked.get("PredefinedMetricSpecification"), asked.get("CustomizedMetricSpecification")
    if (predefined is None) == (customized is None):
        raise invalid("Either a PredefinedMetricSpecification or a CustomizedMetricSpecification must be specified")
    if asked["TargetValue"] <= 0:
        raise invalid("TargetValue must be greater than 0")
    _check_cooldowns(asked, "ScaleOutCooldown", "ScaleInCooldown")
    if predefined is not None and predefined["PredefinedMetricType"] not in ECS_METRICS:
        kind = predefined["PredefinedMetricType"]
        raise invalid(f"{kind} is not measured by skylift's local cloud for ECS: take one of {', '.join(ECS_METRICS)}")
    if customized is not None:
        if customized.get("Metrics"):
            raise invalid("skylift's local cloud has no metric math: name one metric, not Metrics.")
        missing = [one for one in ("MetricName", "Namespace", "Statistic") if not customized.get(one)]
        if missing:
            raise invalid(f"CustomizedMetricSpecification needs {', '.join(missing)}")


def _check_steps(asked: Request) -> None:
    if not asked.get("AdjustmentType"):
        raise invalid("AdjustmentType must be specified")
    if not asked.get("StepAdjustments"):
        raise invalid("At least one StepAdjustment must be specified")
    _check_cooldowns(asked, "Cooldown")
    if asked.get("MinAdjustmentMagnitude") is not None and asked["AdjustmentType"] != "PercentChangeInCapacity":
        raise invalid("MinAdjustmentMagnitude is only supported for the adjustment type PercentChangeInCapacity")
    infinity = float("inf")
    steps = sorted(
        (one.get("MetricIntervalLowerBound", -infinity), one.get("MetricIntervalUpperBound", infinity))
        for one in asked["StepAdjustments"]
    )
    if any(lower >= upper for lower, upper in steps):
        raise invalid("StepAdjustment interval lower bound must be less than the upper bound")
    for (_, upper), (lower, _) in pairwise(steps):
        if upper != lower:
            words = "gap between" if upper < lower else "overlap of"
            raise invalid(f"There is a {words} StepAdjustment intervals at {min(upper, lower):g}")


def _check_cooldowns(asked: Request, *members: str) -> None:
    for member in members:
        if asked.get(member, 0) < 0:
            raise invalid(f"{member} must be greater than or equal to 0")
