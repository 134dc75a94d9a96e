"""The hook between the signature check and the provider: it may delay or refuse a call, answer it instead, or cut the
connection.

It exists for injected faults; without an interceptor a call costs nothing more.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from skylift.core.errors import Broken
from skylift.wire.asgi import Head, Receive, Scope
from skylift.wire.provider import Caller

CUT = "skylift.cut"
"""Key in the scope: a function without arguments that resets the connection (``wire.serve`` puts it there)."""


@dataclass(frozen=True)
class Call:
    """A call with a valid signature.

    Attributes:
        service: signing name: ``ecs``, ``airflow`` (MWAA), ``s3``.
        operation: ``RunTask``; for S3 the usual names of the plain object calls; for other REST services the HTTP
            method.
        caller: who calls.
        request: as botocore parsed it, checked; empty for services of the fallback.
    """

    service: str
    operation: str
    caller: Caller
    request: Mapping[str, Any] = field(default_factory=dict)


Answered = Mapping[str, Any]


@dataclass(frozen=True)
class Interception:
    """What happens to a call.

    Attributes:
        answer: replaces the provider's answer; the provider is not called. Not for services of the fallback.
        rewrite: changes the provider's answer; not for services of the fallback.
        cut: when the work is done, the connection is reset, and the caller gets no answer.
    """

    answer: Answered | None = None
    rewrite: Callable[[Answered], Answered] | None = None
    cut: bool = False


class Interceptor(Protocol):
    """Decides what happens to each call. Runs on the event loop; may take time, but must not block."""

    async def interception(self, call: Call) -> Interception:
        """What happens to the call.

        Raises:
            AwsError: the call is refused with it, and the provider is not called.
            ConnectionCut: the connection is reset at once, and the provider is not called.
        """
        ...


class Interceptors(Interceptor):
    """A judge, which only refuses, before another interceptor."""

    def __init__(self, judge: Interceptor, then: Interceptor) -> None:
        self._judge = judge
        self._then = then

    async def interception(self, call: Call) -> Interception:
        """What the second one says, unless the first refuses."""
        await self._judge.interception(call)
        return await self._then.interception(call)


class ConnectionCut(Exception):
    """The connection must be reset without an answer."""


async def cut_connection(scope: Scope, receive: Receive) -> None:
    """Resets the connection (TCP RST) and waits until the server has seen it, so that it writes nothing more."""
    cut: Callable[[], None] | None = scope.get(CUT)
    if cut is None:
        raise Broken("this server cannot cut connections")
    cut()
    while (await receive())["type"] != "http.disconnect":
        pass


def resetting(transport: Any) -> Callable[[], None]:
    """A function that resets a transport's connection: with no lingering, closing means RST."""

    def cut() -> None:
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:  # otherwise the client has already closed it
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    return cut


_BUCKET_OR_OBJECT = re.compile(r"/[^/]+(/.+)?")
_S3_OBJECT = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


def operation_of(service: str, head: Head, body: bytes) -> str:
    """The operation of a call that no provider of ours parses (see ``Call.operation``).

    Args:
        service: signing name.
        head: the request.
        body: its beginning; a form's ``Action`` is looked for in it.
    """
    if target := head.headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    fields = dict(parse_qsl(head.query, keep_blank_values=True))
    if head.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        fields |= dict(parse_qsl(body.decode("latin-1")))
    if "Action" in fields:
        return fields["Action"]
    return _s3_operation(head, fields) if service == "s3" else head.method


def _s3_operation(head: Head, fields: Mapping[str, str]) -> str:
    place = _BUCKET_OR_OBJECT.fullmatch(head.path)
    if place and place[1] and not fields.keys() - {"x-id", "versionId"}:
        return _S3_OBJECT.get(head.method, head.method)
    return "ListObjectsV2" if fields.get("list-type") == "2" else head.method
