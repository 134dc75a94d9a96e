"""The endpoint: one ASGI app that is AWS to its callers.

A request goes through these steps, in order: a route by path prefix (routes check their own tokens); the signature
check; a signed route by path prefix; the interceptor (injected faults); then the provider whose signing name is in the
signature's scope, or the fallback. The host does not matter: ``api.``, ``env.`` and ``ops.`` before ours work too.
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
    read_beginning,
    read_body,
    replayed,
    send_answer,
)
from skylift.wire.errors import AwsError
from skylift.wire.event_stream import StreamedAnswer, send_stream
from skylift.wire.intercept import Call, ConnectionCut, Interception, Interceptor, cut_connection, operation_of
from skylift.wire.packing import unpacked
from skylift.wire.protocols import is_cbor, refuse_cbor, refuse_json, refuse_query
from skylift.wire.provider import Provider
from skylift.wire.refusals import Dialect, Rejection, SignatureFault, refusal, refuse_s3
from skylift.wire.service import ServiceEntry
from skylift.wire.signing.authenticator import Authenticator, SignedRequest, dialect_of
from skylift.wire.signing.forms import MOST_FIELD_BYTES, is_upload
from skylift.wire.signing.keys import Keyring

log = logging.getLogger(__name__)

SIGNED_SERVICE = "skylift"
"""Requests to signed routes are signed for this name, so that a signature for another service is useless there."""
CALLER = "skylift.caller"
"""Key in the scope: the ``Caller``."""
MOST_PROVIDER_BYTES = 2 * 1024 * 1024
"""Longest body for a signed route. It is read on the event loop, so that must be quick."""
_JSON_TYPES = frozenset({"application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1"})
MOST_BUFFERED_BYTES = 512 * 1024 * 1024
"""Longest body for the fallback that must be read before its signature can be checked (never S3's)."""


class WireApp:
    """The ASGI app.

    Args:
        providers: what we serve ourselves.
        keyring: the keys that may sign.
        fallback: serves every other service; ``None``: they are refused.
        routes: path prefix to app, e.g. ``/_skylift/metadata``; called without a signature check, with the scope
            unchanged.
        signed_routes: as ``routes``, for signed requests: only requests signed for the service ``skylift`` reach them,
        with
            the ``Caller`` in the scope as ``skylift.caller``.
        interceptor: decides what becomes of calls that the gate has admitted.
        account: twelve digits: whose account this is.
        region: the only one that is served.
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
        region: str = "us-east-1",
        clock: Clock = time.time,
    ) -> None:
        self._services: dict[str, ServiceEntry] = {}
        for service in (ServiceEntry(provider, interceptor) for provider in providers):
            if service.signing_name in self._services:
                raise Broken(f"two providers sign as {service.signing_name}")
            self._services[service.signing_name] = service
        self._authenticator = Authenticator(keyring, account, region, clock)
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
            broken = refusal(SignatureFault.BROKEN, dialect_of(head, None))
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
        signed_request = self._authenticator.admit(head, lambda _: Dialect.JSON)
        if signed_request.service != SIGNED_SERVICE:
            text = f"Credential should be scoped to correct service: '{SIGNED_SERVICE}'."
            raise Rejection("InvalidSignatureException", text, 403, Dialect.JSON)
        try:
            body = await read_body(receive, MOST_PROVIDER_BYTES)
        except BodyTooLong:
            raise refusal(SignatureFault.TOO_LONG, Dialect.JSON) from None
        signed_request.prove(hashlib.sha256(body).hexdigest())
        try:
            await route({**scope, CALLER: signed_request.caller}, replayed(body, receive), send)
        except BodyTooLong:
            raise refusal(SignatureFault.TOO_LONG, Dialect.JSON) from None

    async def _admit(self, scope: Scope, receive: Receive, send: Send, head: Head, request_id: str) -> None:
        if is_upload(head):
            start, receive = await read_beginning(receive, MOST_FIELD_BYTES)
            form = self._authenticator.admit_form(head, start[:MOST_FIELD_BYTES])
            return await self._call_fallback(scope, receive, send, form, start)
        signed_request = self._authenticator.admit(head, self._dialect)
        service = self._services.get(signed_request.service)
        try:
            if service is None:
                await self._pass_on(scope, receive, send, signed_request, request_id)
            else:
                await self._serve(service, scope, receive, send, signed_request, request_id)
        except BodyTooLong:
            raise refusal(SignatureFault.TOO_LONG, signed_request.dialect) from None

    async def _serve(
        self,
        service: ServiceEntry,
        scope: Scope,
        receive: Receive,
        send: Send,
        signed_request: SignedRequest,
        request_id: str,
    ) -> None:
        sent = await read_body(receive, service.longest_body)
        signed_request.prove(hashlib.sha256(sent).hexdigest())
        try:
            whole = await unpacked(signed_request.head, sent)
            body = sent if whole is None else whole
            wanted = service.wants(signed_request.head, body)
        except AwsError as error:
            return await send_answer(send, service.refuse(error, request_id))
        if wanted:
            answer = await service.answer(signed_request.head, body, signed_request.caller, request_id)
            if isinstance(answer, StreamedAnswer):
                return await send_stream(receive, send, answer)
            return await send_answer(send, answer)
        return await self._call_fallback(scope, replayed(sent, receive), send, signed_request, body)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, signed_request: SignedRequest, request_id: str
    ) -> None:
        if not signed_request.proven:
            spooled = SpooledBody()
            try:
                await spooled.fill(receive, MOST_BUFFERED_BYTES)
                signed_request.prove(spooled.sha256)
                start = spooled.beginning()
                return await self._call_fallback(scope, spooled.replay(receive), send, signed_request, start)
            finally:
                spooled.close()
        check = signed_request.body_check()
        if check is None:
            return await self._call_fallback(scope, receive, send, signed_request)
        return await self._pass_on_checked(scope, CheckedBody(receive, check), send, signed_request, request_id)

    async def _pass_on_checked(
        self, scope: Scope, checked: CheckedBody, send: Send, signed_request: SignedRequest, request_id: str
    ) -> None:
        """The fallback never sees the end of a wrong body, and what it says about it is not sent."""
        begun = False

        async def send_unless_wrong(message: Message) -> None:
            nonlocal begun
            if checked.wrong is None:
                begun = True
                await send(message)

        try:
            await self._call_fallback(scope, checked.receive, send_unless_wrong, signed_request)
        except Exception as error:  # the fallback may wrap it, or break on it: only the body's verdict counts
            if checked.wrong is None:
                raise
            log.debug("request %s: the fallback ended with %s after a wrong body", request_id, type(error).__name__)
        if checked.wrong is not None and not begun:
            raise checked.wrong

    async def _call_fallback(
        self, scope: Scope, receive: Receive, send: Send, signed_request: SignedRequest, start: bytes = b""
    ) -> None:
        """``start``: the body's beginning, as far as it is known."""
        if self._fallback is None:
            text = f"The service {signed_request.service} is not supported here."
            raise Rejection("UnknownService", text, 501, signed_request.dialect)
        interception = await self._interception(signed_request, start)
        try:
            await self._fallback(
                {**scope, CALLER: signed_request.caller}, receive, _into_nowhere if interception.cut else send
            )
        except AwsError as error:
            raise Rejection(error.code, error.message, error.status, signed_request.dialect) from error
        if interception.cut:
            raise ConnectionCut

    async def _interception(self, signed_request: SignedRequest, start: bytes) -> Interception:
        if self._interceptor is None:
            return Interception()
        call = Call(
            signed_request.service,
            operation_of(signed_request.service, signed_request.head, start),
            signed_request.caller,
        )
        try:
            return await self._interceptor.interception(call)
        except AwsError as error:
            raise Rejection(error.code, error.message, error.status, signed_request.dialect) from error


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
    """Refuses a request whose body nobody has read: a short one is read away, after a long one the connection
    closes."""
    if not await drain(receive, head):
        answer = Answer(answer.status, {**answer.headers, "connection": "close"}, answer.body)
    await send_answer(send, answer)
