"""Application Auto Scaling with the real client: services follow metrics, alarms and the clock, also after a restart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.ecs_cloud import NETWORK, Cloud, definition, furnished, wait_for

pytestmark = pytest.mark.local

RESOURCE = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/default/web",
    "ScalableDimension": "ecs:service:DesiredCount",
}
SOON = timedelta(seconds=2)


def web(cloud: Cloud) -> Any:
    """A service of one ECS task, and the client that scales it."""
    ecs = cloud.client()
    ecs.register_task_definition(**{**definition("sleep", "300"), "family": "web"})
    ecs.create_service(serviceName="web", taskDefinition="web", desiredCount=1, networkConfiguration=NETWORK)
    return cloud.client("application-autoscaling")


def desired(cloud: Cloud) -> int:
    return int(cloud.client().describe_services(services=["web"])["services"][0]["desiredCount"])


def track(scaling: Any, target: float, name: str = "load") -> str:
    metric = {"Namespace": "Mine", "MetricName": "Load", "Statistic": "Average"}
    metric |= {"Dimensions": [{"Name": "Service", "Value": "web"}]}
    wanted = {"TargetValue": target, "CustomizedMetricSpecification": metric}
    wanted |= {"ScaleOutCooldown": 0, "ScaleInCooldown": 0}
    made = scaling.put_scaling_policy(
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=wanted,
        **RESOURCE,
    )
    return str(made["PolicyARN"])


def refused(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**request)
    return f"{error.value.response['Error']['Code']}: {error.value.response['Error']['Message']}"


def test_a_service_follows_a_metric_an_alarm_and_the_clock(tmp_path: Path) -> None:
    with furnished(tmp_path) as cloud:
        scaling, watch = web(cloud), cloud.client("cloudwatch")
        scaling.register_scalable_target(MinCapacity=2, MaxCapacity=6, Tags={"a": "b"}, **RESOURCE)
        assert desired(cloud) == 2
        dimensions = [{"Name": "Service", "Value": "web"}]
        watch.put_metric_data(
            Namespace="Mine", MetricData=[{"MetricName": "Load", "Value": 60, "Dimensions": dimensions}]
        )
        track(scaling, 30)
        wait_for(lambda: desired(cloud) == 4)
        track(scaling, 120)
        wait_for(lambda: desired(cloud) == 2)
        scaling.delete_scaling_policy(PolicyName="load", **RESOURCE)
        steps = {"AdjustmentType": "ChangeInCapacity", "Cooldown": 300}
        steps |= {"StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]}
        request = {"PolicyName": "steps", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": steps}
        arn = scaling.put_scaling_policy(**request, **RESOURCE)["PolicyARN"]
        watch.put_metric_alarm(
            AlarmName="busy",
            Namespace="Mine",
            MetricName="Load",
            Dimensions=dimensions,
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=50,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[arn],
        )
        watch.put_metric_data(
            Namespace="Mine", MetricData=[{"MetricName": "Load", "Value": 70, "Dimensions": dimensions}]
        )
        made = scaling.put_scaling_policy(**request, **RESOURCE)
        assert [one["AlarmName"] for one in made["Alarms"]] == ["busy"]
        wait_for(lambda: desired(cloud) == 3)
        at = datetime.now(UTC) + SOON
        scaling.put_scheduled_action(
            ScheduledActionName="more",
            Schedule=f"at({at:%Y-%m-%dT%H:%M:%S})",
            ScalableTargetAction={"MinCapacity": 5, "MaxCapacity": 8},
            **RESOURCE,
        )
        wait_for(lambda: desired(cloud) == 5)
        causes = [
            one["Cause"] for one in scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"]
        ]
        assert causes == [
            "minimum capacity was set to 5",
            "scheduled action name more was triggered",
            "monitor alarm busy in state ALARM triggered policy steps",
            "Load of 60 against a target of 120 triggered policy load",
            "Load of 60 against a target of 30 triggered policy load",
            "minimum capacity was set to 2",
        ]


def test_a_restart_keeps_everything_and_deregistering_forgets_it(tmp_path: Path) -> None:
    with furnished(tmp_path) as cloud:
        scaling = web(cloud)
        arn = scaling.register_scalable_target(MinCapacity=1, MaxCapacity=6, Tags={"a": "b"}, **RESOURCE)[
            "ScalableTargetARN"
        ]
        scaling.register_scalable_target(SuspendedState={"DynamicScalingInSuspended": True}, **RESOURCE)
        scaling.tag_resource(ResourceARN=arn, Tags={"c": "d"})
        scaling.untag_resource(ResourceARN=arn, TagKeys=["a"])
        policy = track(scaling, 30)
        cron = {"Schedule": "cron(0 8 ? * MON-FRI *)", "Timezone": "Europe/Berlin", "ScheduledActionName": "day"}
        scaling.put_scheduled_action(ScalableTargetAction={"MinCapacity": 3}, **cron, **RESOURCE)
        at = datetime.now(UTC) + SOON
        scaling.put_scheduled_action(
            ScheduledActionName="missed",
            Schedule=f"at({at:%Y-%m-%dT%H:%M:%S})",
            ScalableTargetAction={"MinCapacity": 2},
            **RESOURCE,
        )
        cloud.stop()
        wait_for(lambda: datetime.now(UTC) > at)
        cloud.start()
        scaling = cloud.client("application-autoscaling")
        wait_for(lambda: desired(cloud) == 2)
        (target,) = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
        assert (target["ScalableTargetARN"], target["MinCapacity"], target["MaxCapacity"]) == (arn, 2, 6)
        assert target["SuspendedState"]["DynamicScalingInSuspended"]
        assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"c": "d"}
        (found,) = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
        assert (found["PolicyARN"], found["PolicyType"]) == (policy, "TargetTrackingScaling")
        (action,) = scaling.describe_scheduled_actions(ServiceNamespace="ecs", ScheduledActionNames=["day"])[
            "ScheduledActions"
        ]
        assert {name: action[name] for name in cron} == cron
        scaling.delete_scheduled_action(ScheduledActionName="missed", **RESOURCE)
        scaling.deregister_scalable_target(**RESOURCE)
        assert scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"] == []
        assert scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"] == []
        assert desired(cloud) == 2


def test_what_cannot_be_scaled_is_refused_in_the_words_of_aws(cloud: Cloud) -> None:
    scaling = web(cloud)
    named = "service namespace: ecs, resource ID: service/default/web, scalable dimension: ecs:service:DesiredCount"
    limits = {"MinCapacity": 1, "MaxCapacity": 2}
    missing = {**RESOURCE, "ResourceId": "service/default/none"}
    assert refused(scaling.register_scalable_target, **limits, **missing) == (
        "ValidationException: ECS service doesn't exist: service/default/none"
    )
    wrong = {**RESOURCE, "ResourceId": "web"}
    assert refused(scaling.register_scalable_target, **limits, **wrong) == (
        "ValidationException: Unsupported service namespace, resource type or scalable dimension"
    )
    table = {"ServiceNamespace": "dynamodb", "ResourceId": "table/t"}
    table |= {"ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
    assert refused(scaling.register_scalable_target, **limits, **table).startswith("NotImplemented: ")
    assert scaling.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"] == []
    told = refused(scaling.deregister_scalable_target, **RESOURCE)
    assert told == f"ObjectNotFoundException: No scalable target registered for {named}"
    swapped = {"MinCapacity": 3, "MaxCapacity": 2}
    assert "less than minimum" in refused(scaling.register_scalable_target, **swapped, **RESOURCE)
    scaling.register_scalable_target(**limits, **RESOURCE)
    told = refused(scaling.delete_scaling_policy, PolicyName="none", **RESOURCE)
    assert told == f"ObjectNotFoundException: No scaling policy found for {named}, scaling policy name: none"
    action = {"ScheduledActionName": "a", "ScalableTargetAction": {"MinCapacity": 1}, **RESOURCE}
    for more in ({"Schedule": "cron(0 8 * * *)"}, {"Schedule": "rate(1 day)", "Timezone": "Mars/Base"}):
        assert refused(scaling.put_scheduled_action, **action, **more).startswith("ValidationException: Invalid")
    balanced = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}}
    policy = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling", **RESOURCE}
    told = refused(
        scaling.put_scaling_policy, TargetTrackingScalingPolicyConfiguration={"TargetValue": 1, **balanced}, **policy
    )
    assert "ECSServiceAverageCPUUtilization" in told
