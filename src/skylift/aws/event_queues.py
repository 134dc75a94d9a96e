"""An SQS queue filled by an EventBridge rule of the default bus: the control plane's calls. Queue and rule have
the same name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of
from skylift.core.errors import Unavailable

TARGET = "queue"
"""Id of the rule's one target."""

NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
NO_RULE = "ResourceNotFoundException"
SOON = {
    # SQS keeps the name of a deleted queue for 60 seconds.
    "AWS.SimpleQueueService.QueueDeletedRecently": "the name of a deleted queue is free again after 60 seconds",
    "QueueDeletedRecently": "the name of a deleted queue is free again after 60 seconds",
    # A role that was just made is not known to SQS for some seconds.
    "InvalidAttributeValue": "SQS does not take the queue's policy (yet)",
}


@dataclass(frozen=True)
class EventQueue:
    """Queue and rule as they stand.

    Attributes:
        arn: of the queue; "" if there is none.
        policy: text of the queue's policy.
        pattern: what the rule matches; ``None`` if there is no rule, or it is off.
        fills: whether the queue is the rule's target.
    """

    arn: str = ""
    policy: str = ""
    pattern: Mapping[str, Any] | None = None
    fills: bool = False


class EventQueues:
    """Queues and rules. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._sqs = client("sqs", region=region)
        self._events = client("events", region=region)

    def find(self, name: str) -> EventQueue | None:
        """What there is of that name, or None if there is neither queue nor rule."""
        queue, rule = self._queue(name), self._rule(name)
        if queue is None and rule is None:
            return None
        arn, policy = queue or ("", "")
        pattern, targets = rule or (None, ())
        return EventQueue(arn, policy, pattern, bool(arn) and arn in targets)

    def make(self, name: str, attributes: Mapping[str, str], pattern: Mapping[str, Any], arn: str) -> None:
        """Makes queue and rule, or changes them so that they are as wanted.

        Args:
            attributes: of the queue, its ``Policy`` with them.
            pattern: what the rule matches.
            arn: of the queue.

        Raises:
            Unavailable: also while SQS does not give the name of a deleted queue, or does not know a new role.
        """
        with calling(f"sqs CreateQueue {name}"):
            try:
                url = self._url(name) or self._sqs.create_queue(QueueName=name)["QueueUrl"]
                self._sqs.set_queue_attributes(QueueUrl=url, Attributes=dict(attributes))
            except ClientError as error:
                if code_of(error) in SOON:
                    raise Unavailable(f"sqs CreateQueue {name}: {SOON[code_of(error)]}: {error}") from error
                raise
        with calling(f"events PutRule {name}"):
            text = json.dumps(pattern, sort_keys=True)
            self._events.put_rule(Name=name, EventPattern=text, State="ENABLED", Description="made by skylift")
            answer = self._events.put_targets(Rule=name, Targets=[{"Id": TARGET, "Arn": arn}])
        if answer.get("FailedEntryCount"):
            raise Unavailable(f"events PutTargets {name}: {answer.get('FailedEntries')}")

    def delete(self, name: str) -> None:
        """Deletes rule and queue; what does not exist is not an error."""
        with calling(f"events DeleteRule {name}"):
            try:
                # Somebody's own targets, too: AWS deletes no rule that has any.
                targets = [target["Id"] for target in self._events.list_targets_by_rule(Rule=name)["Targets"]]
                if targets:
                    self._events.remove_targets(Rule=name, Ids=targets)
                self._events.delete_rule(Name=name)
            except ClientError as error:
                if code_of(error) != NO_RULE:
                    raise
        with calling(f"sqs DeleteQueue {name}"):
            url = self._url(name)
            if url:
                self._sqs.delete_queue(QueueUrl=url)

    def _queue(self, name: str) -> tuple[str, str] | None:
        with calling(f"sqs GetQueueAttributes {name}"):
            url = self._url(name)
            if not url:
                return None
            try:
                answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "Policy"])
            except ClientError as error:
                if code_of(error) in NO_QUEUE:
                    return None
                raise
        return str(answer["Attributes"]["QueueArn"]), str(answer["Attributes"].get("Policy", ""))

    def _rule(self, name: str) -> tuple[Mapping[str, Any] | None, tuple[str, ...]] | None:
        with calling(f"events DescribeRule {name}"):
            try:
                rule = self._events.describe_rule(Name=name)
                targets = self._events.list_targets_by_rule(Rule=name)["Targets"]
            except ClientError as error:
                if code_of(error) == NO_RULE:
                    return None
                raise
        pattern = json.loads(rule.get("EventPattern") or "{}") if rule.get("State") == "ENABLED" else None
        return pattern, tuple(str(target["Arn"]) for target in targets)

    def _url(self, name: str) -> str:
        try:
            return str(self._sqs.get_queue_url(QueueName=name)["QueueUrl"])
        except ClientError as error:
            if code_of(error) in NO_QUEUE:
                return ""
            raise
