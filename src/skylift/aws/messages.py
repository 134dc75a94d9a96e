"""Messages of one SQS queue, typed, for a reader: receive, delete, give back. Raises ``SkyliftError``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.aws.errors import calling
from skylift.core.partitions import SUFFIXES

MOST_PER_CALL = 10
"""Messages of one ReceiveMessage, entries of one batch (botocore model ``sqs/2012-11-05``)."""

LONGEST_WAIT = 20
"""Seconds of a long poll at most (ReceiveMessage.WaitTimeSeconds); an empty one costs one call."""

HIDDEN = 30
"""Seconds for which a received message is nobody else's: time to hand it over and delete it. Also how long one is out
of sight whose reader was killed while it waited for it."""

_OURS = "|".join(map(re.escape, SUFFIXES))
_URL_REGION = re.compile(
    rf"https?://(?:(?:[a-z0-9-]+\.)?sqs\.([a-z0-9-]+)(?:\.vpce)?|([a-z0-9-]+)\.queue)\.(?:{_OURS})(?:[:/]|$)"
)
"""Of a queue's URL: AWS's own host, an older one, or that of a VPC endpoint."""


@dataclass(frozen=True)
class Message:
    """One received message.

    Attributes:
        receipt: names this receiving of it, for ``delete`` and ``give_back``.
        receives: how often it was received, this one included (approximate, as SQS says itself).
        sent: seconds since the epoch.
    """

    body: str
    receipt: str
    receives: int
    sent: float


class Messages:
    """One queue. Thread-safe.

    Args:
        sqs: boto3's client; its read time-out must be longer than ``LONGEST_WAIT``.
        queue: URL, ARN or name.
        hidden: seconds for which a received message is nobody else's.

    Every method raises ``Refused`` (no such queue, not allowed) or ``Unavailable``.
    """

    def __init__(self, sqs: Any, queue: str, hidden: int = HIDDEN) -> None:
        self._sqs = sqs
        self._hidden = hidden
        self._queue = queue
        self._known_url = queue if "://" in queue else ""

    def receive(self, wait: int = LONGEST_WAIT) -> list[Message]:
        """At most ten messages; waits so many seconds for the first."""
        with calling("sqs ReceiveMessage"):
            answer = self._sqs.receive_message(
                QueueUrl=self._url(),
                MaxNumberOfMessages=MOST_PER_CALL,
                WaitTimeSeconds=wait,
                VisibilityTimeout=self._hidden,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        return [_message(one) for one in answer.get("Messages") or ()]

    def delete(self, receipts: Sequence[str]) -> None:
        """Removes at most ten. One that cannot be removed any more comes again, which a reader must bear anyway."""
        if receipts:
            with calling("sqs DeleteMessage"):
                self._sqs.delete_message_batch(QueueUrl=self._url(), Entries=_entries(receipts))

    def give_back(self, receipts: Mapping[str, int]) -> None:
        """Makes at most ten visible to all readers again, each after so many seconds."""
        if receipts:
            entries = [
                {**entry, "VisibilityTimeout": seconds}
                for entry, seconds in zip(_entries(list(receipts)), receipts.values(), strict=True)
            ]
            with calling("sqs ChangeMessageVisibility"):
                self._sqs.change_message_visibility_batch(QueueUrl=self._url(), Entries=entries)

    def close(self) -> None:
        """Closes idle connections."""
        self._sqs.close()

    def _url(self) -> str:
        if not self._known_url:
            name, account = self._queue, {}
            if name.startswith("arn:"):
                *_, number, name = name.split(":")
                account = {"QueueOwnerAWSAccountId": number}
            with calling(f"sqs GetQueueUrl of {name}"):
                self._known_url = self._sqs.get_queue_url(QueueName=name, **account)["QueueUrl"]
        return self._known_url


def region_of(queue: str) -> str:
    """The region that a queue's ARN or URL names; "" if it names none."""
    if queue.startswith("arn:"):
        return queue.split(":")[3]
    match = _URL_REGION.match(queue)
    return (match[1] or match[2]) if match else ""


def per_call(receipts: Sequence[str], call: Callable[[Sequence[str]], None]) -> list[Callable[[], None]]:
    """Calls with at most ten receipts each."""
    pages = [receipts[start : start + MOST_PER_CALL] for start in range(0, len(receipts), MOST_PER_CALL)]
    return [lambda page=page: call(page) for page in pages]  # type: ignore[misc]


def _entries(receipts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]


def _message(answer: Mapping[str, Any]) -> Message:
    attributes = answer.get("Attributes") or {}
    return Message(
        body=answer.get("Body", ""),
        receipt=answer["ReceiptHandle"],
        receives=int(attributes.get("ApproximateReceiveCount", 1)),
        sent=int(attributes.get("SentTimestamp", 0)) / 1000,
    )
