"""The SQS queue between an environment's scheduler and its Celery workers.

The queue's own policy lets the environment's role use it, so an execution role made for MWAA needs no new permission.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.queues import Queues
from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext, broker_queue
from skylift.control.plan import PartPhase, Seen
from skylift.core.names import arn

VISIBILITY_SECONDS = 60
"""How long SQS hides a message that a worker has received. The worker renews that while it works on it
(``runtime/workers/holding.py``), so a dead worker's messages are back within this time."""

ATTRIBUTES = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "MessageRetentionPeriod": "1209600"}

ACTIONS = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
)


class BrokerParts:
    """Parts of kind BROKER: the queue and its policy."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        text = json.dumps(policy(context), sort_keys=True)
        self._queues.make(broker_queue(context.spec.name), {**ATTRIBUTES, "Policy": text})
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        self._queues.delete(broker_queue(context.spec.name))

    def _look(self, context: PartContext) -> Seen:
        found = self._queues.find(broker_queue(context.spec.name))
        if found is None:
            return Seen(PartPhase.ABSENT)
        # SQS may return a policy in another form; only the role can be wrong in it.
        allowed = context.spec.execution_role in found.attributes.get("Policy", "")
        if not allowed or any(found.attributes.get(name) != value for name, value in ATTRIBUTES.items()):
            return Seen(PartPhase.DIFFERENT, note="the queue is not as wanted")
        return Seen(PartPhase.READY, {"broker.url": found.url})


def policy(context: PartContext) -> dict[str, Any]:
    """The queue's policy: the environment's role may send and receive."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "SchedulerAndWorkers",
                "Effect": "Allow",
                "Principal": {"AWS": context.spec.execution_role},
                "Action": list(ACTIONS),
                "Resource": arn("sqs", context.settings.region, context.settings.account, _name(context)),
            }
        ],
    }


def _name(context: PartContext) -> str:
    return broker_queue(context.spec.name)
