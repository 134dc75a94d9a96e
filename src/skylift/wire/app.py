"""The endpoint: one ASGI app that is AWS for whoever calls it.

A request goes, in this order, to a route by its path's prefix (these check their own tokens), through the gate (the signature),
to a signed route by its path's prefix, past the interceptor (faults on demand), to the provider whose signing name the signature's scope has, or to the fallback. The host plays no part: ``api.``, ``env.`` and
``ops.`` before ours are as good as ours.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Iterable, Mapping

from skylift.core.clock import Clock
from skylift.core.errors import Broken
from skylift.wire.asgi import (
    Answer,
    Asgi,
    BodyTooLong,
    CheckedBody,
    ClientGone,
    Head,
    Inbox,
    Message,
    Outbox,
    Receive,
    Scope,
    Send,
    SpooledBody,
    drain,
    head_of,
    origin_form,
    read_body,
    replayed,
    send_answer,
)
from skylift.wire.errors import AwsError
from skylift.wire.gate import Gate, Visit, dialect_of
from skylift.wire.intercept import Call, ConnectionCut, Course, Interceptor, cut_connection, operation_of
from skylift.wire.keys import Keyring
from skylift.wire.protocols import is_cbor, refuse_cbor, refuse_json, refuse_query
from skylift.wire.provider import Provider
from skylift.wire.refusals import Dialect, Fault, Rejection, refusal
from skylift.wire.s3_errors import refuse_s3
from skylift.wire.service import Service

log = logging.getLogger(__name__)

SIGNED_SERVICE = "skylift"
"""What requests of signed routes are signed for, so that a signature of another service's call is of no use there."""
CALLER = "skylift.caller"
"""Key in the scope: the ``Caller``."""
MOST_PROVIDER_BYTES = 2 * 1024 * 1024
"""Longest body for a provider of ours, or a signed route. It is read on the event loop, so it must be read quickly; AWS takes less."""
_JSON_TYPES = frozenset({"application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1"})
MOST_BUFFERED_BYTES = 512 * 1024 * 1024
"""Longest body for the fallback that must be read before its signature can be checked (never S3's)."""


class WireApp:
    """The ASGI app.

    Args:
        providers: what we serve ourselves.
        keyring: the keys that may sign.
        fallback: serves every other service; ``None``: they are refused.
        routes: path prefix to app, e.g. ``/_skylift/metadata``; called without a signature check, with the scope unchanged.
        signed_routes: as ``routes``, behind the gate: only requests signed for the service ``skylift`` reach them, with the
            ``Caller`` in the scope as ``skylift.caller``.
        interceptor: decides what becomes of calls that the gate has admitted.
        account: twelve digits: whose account this is.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        keyring: Keyring,
        *,
        fallback: Asgi | None = None,
        routes: Mapping[str, Asgi] | None = None,
        signed_routes: Mapping[str, Asgi] | None = None,
        interceptor: Interceptor | None = None,
        account: str = "000000000000",
        clock: Clock = time.time,
    ) -> None:
        self._services: dict[str, Service] = {}
        for service in (Service(provider, interceptor) for provider in providers):
            if service.signing_name in self._services:
                raise Broken(f"two providers sign as {service.signing_name}")
            self._services[service.signing_name] = service
        self._gate = Gate(keyring, account, clock)
        self._fallback = fallback
        self._interceptor = interceptor
        self._routes = _longest_first(routes or {})
        self._signed_routes = _longest_first(signed_routes or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "lifespan":
            return await _live(receive, send)
        if scope["type"] != "http":
            raise Broken(f"the wire speaks HTTP, not {scope['type']}")
        scope = origin_form(scope)
        head, request_id = head_of(scope), str(uuid.uuid4())
        inbox, outbox = Inbox(receive), Outbox(send)
        return await self._answer(scope, inbox, outbox, head, request_id)

    async def _answer(self, scope: Scope, inbox: Inbox, send: Outbox, head: Head, request_id: str) -> None:
        try:
            route = _route(self._routes, scope["path"])
            if route is not None:
                return await route(scope, inbox, send)
            signed = _route(self._signed_routes, scope["path"])
            if signed is not None:
                return await self._serve_signed(signed, scope, inbox, send, head)
            await self._admit(scope, inbox, send, head, request_id)
        except Rejection as error:
            await _send_unread(inbox, send, head, _refuse(error, head, request_id))
        except ConnectionCut:
            await cut_connection(scope, inbox)
        except ClientGone:
            log.debug("%s %s: the client went away", head.method, head.path)
        except Exception:  # whatever comes here is our bug: the caller is told so in AWS's form, the log says what
            if send.begun:
                raise
            log.exception("request %s failed by a mistake of ours", request_id)
            broken = refusal(Fault.BROKEN, dialect_of(head, None))
            await _send_unread(inbox, send, head, _refuse(broken, head, request_id))

    def close(self) -> None:
        """Ends the providers' threads."""
        for service in self._services.values():
            service.close()

    def _dialect(self, head: Head) -> Dialect:
        dialect = dialect_of(head, None)
        known = any(service.has_route(head) for service in self._services.values())
        return Dialect.JSON if dialect is Dialect.S3 and known else dialect

    async def _serve_signed(self, route: Asgi, scope: Scope, receive: Receive, send: Send, head: Head) -> None:
        visit = self._gate.admit(head, lambda _: Dialect.JSON)
        if visit.service != SIGNED_SERVICE:
            text = f"Credential should be scoped to correct service: '{SIGNED_SERVICE}'."
            raise Rejection("InvalidSignatureException", text, 403, Dialect.JSON)
        try:
            body = await read_body(receive, MOST_PROVIDER_BYTES)
        except BodyTooLong:
            raise refusal(Fault.TOO_LONG, Dialect.JSON) from None
        visit.prove(hashlib.sha256(body).hexdigest())
        try:
            await route({**scope, CALLER: visit.caller}, replayed(body, receive), send)
        except BodyTooLong:
            raise refusal(Fault.TOO_LONG, Dialect.JSON) from None

    async def _admit(self, scope: Scope, receive: Receive, send: Send, head: Head, request_id: str) -> None:
        visit = self._gate.admit(head, self._dialect)
        service = self._services.get(visit.service)
        try:
            if service is None:
                await self._pass_on(scope, receive, send, visit, request_id)
            else:
                await self._serve(service, scope, receive, send, visit, request_id)
        except BodyTooLong:
            raise refusal(Fault.TOO_LONG, visit.dialect) from None

    async def _serve(
        self, service: Service, scope: Scope, receive: Receive, send: Send, visit: Visit, request_id: str
    ) -> None:
        body = await read_body(receive, MOST_PROVIDER_BYTES)
        visit.prove(hashlib.sha256(body).hexdigest())
        try:
            wanted = service.wants(visit.head, body)
        except AwsError as error:
            return await send_answer(send, service.refuse(error, request_id))
        if wanted:
            answer = await service.answer(visit.head, body, visit.caller, request_id)
            return await send_answer(send, answer)
        return await self._call_fallback(scope, replayed(body, receive), send, visit, body)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, visit: Visit, request_id: str) -> None:
        if not visit.proven:
            spooled = SpooledBody()
            try:
                await spooled.fill(receive, MOST_BUFFERED_BYTES)
                visit.prove(spooled.sha256)
                start = spooled.beginning()
                return await self._call_fallback(scope, spooled.replay(receive), send, visit, start)
            finally:
                spooled.close()
        check = visit.body_check()
        if check is None:
            return await self._call_fallback(scope, receive, send, visit)
        return await self._pass_on_checked(scope, CheckedBody(receive, check), send, visit, request_id)

    async def _pass_on_checked(
        self, scope: Scope, checked: CheckedBody, send: Send, visit: Visit, request_id: str
    ) -> None:
        """The fallback never sees the end of a wrong body, and what it says about it is not sent."""
        begun = False

        async def send_unless_wrong(message: Message) -> None:
            nonlocal begun
            if checked.wrong is None:
                begun = True
                await send(message)

        try:
            await self._call_fallback(scope, checked.receive, send_unless_wrong, visit)
        except Exception as error:  # the fallback may wrap it, or break on it: only the body's verdict counts
            if checked.wrong is None:
                raise
            log.debug("request %s: the fallback ended with %s after a wrong body", request_id, type(error).__name__)
        if checked.wrong is not None and not begun:
            raise checked.wrong

    async def _call_fallback(
        self, scope: Scope, receive: Receive, send: Send, visit: Visit, start: bytes = b""
    ) -> None:
        """``start``: the body's beginning, as far as it is known."""
        if self._fallback is None:
            text = f"The service {visit.service} is not served here."
            raise Rejection("UnknownService", text, 501, visit.dialect)
        course = await self._course(visit, start)
        try:
            await self._fallback({**scope, CALLER: visit.caller}, receive, _into_nowhere if course.cut else send)
        except AwsError as error:
            raise Rejection(error.code, error.message, error.status, visit.dialect) from error
        if course.cut:
            raise ConnectionCut

    async def _course(self, visit: Visit, start: bytes) -> Course:
        if self._interceptor is None:
            return Course()
        call = Call(visit.service, operation_of(visit.service, visit.head, start), visit.caller)
        try:
            return await self._interceptor.course(call)
        except AwsError as error:
            raise Rejection(error.code, error.message, error.status, visit.dialect) from error


def _longest_first(routes: Mapping[str, Asgi]) -> list[tuple[str, Asgi]]:
    return sorted(routes.items(), key=lambda route: -len(route[0]))


def _route(routes: Iterable[tuple[str, Asgi]], path: str) -> Asgi | None:
    matches = (app for prefix, app in routes if path == prefix or path.startswith(prefix.rstrip("/") + "/"))
    return next(matches, None)


async def _into_nowhere(_message: Message) -> None:
    """The ``send`` of an answer that nobody is to get."""


def _refuse(error: Rejection, head: Head, request_id: str) -> Answer:
    if error.dialect is Dialect.S3:
        return refuse_s3(error, head, request_id)
    if error.dialect is Dialect.QUERY:
        return refuse_query(error.code, error.message, error.status, "", request_id)
    if is_cbor(head):
        return refuse_cbor(error, request_id)
    asked = head.headers.get("content-type", "")
    return refuse_json(error, asked if asked in _JSON_TYPES else "application/json", request_id)


async def _live(receive: Receive, send: Send) -> None:
    """Answers the server's lifespan events: nothing of ours needs them."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _send_unread(receive: Inbox, send: Send, head: Head, answer: Answer) -> None:
    """Refuses a request whose body nobody has read: a short one is read away, after a long one the connection closes."""
    if not await drain(receive, head):
        answer = Answer(answer.status, {**answer.headers, "connection": "close"}, answer.body)
    await send_answer(send, answer)
