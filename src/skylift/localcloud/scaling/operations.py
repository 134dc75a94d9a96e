"""What the operations of Application Auto Scaling share: how things are found, listed, named and refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from skylift.core.clock import Clock
from skylift.core.numbers import natural
from skylift.localcloud.ports import Document
from skylift.localcloud.scaling.scaler import Scaler
from skylift.localcloud.scaling.store import RecordKind, ScalingRecord, ScalingStore
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

Request = dict[str, Any]
DIMENSION = "ecs:service:DesiredCount"
PAGE = 50
_RESOURCE = re.compile(r"service/[^/]+/[^/]+")
_TIMES = frozenset({"CreationTime", "StartTime", "EndTime"})


class ScalingOperations:
    """The base of all operations."""

    def __init__(self, store: ScalingStore, scaler: Scaler, clock: Clock) -> None:
        self.store = store
        self.scaler = scaler
        self.clock = clock

    def target(self, request: Request) -> ScalingRecord:
        """The scalable target that a request names. Raises ``AwsError``."""
        check_resource(request)
        found = self.store.named(RecordKind.TARGET, request["ResourceId"])
        if found is None:
            raise AwsError("ObjectNotFoundException", f"No scalable target registered for {_named(request)}")
        return found

    def one(self, kind: RecordKind, request: Request, member: str, words: str) -> ScalingRecord:
        """The policy or scheduled action that a request names. Raises ``AwsError``."""
        check_resource(request)
        name = request[member]
        found = self.store.named(kind, request["ResourceId"], member, name)
        if found is None:
            what = words.lower()
            raise AwsError("ObjectNotFoundException", f"No {what} found for {_named(request)}, {what} name: {name}")
        return found

    def listed(
        self, kind: RecordKind, request: Request, wanted: Mapping[str, Sequence[str]], *, newest_first: bool = False
    ) -> tuple[list[ScalingRecord], Document]:
        """One page of a kind, and the token of the next.

        Args:
            wanted: for a member of what is shown, its values that are wanted; empty: all.
        """
        if request["ServiceNamespace"] != "ecs":
            return [], {}
        found = [
            one
            for one in self.store.all(kind, request.get("ResourceId", ""))
            if all(not values or one.shown[member] in values for member, values in wanted.items())
        ]
        if newest_first:
            found.reverse()
        start = natural(request.get("NextToken") or "0")
        if start is None or start > len(found):
            raise AwsError("InvalidNextTokenException", "The next token supplied was invalid")
        end = start + min(request.get("MaxResults") or PAGE, PAGE)
        return found[start:end], {"NextToken": str(end)} if end < len(found) else {}


def check_resource(request: Request) -> None:
    """Raises ``AwsError`` if a request is not for an ECS service."""
    if request["ServiceNamespace"] != "ecs":
        raise AwsError(
            "NotImplemented",
            f"skylift's local cloud scales ECS services only, not the namespace {request['ServiceNamespace']}.",
            501,
        )
    if request["ScalableDimension"] != DIMENSION or not _RESOURCE.fullmatch(request["ResourceId"]):
        raise invalid("Unsupported service namespace, resource type or scalable dimension")


def invalid(message: str) -> AwsError:
    """A ``ValidationException``."""
    return AwsError("ValidationException", message)


def policy_arn(caller: Caller, kind: str, identity: str, resource: str, name: str) -> str:
    """The ARN of a ``scalingPolicy`` or ``scheduledAction``."""
    word = {"scalingPolicy": "policyName", "scheduledAction": "scheduledActionName"}[kind]
    place = f"arn:aws:autoscaling:{caller.region}:{caller.account}"
    return f"{place}:{kind}:{identity}:resource/ecs/{resource}:{word}/{name}"


def shown(record: ScalingRecord) -> Document:
    """As the wire writes it."""
    return {
        name: datetime.fromtimestamp(value, UTC) if name in _TIMES and value is not None else value
        for name, value in record.shown.items()
    }


def _named(request: Request) -> str:
    return (
        f"service namespace: {request['ServiceNamespace']}, resource ID: {request['ResourceId']}, "
        f"scalable dimension: {request['ScalableDimension']}"
    )
