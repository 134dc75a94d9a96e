"""ECS's operations on task definitions, ECS tasks, protection, tags and shells, case by case.

Sources of rules that botocore's model does not hold: API reference of each operation; "Amazon ECS task definition
parameters for Fargate"; ``ECS_Idempotency``; texts from AWS's answers where they are known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.ecs_table import BASE, NETWORK, Case, definition, play

pytestmark = pytest.mark.unit

INVALID, CLIENT = "InvalidParameterException", "ClientException"
NO_CLUSTER = "ClusterNotFoundException"


def registered(
    name: str, /, code: str = "", text: str = "", shows: dict[str, Any] | None = None, **container: Any
) -> Case:
    """A task definition whose container has these members."""
    return Case(name, "register_task_definition", definition(**container), code, text, shows or {})


def changed(name: str, /, text: str, **members: Any) -> Case:
    """A task definition that is refused for these members of its own."""
    return Case(name, "register_task_definition", {**definition(), **members}, CLIENT, text)


def logs(**options: str) -> dict[str, Any]:
    usual = {"awslogs-group": "g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}
    left = {**usual, **{key.replace("_", "-"): value for key, value in options.items()}}
    return {"logDriver": "awslogs", "options": {key: value for key, value in left.items() if value}}


def two(condition: str, essential: bool = False, **other: Any) -> list[dict[str, Any]]:
    needs = [{"containerName": "b", "condition": condition}]
    return [
        {"name": "a", "image": "i", "dependsOn": needs},
        {"name": "b", "image": "i", "essential": essential, **other},
    ]


HEALTH = {"command": ["CMD-SHELL", "true"]}
DEFINITIONS = [
    registered("second revision", shows={"taskDefinition.revision": 2, "taskDefinition.status": "ACTIVE"}),
    registered(
        "health check's defaults",
        healthCheck=HEALTH,
        shows={
            "taskDefinition.containerDefinitions.0.healthCheck": {**HEALTH, "interval": 30, "timeout": 5, "retries": 3}
        },
    ),
    registered(
        "host port",
        portMappings=[{"containerPort": 8}],
        shows={"taskDefinition.containerDefinitions.0.portMappings.0.hostPort": 8},
    ),
    registered("bad container name", CLIENT, "Invalid container name", name="a b"),
    registered("no image", CLIENT, "Container.image should not be null or empty.", image=""),
    registered("stopTimeout", CLIENT, "between 0 and 120", stopTimeout=121),
    registered("startTimeout", CLIENT, "between 2 and 120", startTimeout=1),
    registered("interval", CLIENT, "interval must be between 5 and 300", healthCheck={**HEALTH, "interval": 1}),
    registered("timeout", CLIENT, "timeout must be between 2 and 60", healthCheck={**HEALTH, "timeout": 61}),
    registered("retries", CLIENT, "retries must be between 1 and 10", healthCheck={**HEALTH, "retries": 11}),
    registered("start period", CLIENT, "startPeriod must be between", healthCheck={**HEALTH, "startPeriod": 301}),
    registered("no command", CLIENT, "must not be empty", healthCheck={"command": []}),
    registered("not essential", CLIENT, "No essential containers", essential=False),
    registered("awslogs", logConfiguration=logs()),
    registered(
        "awslogs without group", CLIENT, "requires options: awslogs-group", logConfiguration=logs(awslogs_group="")
    ),
    registered(
        "awslogs without prefix on Fargate",
        CLIENT,
        "requires options: awslogs-stream-prefix",
        logConfiguration=logs(awslogs_stream_prefix=""),
    ),
    registered("awslogs with more", CLIENT, "disallows options: tag", logConfiguration=logs(tag="x")),
    registered("awslogs' mode", CLIENT, "blocking or non-blocking", logConfiguration=logs(mode="x")),
    registered("awslogs' group made", CLIENT, "must be 'true'", logConfiguration=logs(awslogs_create_group="no")),
    registered(
        "other driver",
        CLIENT,
        "splunk is not supported by skylift's local cloud",
        logConfiguration={"logDriver": "splunk"},
    ),
    registered("volumes", CLIENT, "Unknown volume 'v'.", mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}]),
    registered(
        "a secret that is a variable too",
        CLIENT,
        "secret name must be unique",
        secrets=[{"name": "A", "valueFrom": "x"}],
        environment=[{"name": "A", "value": "1"}],
    ),
    changed(
        "secrets without execution role",
        "executionRoleArn",
        executionRoleArn="",
        containerDefinitions=[{"name": "c", "image": "i", "secrets": [{"name": "A", "valueFrom": "x"}]}],
    ),
    changed("bad family", "Invalid family name", family="a b"),
    changed("no containers", "at least one container", containerDefinitions=[]),
    changed("two of a name", "must be unique", containerDefinitions=[{"name": "c", "image": "i"}] * 2),
    changed("size", "No Fargate configuration exists for given values: 256 CPU, 4096 memory", memory="4096"),
    changed("odd cpu", "Invalid 'cpu' setting", cpu="much"),
    changed("no size", "Fargate requires that 'cpu' and 'memory' be defined", cpu=""),
    changed("bridge", "Fargate only supports network mode", networkMode="bridge"),
    changed("unhealthy dependency", "has no health check", containerDefinitions=two("HEALTHY")),
    changed("essential that completes", "cannot be essential", containerDefinitions=two("COMPLETE", essential=True)),
    changed("unknown dependency", "does not exist", containerDefinitions=two("START")[:1]),
    Case(
        "healthy dependency",
        "register_task_definition",
        {**definition(), "containerDefinitions": two("HEALTHY", healthCheck=HEALTH)},
    ),
    Case("described", "describe_task_definition", {"taskDefinition": "f"}, shows={"taskDefinition.revision": 1}),
    Case("with tags", "describe_task_definition", {"taskDefinition": "f:1", "include": ["TAGS"]}, shows={"tags": []}),
    Case("unknown", "describe_task_definition", {"taskDefinition": "x"}, CLIENT, "Unable to describe task definition."),
    Case(
        "listed",
        "list_task_definitions",
        {"familyPrefix": "f"},
        shows={"taskDefinitionArns": [f"{BASE}:task-definition/f:1"]},
    ),
    Case("whole families only", "list_task_definitions", {"familyPrefix": ""}, shows={"taskDefinitionArns": []}),
    Case("bad page", "list_task_definitions", {"nextToken": "9"}, INVALID, "token"),
    Case("families", "list_task_definition_families", {"status": "ACTIVE"}, shows={"families": ["f"]}),
    Case("bad page of families", "list_task_definition_families", {"nextToken": "9"}, INVALID, "token"),
    Case(
        "deregistered",
        "deregister_task_definition",
        {"taskDefinition": "f:1"},
        shows={"taskDefinition.status": "INACTIVE"},
    ),
    Case("without revision", "deregister_task_definition", {"taskDefinition": "f"}, CLIENT, "Revision is missing"),
    Case("unknown", "deregister_task_definition", {"taskDefinition": "f:9"}, CLIENT, "does not exist"),
    Case(
        "still active",
        "delete_task_definitions",
        {"taskDefinitions": ["f:1", "x:1"]},
        shows={"taskDefinitions": [], "failures.#": 2, "failures.1.reason": "TASK_DEFINITION_NOT_FOUND"},
    ),
    Case("too many", "delete_task_definitions", {"taskDefinitions": ["f:1"] * 11}, INVALID, "1 to 10"),
]

RUN = {"taskDefinition": "f", "networkConfiguration": NETWORK}


def ran(name: str, /, code: str = "", text: str = "", shows: dict[str, Any] | None = None, **members: Any) -> Case:
    return Case(name, "run_task", {**RUN, **members}, code, text, shows or {})


def override(**members: Any) -> dict[str, Any]:
    return {"containerOverrides": [{"name": "c", **members}]}


TASKS = [
    ran(
        "accepted",
        shows={
            "tasks.0.lastStatus": "PROVISIONING",
            "tasks.0.desiredStatus": "RUNNING",
            "tasks.0.launchType": "FARGATE",
            "tasks.0.group": "family:f",
            "tasks.0.version": 1,
            "tasks.0.attachments.0.type": "ElasticNetworkInterface",
            "failures": [],
        },
    ),
    ran("ten", count=10, shows={"tasks.#": 10}),
    ran(
        "size overridden",
        overrides={"cpu": "512", "memory": "1024"},
        shows={"tasks.0.cpu": "512", "tasks.0.memory": "1024"},
    ),
    ran("size by name", overrides={"cpu": "1 vCPU", "memory": "2 GB"}),
    ran(
        "managed tags",
        enableECSManagedTags=True,
        tags=[{"key": "a", "value": "b"}],
        shows={"tasks.0.tags": [{"key": "a", "value": "b"}, {"key": "aws:ecs:clusterName", "value": "default"}]},
    ),
    ran(
        "spot",
        capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        shows={"tasks.0.capacityProviderName": "FARGATE_SPOT", "tasks.0.launchType": "FARGATE"},
    ),
    ran(
        "one's own",
        capacityProviderStrategy=[{"capacityProvider": "own", "weight": 1}],
        shows={"tasks.0.capacityProviderName": "own", "tasks.0.launchType": "EC2"},
    ),
    ran("eleven", INVALID, "between 1 and 10", count=11),
    ran("unknown definition", CLIENT, "TaskDefinition not found.", taskDefinition="x"),
    ran("unknown cluster", NO_CLUSTER, "Cluster not found.", cluster="x"),
    ran("no network", INVALID, "Network Configuration must be provided", networkConfiguration={}),
    ran(
        "no subnets", INVALID, "subnets can not be empty", networkConfiguration={"awsvpcConfiguration": {"subnets": []}}
    ),
    ran(
        "unknown container",
        INVALID,
        "Override for container named x",
        overrides={"containerOverrides": [{"name": "x"}]},
    ),
    ran("nameless container", INVALID, "Override for container named", overrides={"containerOverrides": [{}]}),
    ran("long overrides", INVALID, "at most 8192", overrides=override(command=["x" * 8192])),
    ran("bad size", CLIENT, "No Fargate configuration", overrides={"cpu": "256", "memory": "8192"}),
    ran("service's tags", INVALID, "propagateTags SERVICE", propagateTags="SERVICE"),
    ran("token", INVALID, "clientToken", clientToken="a b"),
    ran("startedBy", INVALID, "128", startedBy="x" * 129),
    ran(
        "provider that the cluster has not",
        INVALID,
        "not associated",
        cluster="bare",
        capacityProviderStrategy=[{"capacityProvider": "FARGATE"}],
    ),
    ran("unknown provider", INVALID, "x was not found", capacityProviderStrategy=[{"capacityProvider": "x"}]),
    ran(
        "type and strategy",
        INVALID,
        "Specifying both a launch type and capacity provider strategy",
        launchType="FARGATE",
        capacityProviderStrategy=[{"capacityProvider": "FARGATE"}],
    ),
    ran("tag of AWS's", INVALID, "aws: prefixed", tags=[{"key": "AWS:x", "value": ""}]),
    ran("51 tags", INVALID, "maximum number of tags", tags=[{"key": str(n), "value": ""} for n in range(51)]),
    Case(
        "stopped",
        "stop_task",
        {"task": "$task", "reason": "why"},
        shows={"task.desiredStatus": "STOPPED", "task.stoppedReason": "why", "task.stopCode": "UserInitiated"},
    ),
    Case("unknown", "stop_task", {"task": "0" * 32}, INVALID, "The referenced task was not found."),
    Case("elsewhere", "stop_task", {"task": "$task", "cluster": "bare"}, INVALID, "not found"),
    Case("described", "describe_tasks", {"tasks": ["$id"]}, shows={"tasks.0.taskArn": "$task", "failures": []}),
    Case(
        "missing",
        "describe_tasks",
        {"tasks": ["0"]},
        shows={"failures.0": {"arn": f"{BASE}:task/default/0", "reason": "MISSING"}},
    ),
    Case("none", "describe_tasks", {"tasks": []}, INVALID, "cannot be empty"),
    Case("101", "describe_tasks", {"tasks": [str(n) for n in range(101)]}, INVALID, "more than 100"),
    Case("listed", "list_tasks", {}, shows={"taskArns": ["$task", "$member"]}),
    Case("by family", "list_tasks", {"family": "other"}, shows={"taskArns": []}),
    Case("by service", "list_tasks", {"serviceName": "s"}, shows={"taskArns": ["$member"]}),
    Case("by launch type", "list_tasks", {"launchType": "EC2"}, shows={"taskArns": []}),
    Case("stopped ones", "list_tasks", {"desiredStatus": "STOPPED"}, shows={"taskArns": []}),
    Case("pending ones never", "list_tasks", {"desiredStatus": "PENDING"}, shows={"taskArns": []}),
    Case("a page", "list_tasks", {"maxResults": 1}, shows={"taskArns": ["$task"], "nextToken": "1"}),
    Case("next page", "list_tasks", {"maxResults": 1, "nextToken": "1"}, shows={"taskArns": ["$member"]}),
    Case("startedBy alone", "list_tasks", {"startedBy": "x", "family": "f"}, INVALID, "startedBy cannot be combined"),
    Case("on an instance", "list_tasks", {"containerInstance": "i"}, INVALID, "container instance"),
    Case("of no service", "list_tasks", {"serviceName": "x"}, "ServiceNotFoundException", "Service not found."),
]

OTHERS = [
    Case(
        "protected",
        "update_task_protection",
        {"tasks": ["$member"], "protectionEnabled": True, "expiresInMinutes": 5},
        shows={"protectedTasks.0.protectionEnabled": True, "protectedTasks.0.taskArn": "$member"},
    ),
    Case(
        "no service's",
        "update_task_protection",
        {"tasks": ["$task", "0"], "protectionEnabled": True},
        shows={"failures.0.reason": "TASK_NOT_VALID", "failures.1.reason": "MISSING"},
    ),
    Case(
        "too long",
        "update_task_protection",
        {"tasks": ["$member"], "protectionEnabled": True, "expiresInMinutes": 2881},
        INVALID,
        "2880",
    ),
    Case("too many", "update_task_protection", {"tasks": ["x"] * 11, "protectionEnabled": True}, INVALID, "1 to 10"),
    Case("seen", "get_task_protection", {"tasks": ["$member"]}, shows={"protectedTasks.0.protectionEnabled": False}),
    Case("too many seen", "get_task_protection", {"tasks": [str(n) for n in range(101)]}, INVALID, "more than 100"),
    Case("tagged", "tag_resource", {"resourceArn": "$task", "tags": [{"key": "a", "value": "b"}]}),
    Case(
        "of AWS's",
        "tag_resource",
        {"resourceArn": "$task", "tags": [{"key": "aws:a", "value": "b"}]},
        INVALID,
        "aws: prefixed",
    ),
    Case(
        "nothing",
        "tag_resource",
        {"resourceArn": f"{BASE}:task/default/0", "tags": []},
        "ResourceNotFoundException",
        "not found",
    ),
    Case("untagged", "untag_resource", {"resourceArn": f"{BASE}:cluster/default", "tagKeys": ["a"]}),
    Case("no ARN", "untag_resource", {"resourceArn": "x", "tagKeys": []}, INVALID, "Invalid identifier"),
    Case(
        "tags of a provider",
        "list_tags_for_resource",
        {"resourceArn": f"{BASE}:capacity-provider/own"},
        shows={"tags": []},
    ),
    Case(
        "tags of a service", "list_tags_for_resource", {"resourceArn": f"{BASE}:service/default/s"}, shows={"tags": []}
    ),
    Case(
        "tags of a definition",
        "list_tags_for_resource",
        {"resourceArn": f"{BASE}:task-definition/f:1"},
        shows={"tags": []},
    ),
    Case("other kinds", "list_tags_for_resource", {"resourceArn": f"{BASE}:thing/x"}, INVALID, "unknown resource type"),
    Case(
        "not enabled",
        "execute_command",
        {"task": "$task", "command": "sh", "interactive": True},
        INVALID,
        "was not enabled",
    ),
    Case(
        "not interactive",
        "execute_command",
        {"task": "$task", "command": "sh", "interactive": False},
        INVALID,
        "Interactive",
    ),
]

CASES = [*DEFINITIONS, *TASKS, *OTHERS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation}: {case.name}")
def test_case(tmp_path: Path, case: Case) -> None:
    play(tmp_path, case)
