"""SQS queues that somebody else fills and reads: make, find, count, delete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of
from skylift.aws.event_queues import NO_QUEUE, SOON
from skylift.core.errors import Unavailable

VISIBLE, IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True)
class FoundQueue:
    """A queue as it stands."""

    url: str
    arn: str
    attributes: Mapping[str, str]


class Queues:
    """Queues by name. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._sqs = client("sqs", region=region)

    def find(self, name: str) -> FoundQueue | None:
        """The queue of that name, or None."""
        with calling(f"sqs GetQueueAttributes {name}"):
            try:
                url = str(self._sqs.get_queue_url(QueueName=name)["QueueUrl"])
                found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            except ClientError as error:
                if code_of(error) in NO_QUEUE:
                    return None
                raise
        return FoundQueue(url, str(found["QueueArn"]), found)

    def make(self, name: str, attributes: Mapping[str, str]) -> None:
        """Makes the queue, or changes its attributes.

        Raises:
            Unavailable: also while SQS does not give the name of a deleted queue, or does not know a new role.
        """
        with calling(f"sqs CreateQueue {name}"):
            try:
                found = self.find(name)
                url = found.url if found else self._sqs.create_queue(QueueName=name)["QueueUrl"]
                self._sqs.set_queue_attributes(QueueUrl=url, Attributes=dict(attributes))
            except ClientError as error:
                if code_of(error) in SOON:
                    raise Unavailable(f"sqs CreateQueue {name}: {SOON[code_of(error)]}: {error}") from error
                raise

    def delete(self, name: str) -> None:
        """Deletes the queue; one that does not exist is not an error."""
        found = self.find(name)
        if found is not None:
            with calling(f"sqs DeleteQueue {name}"):
                self._sqs.delete_queue(QueueUrl=found.url)

    def count(self, name: str) -> tuple[int, int]:
        """Messages that wait, and messages that somebody has received; AWS counts them up to a minute late."""
        found = self.find(name)
        return (int(found.attributes[VISIBLE]), int(found.attributes[IN_FLIGHT])) if found else (0, 0)
