"""What ECS's refusals mean for people: which option is concerned, where it is set, and what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skylift.executors.options.ecs import CONTAINER_NAME, ECS_SECTION, EcsOptions
from skylift.executors.options.settings import OWN_SECTION

POLICY = "`skylift iam-policy scheduler` prints what the scheduler's role needs"


@dataclass(frozen=True)
class AdviceRule:
    """One kind of refusal.

    Attributes:
        words: a regular expression, found in AWS's code and text (from botocore's model, the API reference of RunTask,
            ECS's page "API failures messages", and what the local cloud says).
        path: the argument of RunTask that is concerned, dotted; "" for none.
        option: the option that sets it.
        advice: what to do.
    """

    words: str
    path: str
    option: str
    advice: str


RULES = (
    AdviceRule(
        "not authorized to perform: iam:PassRole", "", "", f"Let the scheduler's role pass the roles; {POLICY}."
    ),
    AdviceRule(
        "not authorized to perform: ecs:TagResource|[Ll]ong arn format",
        "tags",
        f"[{OWN_SECTION}] tags",
        f"Allow tagging, or set [{OWN_SECTION}] tags = false and give no tags; {POLICY}.",
    ),
    AdviceRule("AccessDenied|UnauthorizedOperation|not authorized", "", "", f"Allow it; {POLICY}."),
    AdviceRule("ClusterNotFound", "cluster", "cluster", "Create the cluster, or name another."),
    AdviceRule(
        "TaskDefinition is inactive",
        "taskDefinition",
        "task_definition",
        "This revision was deregistered: name another one, or the family alone for its newest.",
    ),
    AdviceRule(
        "TaskDefinition not found|Unable to describe task definition",
        "taskDefinition",
        "task_definition",
        "Register it, or name one that is there (aws ecs list-task-definitions).",
    ),
    AdviceRule(
        "is not a container in the TaskDefinition",
        "overrides.containerOverrides",
        "container_name",
        "The task definition has no container of that name: name the one in which Airflow is to run.",
    ),
    AdviceRule(
        "Network Configuration is not valid",
        "networkConfiguration",
        "subnets",
        "The task definition's network mode is not awsvpc: set no subnets, security_groups and assign_public_ip, or "
        "change it.",
    ),
    AdviceRule(
        "Network Configuration must be provided|subnet",
        "networkConfiguration.awsvpcConfiguration.subnets",
        "subnets",
        "Name subnets that are there, all of one VPC.",
    ),
    AdviceRule(
        "security ?[gG]roup|InvalidGroup",
        "networkConfiguration.awsvpcConfiguration.securityGroups",
        "security_groups",
        "Name security groups of the subnets' VPC.",
    ),
    AdviceRule(
        "[cC]apacity ?[pP]rovider",
        "capacityProviderStrategy",
        "capacity_provider_strategy",
        "Name capacity providers that are associated with the cluster (aws ecs put-cluster-capacity-providers).",
    ),
    AdviceRule(
        "PlatformUnknown|PlatformTaskDefinition", "platformVersion", "platform_version", "Name another, or none."
    ),
    AdviceRule(
        "launch_?type|requiresCompatibilities",
        "launchType",
        "launch_type",
        "Use another, or let the task definition be compatible with it.",
    ),
    AdviceRule(
        "No Fargate configuration|'cpu' setting|'memory' setting|CPU and memory|cpu and memory",
        "overrides",
        "run_task_kwargs",
        "Fargate takes only certain pairs of cpu and memory (skylift.executors.Container checks them).",
    ),
)


def advised(text: str, request: Mapping[str, Any], options: EcsOptions, executor_config: Mapping[str, Any]) -> str:
    """AWS's refusal, with the option that it is about, where that is set, and what to do.

    Args:
        text: AWS's code and words.
        request: RunTask's arguments.
        options: those of the workload's queue.
        executor_config: the author's ``executor_config``.
    """
    rule = next((rule for rule in RULES if re.search(rule.words, text)), None)
    if rule is None:
        return f"{text} (arguments come from [{ECS_SECTION}]{' and executor_config' if executor_config else ''})"
    if rule.option == CONTAINER_NAME.name:
        where = f"{options.source(rule.option)} = {options.container!r}: "
        if f"named {options.container} is" not in text:
            where = f"executor_config {rule.path}: "
    else:
        where = _where(rule, request, options, executor_config)
    return f"{where}{text.rstrip('.')}. {rule.advice}"


def _where(
    rule: AdviceRule, request: Mapping[str, Any], options: EcsOptions, executor_config: Mapping[str, Any]
) -> str:
    if not rule.path:
        return ""
    if _at(executor_config, rule.path) is not None:
        name = f"executor_config {rule.path}"
    else:
        name = rule.option if rule.option.startswith("[") else options.source(rule.option)
    value = _at(request, rule.path)
    return f"{name} = {value!r}: " if isinstance(value, str | list) and rule.option[:1] != "[" else f"{name}: "


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
