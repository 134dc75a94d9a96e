"""The queue in which the executor hears how its ECS tasks go, and the EventBridge rule that fills it.

The queue's own policy lets the environment's role read it, so that an execution role made for MWAA needs nothing more.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.event_queues import EventQueues
from skylift.control.blueprint import BATCH_EXECUTOR, EXECUTOR_ROLE, Part, executors
from skylift.control.definitions import family
from skylift.control.plan import Phase, Seen
from skylift.control.scene import Scene, batch_place, short_name
from skylift.core.names import arn

KEPT_SECONDS = 3600
"""Events that no scheduler fetched for so long tell nothing that a new scheduler does not look up itself."""

READ = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage")
"""What ``SqsSource`` calls; the batch operations are allowed by these."""

NOT_YET = ("PROVISIONING", "PENDING", "ACTIVATING")
"""Statuses of an ECS task that say nothing new to whoever has started it."""


class EventParts:
    """Parts of kind EVENTS: queue, queue policy, rule and target."""

    def __init__(self, queues: EventQueues) -> None:
        self._queues = queues

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        return {part.name: self._look(scene) for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``."""
        attributes = {
            "MessageRetentionPeriod": str(KEPT_SECONDS),
            "ReceiveMessageWaitTimeSeconds": "20",
            "Policy": json.dumps(policy(scene), sort_keys=True),
        }
        self._queues.make(queue_name(scene.spec.name), attributes, pattern(scene), _queue_arn(scene))
        return {}

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``."""
        self._queues.delete(queue_name(scene.spec.name))

    def _look(self, scene: Scene) -> Seen:
        found = self._queues.find(queue_name(scene.spec.name))
        if found is None:
            return Seen(Phase.ABSENT)
        # SQS may write a policy in other words; the two names are what can be wrong in it.
        allowed = all(name in found.policy for name in (_rule_arn(scene), scene.spec.execution_role))
        if not (allowed and found.fills and found.pattern == pattern(scene)):
            return Seen(Phase.DIFFERENT, note="queue or rule are not as wanted")
        return Seen(Phase.READY, {"events.queue": found.arn})


def queue_name(environment: str) -> str:
    """Name of queue and rule: at most 64 characters, EventBridge's limit."""
    return short_name(f"{environment}-events", "skylift-", 64)


def pattern(scene: Scene) -> dict[str, Any]:
    """What the rule matches: ECS tasks, and Batch jobs where there are, of the environment's Airflow tasks, from RUNNING on."""
    settings, name = scene.settings, scene.spec.name
    cluster = settings.cluster
    if not cluster.startswith("arn:"):
        cluster = arn("ecs", settings.region, settings.account, f"cluster/{cluster}")
    tasks = {
        "clusterArn": [cluster],
        "group": [f"family:{family(name, EXECUTOR_ROLE)}"],
        "lastStatus": [{"anything-but": list(NOT_YET)}],
    }
    if BATCH_EXECUTOR not in executors(scene.spec):
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


def policy(scene: Scene) -> dict[str, Any]:
    """The queue's policy: the rule may fill it, the environment's role may read it."""
    queue = _queue_arn(scene)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "RuleFills",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": _rule_arn(scene)}},
            },
            {
                "Sid": "SchedulerReads",
                "Effect": "Allow",
                "Principal": {"AWS": scene.spec.execution_role},
                "Action": list(READ),
                "Resource": queue,
            },
        ],
    }


def _queue_arn(scene: Scene) -> str:
    return arn("sqs", scene.settings.region, scene.settings.account, queue_name(scene.spec.name))


def _rule_arn(scene: Scene) -> str:
    return arn("events", scene.settings.region, scene.settings.account, f"rule/{queue_name(scene.spec.name)}")
