"""Checks requests before the emulators get them, and turns an emulator's crash into an AWS error.

Before: the body is decompressed (with a size limit, off the event loop). JSON and Query forms must have the operation's
types and required members. AWS's front ends check the same; without the check an emulator would store data that it
cannot return. After: if the emulator crashed, the error says what is wrong with the request. Forms of EC2 and XML
(Route 53) get only such an error, no check before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from botocore.model import ListShape, Shape, StructureShape
from botocore.parsers import RpcV2CBORParser

from skylift.localcloud.emulators import crashes
from skylift.localcloud.emulators.iam import judging
from skylift.localcloud.emulators.inputs import Asked, RestModels, protocol_of
from skylift.localcloud.emulators.not_here import HeldAnswer
from skylift.localcloud.emulators.table import Served
from skylift.localcloud.iam.state import RequestJudge
from skylift.wire.asgi import (
    Asgi,
    BodyTooLong,
    Head,
    Message,
    Receive,
    Send,
    head_of,
    read_beginning,
    read_body,
    replayed,
)
from skylift.wire.checks import Check
from skylift.wire.errors import AwsError
from skylift.wire.packing import unpacked
from skylift.wire.protocols import is_cbor, load_object
from skylift.wire.provider import Caller
from skylift.wire.query_shapes import read_structure, tree_of
from skylift.wire.refusals import Dialect, SignatureFault, refusal
from skylift.wire.signing.forms import MOST_FIELD_BYTES, is_upload

S3 = "s3"
MOST_BODY_BYTES = 128 * 1024 * 1024
"""Size limit of a request to any service but S3. AWS's largest is Lambda's 50 MB of code, in base64."""
MOST_JSON_BYTES = 32 * 1024 * 1024
"""Size limit of a request that is read on the event loop (all but Lambda's). AWS's largest is a part of an ECR layer,
20 MB in base64."""
MOST_FORM_BYTES = 1024 * 1024
"""Size limit of a form that is read on the event loop before an emulator reads it. Templates and policies are smaller;
a raw e-mail of SES may be larger, and has one required member."""
_JSON = ("json", "rest-json", "smithy-rpc-v2-cbor")
_QUERY = "query"
_UNSERVED = "{} of {} is not served by skylift's local cloud ({}, which answers for this service, does not have it)."
_MALFORMED = "The request could not be read as it was sent."


class Edge:
    """Checks requests to emulators."""

    def __init__(self, judge: RequestJudge | None = None) -> None:
        self._models = RestModels()
        self._judge = judge

    async def serve(self, row: Served, inner: Asgi, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one request with ``inner``, the emulator of the row.

        Raises:
            AwsError: the request is refused; nothing has been sent.
            NotImplementedError: from ``inner``.
        """
        head, body = head_of(scope), b""
        caller: Caller | None = scope.get(judging.CALLER)
        judge = self._judge if self._judge is not None and caller is not None and self._judge.judges(caller) else None
        if S3 not in row.names:
            body = await _body(receive)
            scope, head, body = await _unpacked(scope, head, body)
            await self._look(row, head, body)
            receive = replayed(body, receive)
        elif judge is not None and judging.names_objects(head):
            body = await read_body(receive, judging.MOST_DELETED_BYTES)
            receive = replayed(body, receive)
        elif judge is not None and is_upload(head):
            body, receive = await read_beginning(receive, MOST_FIELD_BYTES)
        if judge is not None and caller is not None:
            await self._ask(judge, row, head, body, caller)
        seen, begun, dropped = crashes.watching(), False, False

        async def send_unless_crashed(message: Message) -> None:
            nonlocal begun, dropped
            if message["type"] == "http.response.start":
                dropped = bool(seen) and message["status"] == crashes.CRASHED[0]
                begun = not dropped
            if not dropped:
                await send(message)

        held = HeldAnswer(send_unless_crashed)
        try:
            await inner(scope, receive, held.send)
        except NotImplementedError:
            raise
        except Exception as error:
            if begun or not crashes.is_theirs(error):
                raise
            seen.append(error)
        if held.says_unknown and (asked := await self._known(row, head, body)) is not None:
            raise AwsError("NotImplemented", _UNSERVED.format(asked.operation.name, row.names[0], row.server), 501)
        await held.release()
        if seen and not begun:
            raise await self._explained(row, head, body, seen[-1])

    async def _look(self, row: Served, head: Head, body: bytes) -> None:
        candidates = self._models.candidates(row.names, head)
        names = [name for name in candidates if protocol_of(name) in (*_JSON, _QUERY)]
        form = is_form(head) and len(body) <= MOST_FORM_BYTES and any(protocol_of(name) == _QUERY for name in names)
        fields = _fields(head, body) if form else {}
        asked = await self._asked(names, head, fields)
        if asked is None or asked.body_shape is None or (is_form(head) and asked.protocol == "json"):
            return
        if asked.protocol == _QUERY:
            value = _read_form(asked.body_shape, fields)
        elif len(body) > MOST_JSON_BYTES and "lambda" not in row.names:
            raise refusal(SignatureFault.TOO_LONG, Dialect.JSON)
        else:
            value = _read(asked, head, body)
        failures = _failures(asked, asked.inputs.required.of(asked.body_shape), value)
        if failures:
            raise _invalid(asked, failures)

    async def _ask(self, judge: RequestJudge, row: Served, head: Head, body: bytes, caller: Caller) -> None:
        if judging.is_s3(row, head):
            return judge.check_s3(head, body, caller)
        fields = _fields(head, body) if len(body) <= MOST_FORM_BYTES else {}
        asked = await self._asked(self._models.candidates(row.names, head), head, fields)
        return judging.check(judge, row, asked, fields, head, body, caller)

    async def _asked(self, names: Iterable[str], head: Head, fields: Mapping[str, str]) -> Asked | None:
        names = list(names)
        for name in self._models.unread(names):
            await asyncio.to_thread(self._models.read, name)
        return self._models.asked(names, head, fields)

    async def _known(self, row: Served, head: Head, body: bytes) -> Asked | None:
        """The operation, if AWS has it."""
        return await self._asked(self._models.candidates(row.names, head), head, _fields(head, body))

    async def _explained(self, row: Served, head: Head, body: bytes, error: Exception) -> AwsError:
        """The error that the service model finds in the request; otherwise that the emulator crashed."""
        fields = _fields(head, body)
        asked = await self._known(row, head, body)
        crashes.note(error, row.names[0], asked.operation.name if asked else head.method)
        if asked is None:
            return AwsError("InvalidRequest" if S3 in row.names else "ValidationException", _MALFORMED)
        try:
            failures = _all_failures(asked, head, body, fields)
        except AwsError as wrong:
            return wrong
        if failures:
            return _invalid(asked, failures)
        why = f"{type(error).__name__}: {error}"[:200]
        text = (
            f"{asked.operation.name} cannot take this request ({row.server}, which answers for {row.names[0]} "
            f"here: {why})"
        )
        return AwsError("InvalidRequest" if S3 in row.names else asked.invalid, text)


def is_form(head: Head) -> bool:
    """Whether the body is a form's fields."""
    return head.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


async def _body(receive: Receive) -> bytes:
    try:
        return await read_body(receive, MOST_BODY_BYTES)
    except BodyTooLong:
        raise refusal(SignatureFault.TOO_LONG, Dialect.JSON) from None


async def _unpacked(scope: Message, head: Head, body: bytes) -> tuple[Message, Head, bytes]:
    """The request with its body decompressed."""
    whole = await unpacked(head, body)
    if whole is None:
        return scope, head, body
    headers = [pair for pair in scope["headers"] if pair[0].lower() not in {b"content-encoding", b"content-length"}]
    scope = {**scope, "headers": [*headers, (b"content-length", str(len(whole)).encode())]}
    return scope, head_of(scope), whole


def _fields(head: Head, body: bytes) -> dict[str, str]:
    text = body.decode("utf-8", "replace") if is_form(head) else ""
    return dict(parse_qsl(head.query, keep_blank_values=True) + parse_qsl(text, keep_blank_values=True))


def _read(asked: Asked, head: Head, body: bytes) -> Any:
    """The body, read with the operation's types. Raises ``AwsError`` (SerializationException)."""
    assert asked.body_shape is not None
    try:
        if is_cbor(head):
            return asked.inputs.cbor_readers.of(asked.body_shape)(_cbor(body))
        return asked.inputs.readers.of(asked.body_shape)(load_object(body))
    except RecursionError:
        raise AwsError("SerializationException", _MALFORMED) from None


def _read_form(shape: StructureShape, fields: Mapping[str, str]) -> Any:
    """Query's fields by their types. Raises ``AwsError`` (MalformedInput)."""
    return _with_empty_ones(shape, read_structure(shape, tree_of(list(fields.items()))))


def _with_empty_ones(shape: Shape, value: Any) -> Any:
    """A form cannot say that a structure is there and empty: where one must be there, and may be empty, it is."""
    if isinstance(shape, ListShape):
        return [_with_empty_ones(shape.member, one) for one in value]
    if not isinstance(shape, StructureShape):
        return value
    members, required = shape.members, shape.required_members
    empty = [
        name for name in required if isinstance(members[name], StructureShape) and not members[name].required_members
    ]
    return {name: {} for name in empty} | {name: _with_empty_ones(members[name], one) for name, one in value.items()}


def _cbor(body: bytes) -> Any:
    parser = RpcV2CBORParser()
    try:
        value = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)) if body else {}
    except Exception:  # noqa: BLE001 - botocore's parser is for answers of AWS, and trusts them
        value = None
    if not isinstance(value, dict):
        raise AwsError("SerializationException", "The body is not valid CBOR.")
    return value


def _failures(asked: Asked, check: Check, value: Any) -> list[str]:
    """The failed checks of the body's members; the route has checked those in the path and the headers."""
    found = list(check(value, ""))
    if not found:
        return found
    outside = {f"'{name[:1].lower()}{name[1:]}'" for name in asked.outside}
    return [text for text in found if not any(name in text for name in outside)][:10]


def _all_failures(asked: Asked, head: Head, body: bytes, fields: Mapping[str, str]) -> list[str]:
    shape = asked.body_shape
    if shape is None or asked.protocol in {"ec2", "rest-xml"}:
        return []
    value = _read_form(shape, fields) if asked.protocol == _QUERY else _read(asked, head, body)
    return _failures(asked, asked.inputs.rules.of(shape), value)


def _invalid(asked: Asked, failures: list[str]) -> AwsError:
    noun = "error" if len(failures) == 1 else "errors"
    return AwsError(asked.invalid, f"{len(failures)} validation {noun} detected: {'; '.join(failures)}")
