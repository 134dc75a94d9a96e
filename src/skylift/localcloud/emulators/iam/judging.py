"""Tells the judge of IAM what a request to an emulator asks for: service, operation and members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from skylift.core.iam.patterns import ContextValues
from skylift.localcloud.emulators.inputs import Asked
from skylift.localcloud.emulators.table import Emulator, Served
from skylift.localcloud.iam.actions.s3 import DELETE_MANY, bucket_in_host
from skylift.localcloud.iam.state import RequestJudge
from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.protocols import load_object
from skylift.wire.provider import Caller

MOST_DELETED_BYTES = 4 * 1024 * 1024
"""Longest body of DeleteObjects: a thousand keys."""
CALLER = "skylift.caller"


def names_objects(head: Head) -> bool:
    """Whether the body of this request to S3 says which objects it is about."""
    words = {name for name, _ in parse_qsl(head.query, keep_blank_values=True)}
    return head.method == "POST" and DELETE_MANY in words


def is_s3(row: Served, head: Head) -> bool:
    """Whether S3 will serve it: ministack (not moto, not an endpoint behind us) looks at the host's name first."""
    return "s3" in row.names or (row.server is Emulator.MINISTACK and bool(bucket_in_host(head)))


def check(
    judge: RequestJudge,
    row: Served,
    asked: Asked | None,
    fields: Mapping[str, str],
    head: Head,
    body: bytes,
    caller: Caller,
) -> None:
    """Asks the judge about a request to any service but S3. Raises ``AwsError``: it is denied.

    Args:
        asked: the operation, if a model knows it.
        fields: of its form.
    """
    if asked is None:
        operation = (
            fields.get("Action") or head.headers.get("x-amz-target", "").rpartition(".")[2] or "UnknownOperation"
        )
        return judge.check(row.names[0], operation, fields, caller)
    service = str(asked.inputs.model.signing_name)
    return judge.check(service, asked.operation.name, _members(asked, fields, head, body), caller)


def _members(asked: Asked, fields: Mapping[str, str], head: Head, body: bytes) -> dict[str, Any]:
    if asked.protocol in {"query", "ec2"}:
        return dict(fields)
    try:
        found = load_object(body) if body[:1] == b"{" else {}
    except (AwsError, RecursionError):
        found = {}
    if asked.protocol.startswith("rest"):
        found = {**dict(parse_qsl(head.query)), **found, **_labels(asked, head)}
    return found


def _labels(asked: Asked, head: Head) -> Mapping[str, ContextValues]:
    found = next((one.match(head) for one in asked.inputs.routes if one.operation.name == asked.operation.name), None)
    return {name: unquote(value) for name, value in (found or {}).items()}
