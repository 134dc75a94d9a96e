"""Refuses requests that an emulator would accept although they cannot work here, and says what to do instead.

The emulators do not know skylift's ECS and Batch. A state machine that runs an ECS task would get a canned one, and a
rule with an ECS target would silently do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

OURS = "ecs|batch|elasticloadbalancing(?:v2)?|mwaa|airflow"
"""Services of skylift, as named in the ARN of an integration or a target."""

_TARGET = re.compile(rb'"(?:Arn|Target)"\s*:\s*"arn:aws[\w-]*:(?:ecs|batch):')
_INTEGRATION = re.compile(rf"arn:aws[\w-]*:states:::(?:aws-sdk:)?(?:{OURS}):".encode())
_UNIVERSAL = re.compile(rf'"Arn"\s*:\s*"arn:aws[\w-]*:scheduler:::aws-sdk:(?:{OURS}):'.encode())
_ECS_SCALING = re.compile(rb'"ServiceNamespace"\s*:\s*"ecs"')


@dataclass(frozen=True)
class RefusalRule:
    """Operations that are refused with this message when the request contains a pattern."""

    operations: frozenset[str]
    pattern: re.Pattern[bytes]
    words: str


_BY_SERVICE: Mapping[str, tuple[RefusalRule, ...]] = {
    "states": (
        RefusalRule(
            frozenset({"CreateStateMachine", "UpdateStateMachine"}),
            _INTEGRATION,
            "a state machine here cannot call ECS, Batch, Elastic Load Balancing or MWAA. Call them from an Airflow "
            "task "
            "(EcsRunTaskOperator, BatchOperator), or with boto3 from the program that starts the execution.",
        ),
    ),
    "events": (
        RefusalRule(
            frozenset({"PutTargets"}),
            _TARGET,
            "a rule here cannot start ECS tasks or Batch jobs. Make an SQS queue the target and start them from its "
            "messages, or let an Airflow DAG do it.",
        ),
    ),
    "scheduler": (
        RefusalRule(
            frozenset({"CreateSchedule", "UpdateSchedule"}),
            re.compile(_TARGET.pattern + b"|" + _UNIVERSAL.pattern),
            "a schedule here cannot start ECS tasks or Batch jobs. Give an Airflow DAG the schedule, or make an SQS "
            "queue the target.",
        ),
    ),
    "pipes": (
        RefusalRule(
            frozenset({"CreatePipe", "UpdatePipe"}),
            _TARGET,
            "a pipe here cannot start ECS tasks or Batch jobs. Read its source from an Airflow DAG instead.",
        ),
    ),
    "application-autoscaling": (
        RefusalRule(
            frozenset({"RegisterScalableTarget", "PutScalingPolicy", "PutScheduledAction"}),
            _ECS_SCALING,
            "nothing here scales an ECS service by itself. Set its desiredCount with ecs UpdateService.",
        ),
    ),
}

LOOKED_INTO = frozenset(_BY_SERVICE)
"""Services whose requests must be checked for this."""

_REST = (
    ("scheduler", re.compile(r"/schedules/[^/]+"), {"POST": "CreateSchedule", "PUT": "UpdateSchedule"}),
    ("pipes", re.compile(r"/v1/pipes/[^/]+"), {"POST": "CreatePipe", "PUT": "UpdatePipe"}),
)


def not_here(service: str, operation: str, body: bytes) -> str:
    """Why a request cannot work here, and what to do instead; empty if it can.

    Args:
        service: the name in the signature.
        operation: AWS's name of it.
    """
    for rule in _BY_SERVICE.get(service, ()):
        if operation in rule.operations and rule.pattern.search(body):
            return f"skylift's local cloud: {rule.words}"
    return ""


def operation_of(service: str, method: str, path: str, target: str) -> str:
    """The operation of a request to one of ``LOOKED_INTO``.

    Args:
        target: the header ``X-Amz-Target``.
    """
    if target:
        return target.rpartition(".")[2]
    pairs = (methods for name, form, methods in _REST if name == service and form.fullmatch(path))
    return next(pairs, {}).get(method, "")
