"""The queue with the state changes of the executor's ECS tasks, and the EventBridge rule that fills it.

The queue's own policy lets the environment's role read it, so an execution role made for MWAA needs no new permission.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.event_queues import EventQueues
from skylift.control.blueprint import EXECUTOR_ROLE, Part, executors
from skylift.control.definitions import family
from skylift.control.part_context import PartContext, batch_place, short_name
from skylift.control.plan import PartPhase, Seen
from skylift.core.environment import BATCH_EXECUTOR
from skylift.core.names import arn

KEPT_SECONDS = 3600
"""How long events are kept: a new scheduler looks up the current states itself, so older events are useless."""

READ = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage")
"""The operations that ``SqsSource`` calls; these permissions include the batch operations."""

NOT_YET = ("PROVISIONING", "PENDING", "ACTIVATING")
"""Statuses of an ECS task that tell its starter nothing new."""


class EventParts:
    """Parts of kind EVENTS: queue, queue policy, rule and target."""

    def __init__(self, queues: EventQueues) -> None:
        self._queues = queues

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        attributes = {
            "MessageRetentionPeriod": str(KEPT_SECONDS),
            "ReceiveMessageWaitTimeSeconds": "20",
            "Policy": json.dumps(policy(context), sort_keys=True),
        }
        self._queues.make(queue_name(context.spec.name), attributes, pattern(context), _queue_arn(context))
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        self._queues.delete(queue_name(context.spec.name))

    def _look(self, context: PartContext) -> Seen:
        found = self._queues.find(queue_name(context.spec.name))
        if found is None:
            return Seen(PartPhase.ABSENT)
        # SQS may return a policy in another form; only the two names can be wrong in it.
        allowed = all(name in found.policy for name in (_rule_arn(context), context.spec.execution_role))
        if not (allowed and found.fills and found.pattern == pattern(context)):
            return Seen(PartPhase.DIFFERENT, note="queue or rule are not as wanted")
        return Seen(PartPhase.READY, {"events.queue": found.arn})


def queue_name(environment: str) -> str:
    """Name of queue and rule: at most 64 characters, EventBridge's limit."""
    return short_name(f"{environment}-events", "skylift-", 64)


def pattern(context: PartContext) -> dict[str, Any]:
    """What the rule matches: ECS tasks, and Batch jobs where there are, of the environment's Airflow tasks, from
    RUNNING on."""
    settings, name = context.settings, context.spec.name
    cluster = settings.cluster
    if not cluster.startswith("arn:"):
        cluster = arn("ecs", settings.region, settings.account, f"cluster/{cluster}")
    tasks = {
        "clusterArn": [cluster],
        "group": [f"family:{family(name, EXECUTOR_ROLE)}"],
        "lastStatus": [{"anything-but": list(NOT_YET)}],
    }
    if BATCH_EXECUTOR not in executors(context.spec):
        return {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"], "detail": tasks}
    jobs = {
        "jobQueue": [arn("batch", settings.region, settings.account, f"job-queue/{batch_place(name)}")],
        "status": ["RUNNING", "SUCCEEDED", "FAILED"],
    }
    return {
        "source": ["aws.ecs", "aws.batch"],
        "detail-type": ["ECS Task State Change", "Batch Job State Change"],
        "detail": {"$or": [tasks, jobs]},
    }


def policy(context: PartContext) -> dict[str, Any]:
    """The queue's policy: the rule may fill it, the environment's role may read it."""
    queue = _queue_arn(context)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "RuleFills",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": _rule_arn(context)}},
            },
            {
                "Sid": "SchedulerReads",
                "Effect": "Allow",
                "Principal": {"AWS": context.spec.execution_role},
                "Action": list(READ),
                "Resource": queue,
            },
        ],
    }


def _queue_arn(context: PartContext) -> str:
    return arn("sqs", context.settings.region, context.settings.account, queue_name(context.spec.name))


def _rule_arn(context: PartContext) -> str:
    return arn("events", context.settings.region, context.settings.account, f"rule/{queue_name(context.spec.name)}")
