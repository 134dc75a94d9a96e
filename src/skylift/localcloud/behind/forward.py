"""Forwards requests to the endpoint behind the local cloud, signed anew.

The wire has checked who asks; the endpoint behind sees one key, whoever asked. A request's body is read whole first,
because its digest is part of the signature; an answer is passed on as it comes. Blocking sockets in threads of their
own: a long poll must not hold one of the event loop's.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from skylift.localcloud.behind.setting import NOBODY, Behind
from skylift.wire.app import MOST_BUFFERED_BYTES
from skylift.wire.asgi import Message, Receive, Send, read_body
from skylift.wire.errors import AwsError
from skylift.wire.intercept import ConnectionCut

MOST_AT_ONCE = 64
"""Requests on their way at a time; others wait. A thread each."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 900.0
"""Silence after which an answer is given up: Lambda's longest call."""
_CHUNK_BYTES = 64 * 1024
_OURS = frozenset(
    {
        *("host", "connection", "keep-alive", "transfer-encoding", "content-length", "expect", "te", "upgrade"),
        *("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "accept-encoding"),
    }
)
"""Request headers that belong to the client's connection or signature."""
_THEIRS = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})
"""Headers of an answer that belong to the connection behind us."""
_BEEN_HERE = "x-skylift-forwarded"


class BehindUs:
    """The endpoint behind, as an ASGI application for one service at a time."""

    def __init__(self, behind: Behind) -> None:
        self.behind = behind
        self._signs = Credentials(behind.access_key, behind.secret)
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "behind")

    def close(self) -> None:
        """Ends the threads; answers that are still awaited are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def serve(self, service: str, region: str, scope: Message, receive: Receive, send: Send) -> None:
        """Forwards one request, and passes the answer on.

        Args:
            service: for the signature's scope.
            region: the same.

        Raises:
            AwsError: nobody answers (503), or the endpoint is this server (508).
            ConnectionCut: the answer broke off.
        """
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if _BEEN_HERE in headers:
            raise AwsError("LoopDetected", f"{self.behind.url} leads back to this server: {_advice()}", 508)
        body = await read_body(receive, MOST_BUFFERED_BYTES)
        request = self._signed(service, region, scope, headers, body)
        connection, loop = self._connection(), asyncio.get_running_loop()
        try:
            try:
                answer = await loop.run_in_executor(self._threads, _ask, connection, request)
            except (OSError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
                text = f"{service} is forwarded to {self.behind.url}, which does not answer ({why}). {_advice()}"
                raise AwsError("ServiceUnavailable", text, 503) from error
            kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in _THEIRS]
            encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in kept]
            await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
            while chunk := await loop.run_in_executor(self._threads, _read, answer):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.behind.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_SECONDS, context=tls)
        return http.client.HTTPConnection(host, parts.port, timeout=CONNECT_SECONDS)

    def _signed(self, service: str, region: str, scope: Message, headers: dict[str, str], body: bytes) -> AWSRequest:
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        query = scope.get("query_string", b"").decode("latin-1")
        url = self.behind.url + path + (f"?{query}" if query else "")
        kept = {name: value for name, value in headers.items() if name not in _OURS}
        kept |= {"accept-encoding": "identity", _BEEN_HERE: "1"}
        request = AWSRequest(scope["method"], url, headers=kept, data=body)
        SigV4Auth(self._signs, service, region).add_auth(request)
        return request


def _ask(connection: http.client.HTTPConnection, request: AWSRequest) -> http.client.HTTPResponse:
    connection.connect()
    connection.sock.settimeout(ANSWER_SECONDS)
    connection.request(request.method, _target(request.url), request.data or None, dict(request.headers.items()))
    return connection.getresponse()


def _target(url: str) -> str:
    """Path and query, as they were sent."""
    return "/" + url.split("://", 1)[1].partition("/")[2]


def _read(answer: http.client.HTTPResponse) -> bytes:
    """What has come; empty at the end. Raises ``ConnectionCut`` when the answer broke off."""
    try:
        chunk = answer.read1(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionCut from error
    if not chunk and answer.length:
        raise ConnectionCut
    return chunk


def _advice() -> str:
    return f"Start it, or serve everything here again: skylift down && skylift up --others {NOBODY}"
