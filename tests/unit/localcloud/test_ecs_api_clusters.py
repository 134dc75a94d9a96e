"""ECS's operations on clusters, capacity providers, account settings and instances, case by case.

Sources of rules that botocore's model does not hold: API reference of each operation; texts from AWS's answers where
they are known.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.ecs_table import BASE, Case, play

pytestmark = pytest.mark.unit

ASG = {"autoScalingGroupArn": "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:1:autoScalingGroupName/a"}
SPOT_ONLY = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
INVALID, CLIENT = "InvalidParameterException", "ClientException"
NO_CLUSTER = "ClusterNotFoundException"

CLUSTERS = [
    Case(
        "made", "create_cluster", {"clusterName": "a"}, shows={"cluster.status": "ACTIVE", "cluster.clusterName": "a"}
    ),
    Case("default name", "create_cluster", {}, shows={"cluster.clusterArn": f"{BASE}:cluster/default"}),
    Case("again", "create_cluster", {"clusterName": "bare"}, shows={"cluster.status": "ACTIVE"}),
    Case(
        "with providers",
        "create_cluster",
        {"clusterName": "a", "capacityProviders": ["FARGATE_SPOT"], "defaultCapacityProviderStrategy": SPOT_ONLY},
        shows={"cluster.capacityProviders": ["FARGATE_SPOT"], "cluster.defaultCapacityProviderStrategy": SPOT_ONLY},
    ),
    Case("bad name", "create_cluster", {"clusterName": "a b"}, INVALID, "invalid characters"),
    Case("unknown provider", "create_cluster", {"capacityProviders": ["nope"]}, INVALID, "nope was not found"),
    Case(
        "strategy of a foreign provider",
        "create_cluster",
        {"clusterName": "a", "capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": SPOT_ONLY},
        INVALID,
        "not associated with the cluster",
    ),
    Case(
        "bad setting",
        "create_cluster",
        {"settings": [{"name": "containerInsights", "value": "maybe"}]},
        INVALID,
        "setting value: maybe",
    ),
    Case(
        "aws: tag",
        "create_cluster",
        {"clusterName": "a", "tags": [{"key": "aws:x", "value": "1"}]},
        INVALID,
        "aws: prefixed tag key names",
    ),
    Case(
        "described",
        "describe_clusters",
        {},
        shows={"clusters.0.runningTasksCount": 2, "clusters.0.activeServicesCount": 1, "clusters.0.settings": []},
    ),
    Case(
        "missing is a failure",
        "describe_clusters",
        {"clusters": ["nope"]},
        shows={"failures": [{"arn": f"{BASE}:cluster/nope", "reason": "MISSING"}], "clusters": []},
    ),
    Case(
        "settings when asked for",
        "describe_clusters",
        {"include": ["SETTINGS"]},
        shows={"clusters.0.settings": [{"name": "containerInsights", "value": "disabled"}]},
    ),
    Case("too many", "describe_clusters", {"clusters": [f"c{n}" for n in range(101)]}, INVALID, "more than 100"),
    Case("listed", "list_clusters", {}, shows={"clusterArns": [f"{BASE}:cluster/bare", f"{BASE}:cluster/default"]}),
    Case("a page", "list_clusters", {"maxResults": 1}, shows={"nextToken": "1", "clusterArns.#": 1}),
    Case("foreign token", "list_clusters", {"nextToken": "xyz"}, INVALID, "token"),
    Case(
        "updated",
        "update_cluster",
        {"cluster": "bare", "settings": [{"name": "containerInsights", "value": "enhanced"}]},
        shows={"cluster.settings.0.value": "enhanced"},
    ),
    Case("update of none", "update_cluster", {"cluster": "nope"}, NO_CLUSTER, "Cluster not found."),
    Case(
        "settings updated",
        "update_cluster_settings",
        {"cluster": "bare", "settings": [{"name": "containerInsights", "value": "enabled"}]},
        shows={"cluster.settings.0.value": "enabled"},
    ),
    Case(
        "bad settings",
        "update_cluster_settings",
        {"cluster": "bare", "settings": [{"name": "containerInsights", "value": "?"}]},
        INVALID,
        "setting value",
    ),
    Case(
        "providers put",
        "put_cluster_capacity_providers",
        {"cluster": "bare", "capacityProviders": ["own"], "defaultCapacityProviderStrategy": []},
        shows={"cluster.capacityProviders": ["own"]},
    ),
    Case(
        "two bases",
        "put_cluster_capacity_providers",
        {
            "capacityProviders": ["FARGATE", "FARGATE_SPOT", "own"],
            "defaultCapacityProviderStrategy": [
                {"capacityProvider": "FARGATE", "weight": 1, "base": 1},
                {"capacityProvider": "FARGATE_SPOT", "base": 1},
            ],
        },
        INVALID,
        "Only one capacity provider",
    ),
    Case(
        "Fargate and own do not mix",
        "put_cluster_capacity_providers",
        {
            "capacityProviders": ["FARGATE", "own"],
            "defaultCapacityProviderStrategy": [
                {"capacityProvider": "FARGATE", "weight": 1},
                {"capacityProvider": "own", "weight": 1},
            ],
        },
        INVALID,
        "cannot mix",
    ),
    Case(
        "no weight at all",
        "put_cluster_capacity_providers",
        {
            "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": [
                {"capacityProvider": "FARGATE"},
                {"capacityProvider": "FARGATE_SPOT"},
            ],
        },
        CLIENT,
        "weight greater than zero",
    ),
    Case("deleted", "delete_cluster", {"cluster": "bare"}, shows={"cluster.status": "INACTIVE"}),
    Case(
        "with services",
        "delete_cluster",
        {"cluster": "default"},
        "ClusterContainsServicesException",
        "Services are active",
    ),
]

PROVIDERS = [
    Case(
        "made",
        "create_capacity_provider",
        {"name": "mine", "autoScalingGroupProvider": ASG},
        shows={
            "capacityProvider.status": "ACTIVE",
            "capacityProvider.capacityProviderArn": f"{BASE}:capacity-provider/mine",
            "capacityProvider.autoScalingGroupProvider.managedScaling.targetCapacity": 100,
        },
    ),
    Case(
        "reserved prefix",
        "create_capacity_provider",
        {"name": "FargateX", "autoScalingGroupProvider": ASG},
        INVALID,
        "begin",
    ),
    Case("without a group", "create_capacity_provider", {"name": "x"}, INVALID, "should not be null"),
    Case(
        "taken", "create_capacity_provider", {"name": "own", "autoScalingGroupProvider": ASG}, CLIENT, "already exists"
    ),
    Case(
        "all",
        "describe_capacity_providers",
        {},
        shows={"capacityProviders.#": 4, "capacityProviders.0.name": "FARGATE"},
    ),
    Case(
        "one by ARN",
        "describe_capacity_providers",
        {"capacityProviders": [f"{BASE}:capacity-provider/own"]},
        shows={"capacityProviders.0.name": "own"},
    ),
    Case(
        "unknown", "describe_capacity_providers", {"capacityProviders": ["x"]}, shows={"failures.0.reason": "MISSING"}
    ),
    Case(
        "too many described",
        "describe_capacity_providers",
        {"capacityProviders": [str(n) for n in range(101)]},
        INVALID,
        "more than 100",
    ),
    Case(
        "updated",
        "update_capacity_provider",
        {"name": "own", "autoScalingGroupProvider": {"managedScaling": {"targetCapacity": 50}}},
        shows={"capacityProvider.autoScalingGroupProvider.managedScaling.targetCapacity": 50},
    ),
    Case("not Fargate's", "update_capacity_provider", {"name": "FARGATE"}, CLIENT, "reserved"),
    Case(
        "deleted",
        "delete_capacity_provider",
        {"capacityProvider": "idle"},
        shows={"capacityProvider.status": "INACTIVE"},
    ),
    Case("in use", "delete_capacity_provider", {"capacityProvider": "own"}, CLIENT, "associated with cluster: default"),
    Case("none", "delete_capacity_provider", {"capacityProvider": "x"}, CLIENT, "does not exist"),
]

ROOT = "arn:aws:iam::000000000000:root"
SETTINGS = [
    Case(
        "put",
        "put_account_setting",
        {"name": "containerInsights", "value": "enhanced"},
        shows={"setting.value": "enhanced", "setting.principalArn": "arn:aws:iam::000000000000:user/me"},
    ),
    Case("bad value", "put_account_setting", {"name": "awsvpcTrunking", "value": "7"}, INVALID, "awsvpcTrunking: 7"),
    Case(
        "for everybody",
        "put_account_setting_default",
        {"name": "fargateTaskRetirementWaitPeriod", "value": "14"},
        shows={"setting.principalArn": ROOT},
    ),
    Case(
        "bad default",
        "put_account_setting_default",
        {"name": "fargateTaskRetirementWaitPeriod", "value": "5"},
        INVALID,
        "0, 14, 7",
    ),
    Case("none of one's own", "list_account_settings", {}, shows={"settings": []}),
    Case(
        "what holds",
        "list_account_settings",
        {"effectiveSettings": True, "name": "taskLongArnFormat"},
        shows={"settings.0.value": "enabled"},
    ),
    Case("bad page", "list_account_settings", {"nextToken": "-"}, INVALID, "token"),
    Case("taken back", "delete_account_setting", {"name": "containerInsights"}, shows={"setting.value": "disabled"}),
]

INSTANCES = [
    Case("none", "list_container_instances", {}, shows={"containerInstanceArns": []}),
    Case("of no cluster", "list_container_instances", {"cluster": "x"}, NO_CLUSTER, "not found"),
    Case(
        "missing", "describe_container_instances", {"containerInstances": ["i"]}, shows={"failures.0.reason": "MISSING"}
    ),
    Case(
        "of no cluster",
        "describe_container_instances",
        {"cluster": "x", "containerInstances": ["i"]},
        NO_CLUSTER,
        "not found",
    ),
    Case(
        "state of none",
        "update_container_instances_state",
        {"containerInstances": ["i"], "status": "DRAINING"},
        shows={"failures.0.reason": "MISSING"},
    ),
    Case(
        "state in no cluster",
        "update_container_instances_state",
        {"cluster": "x", "containerInstances": ["i"], "status": "DRAINING"},
        NO_CLUSTER,
        "not found",
    ),
    Case(
        "attributes in no cluster",
        "list_attributes",
        {"cluster": "x", "targetType": "container-instance"},
        NO_CLUSTER,
        "not",
    ),
    Case(
        "started on none",
        "start_task",
        {"taskDefinition": "f", "containerInstances": ["i"]},
        shows={"tasks": [], "failures.0.arn": f"{BASE}:container-instance/default/i"},
    ),
    Case("unknown definition", "start_task", {"taskDefinition": "x", "containerInstances": ["i"]}, CLIENT, "not found"),
    Case("no instances", "start_task", {"taskDefinition": "f", "containerInstances": []}, INVALID, "1 to 10"),
    Case("not here", "register_container_instance", {}, CLIENT, "as on Fargate"),
    Case("not registered", "deregister_container_instance", {"containerInstance": "i"}, INVALID, "not registered"),
    Case("no attributes", "list_attributes", {"targetType": "container-instance"}, shows={"attributes": []}),
    Case("nothing to put on", "put_attributes", {"attributes": []}, "TargetNotFoundException", "target"),
    Case("nothing to delete from", "delete_attributes", {"attributes": []}, "TargetNotFoundException", "target"),
    Case("no task sets", "describe_task_sets", {"service": "s", "cluster": "default"}, shows={"taskSets": []}),
    Case(
        "none of no service",
        "describe_task_sets",
        {"service": "x", "cluster": "default"},
        "ServiceNotFoundException",
        "Service not found",
    ),
    Case("no task set", "create_task_set", {"service": "s", "cluster": "default"}, INVALID, "EXTERNAL"),
]

CASES = [*CLUSTERS, *PROVIDERS, *SETTINGS, *INSTANCES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation}: {case.name}")
def test_case(tmp_path: Path, case: Case) -> None:
    play(tmp_path, case)
