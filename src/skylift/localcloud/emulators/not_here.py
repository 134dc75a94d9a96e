"""Refuses requests that an emulator would accept although they cannot work here, and says what to do instead.

The emulators do not know skylift's ECS and Batch: a state machine that runs an ECS task would get a canned one. They
also take targets to which they never deliver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

OURS = "ecs|batch|elasticloadbalancing(?:v2)?|mwaa|airflow"
"""Services of skylift, as named in the ARN of an integration or a target."""

_TARGET = re.compile(rb'"(?:Arn|Target)"\s*:\s*"arn:aws[\w-]*:(?:ecs|batch):')
_NO_TARGET = re.compile(
    rb'"Arn"\s*:\s*"arn:aws[\w-]*:(?!(?:lambda|sqs|sns|states|events|ecs|batch|logs|iam):)[a-z][\w-]*:'
)
"""What no rule or schedule here delivers to; among them the scheduler's universal targets."""
_INTEGRATION = re.compile(rf"arn:aws[\w-]*:states:::(?:aws-sdk:)?(?:{OURS}):".encode())
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
            _NO_TARGET,
            "a rule here can start Lambda functions, state machines, ECS tasks and Batch jobs, and deliver to SQS, "
            "SNS, log groups, other buses and API destinations. Make one of them the target.",
        ),
    ),
    "scheduler": (
        RefusalRule(
            frozenset({"CreateSchedule", "UpdateSchedule"}),
            _NO_TARGET,
            "a schedule here can start Lambda functions, state machines and ECS tasks, and deliver to SQS, SNS and "
            "buses; universal targets (aws-sdk) are not served. Make one of them the target.",
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
