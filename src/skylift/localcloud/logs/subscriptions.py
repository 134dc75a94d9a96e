"""Subscription filters: operations, and the delivery of new events to Lambda, Kinesis and Firehose."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from typing import Any

from skylift.core.errors import Refused
from skylift.localcloud.logs.batches import Place
from skylift.localcloud.logs.events import Arrival, NewEvents, pattern_of
from skylift.localcloud.logs.operations import LogOperations, Request, paged, written
from skylift.localcloud.logs.patterns.pattern import parse
from skylift.localcloud.logs.put_rules import invalid
from skylift.localcloud.logs.store import LogStore
from skylift.localcloud.logs.tokens import digits_of
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

SUBSCRIPTION = "subscription-filter"
MOST_SUBSCRIPTIONS = 2
"""Of a group."""
_KINDS = ("lambda", "kinesis", "firehose")
_UNREACHABLE = {
    "lambda": "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute "
    "your function.",
    "kinesis": "Could not deliver test message to specified Kinesis stream. Check if the given kinesis stream is in "
    "ACTIVE state.",
    "firehose": "Could not deliver test message to specified Firehose stream. Check if the given Firehose stream is in "
    "ACTIVE state.",
}
_log = logging.getLogger(__name__)

Deliver = Callable[[str, bytes, str], None]
"""Delivers a compressed message to the destination with this ARN, under a partition key. On the event loop. Raises
``Refused``: it cannot be reached."""


class SubscriptionOperations(LogOperations):
    """PutSubscriptionFilter and the like."""

    deliver: Deliver

    def put_subscription_filter(self, caller: Caller, request: Request) -> None:
        """Adds or replaces one; a destination that cannot be reached is refused."""
        group, name = self.group_named(request["logGroupName"]), request["filterName"]
        pattern_of(request["filterPattern"])
        kind = _kind(request["destinationArn"])
        if kind not in _KINDS:
            raise invalid(
                "destinationArn for vendor " + (kind or "unknown") + " is not supported here: use a Lambda function, "
                "a Kinesis stream or a Firehose stream."
            )
        known = self.store.documents(SUBSCRIPTION, group.name)
        if len(known) >= MOST_SUBSCRIPTIONS and all(one["filterName"] != name for one in known):
            raise AwsError("LimitExceededException", "Resource limit exceeded.")
        control = "CWL CONTROL MESSAGE: Checking health of destination"
        test = _message(caller.account, "CONTROL_MESSAGE", "", "", [], [{"id": "", "timestamp": 0, "message": control}])
        try:
            self.deliver(request["destinationArn"], test, "check")
        except Refused as error:
            raise invalid(_UNREACHABLE[kind]) from error
        body = {"distribution": "ByLogStream", **request, "creationTime": self.store.now()}
        with written("the subscription filter"):
            self.store.put_document(SUBSCRIPTION, name, body, group.name)

    def describe_subscription_filters(self, _caller: Caller, request: Request) -> Request:
        """Those of a group."""
        group = self.group_named(request["logGroupName"])
        prefix = request.get("filterNamePrefix", "")
        found = [one for one in self.store.documents(SUBSCRIPTION, group.name) if one["filterName"].startswith(prefix)]
        return paged("subscriptionFilters", found, request, "filterName")

    def delete_subscription_filter(self, _caller: Caller, request: Request) -> None:
        """Deletes one."""
        group = self.group_named(request["logGroupName"])
        with written():
            there = self.store.remove_document(SUBSCRIPTION, request["filterName"], group.name)
        if not there:
            raise AwsError("ResourceNotFoundException", "The specified subscription filter does not exist.")


class SubscriptionFeed(NewEvents):
    """Delivers new events to the subscriptions of their group."""

    def __init__(self, store: LogStore, account: str, deliver: Deliver) -> None:
        self._store = store
        self._account = account
        self._deliver = deliver

    def arrived(self, new: Arrival) -> None:
        """Delivers what matches."""
        for one in self._store.documents(SUBSCRIPTION, new.group.name):
            function = one["destinationArn"].partition(":function:")[2].partition(":")[0]
            if function and new.group.name == f"/aws/lambda/{function}":
                continue  # it would feed itself for ever
            pattern = parse(one["filterPattern"])
            events = [
                {"id": digits_of(Place(at, new.batch, number)), "timestamp": at, "message": message}
                for number, (at, message) in enumerate(zip(new.times, new.messages, strict=True))
                if pattern.matches(message)
            ]
            if not events:
                continue
            data = _message(self._account, "DATA_MESSAGE", new.group.name, new.stream, [one["filterName"]], events)
            try:
                self._deliver(one["destinationArn"], data, new.stream)
            except Refused as error:
                _log.warning("subscription filter %s of %s: %s", one["filterName"], new.group.name, error)


def _kind(arn: str) -> str:
    parts = arn.split(":")
    return parts[2] if arn.startswith("arn:") and len(parts) > 5 else ""


def _message(account: str, kind: str, group: str, stream: str, filters: list[str], events: list[Any]) -> bytes:
    body = {
        "messageType": kind,
        "owner": account if kind == "DATA_MESSAGE" else "CloudwatchLogs",
        "logGroup": group,
        "logStream": stream,
        "subscriptionFilters": filters,
        "logEvents": events,
    }
    return gzip.compress(json.dumps(body).encode(), 1)
