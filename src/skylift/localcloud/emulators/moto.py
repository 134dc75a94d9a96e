"""Moto as an ASGI application, for the services that only moto has. It keeps records in memory and returns canned
results; nothing survives a restart.

moto's own server needs Flask. Its dispatcher for patched clients does not, and takes any request with an AWS URL. So
each request gets AWS's host name and goes to the dispatcher. Importing moto takes 0.25 s and tens of megabytes, and its
work blocks. So it is imported at the first request, and runs in one thread of its own (its backends have no locks).
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from skylift.wire.app import MOST_BUFFERED_BYTES
from skylift.wire.asgi import Answer, Message, Receive, Send, read_body, send_answer

_HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "server", "date"})


class Moto:
    """An ASGI application for one AWS host name at a time."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._thread: ThreadPoolExecutor | None = None

    async def serve(self, host: str, region: str, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one HTTP request like ``{host}.{region}.amazonaws.com``.

        Raises:
            NotImplementedError: moto does not have the operation; nothing has been sent.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="moto")
        body = await read_body(receive, MOST_BUFFERED_BYTES)
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope.get("query_string", b"").decode("latin-1")
        url = f"https://{host}.{region}.amazonaws.com{path}{'?' + query if query else ''}"
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = [(name, value) for name, value in headers if name.lower() != "host"]
        work = partial(_answer, self._account, scope["method"], url, headers, body)
        status, answered, content = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        await send_answer(send, Answer(status, dict(answered), content))

    def close(self) -> None:
        """Ends the thread; moto's state ends with the process."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None


def _answer(
    account: str, method: str, url: str, headers: list[tuple[str, str]], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    os.environ["MOTO_ACCOUNT_ID"] = account
    from botocore.awsrequest import AWSPreparedRequest  # lazy: only when moto is needed
    from botocore.compat import HTTPHeaders  # lazy: only when moto is needed
    from moto.core.botocore_stubber import BotocoreStubber  # lazy: a quarter of a second and tens of megabytes

    sent = HTTPHeaders()
    for name, value in headers:
        sent[name] = value
    answer = BotocoreStubber().process_request(AWSPreparedRequest(method, url, sent, body, stream_output=False))
    status, answered, content = answer or (404, {}, "")
    pairs = [(str(name), str(value)) for name, value in dict(answered).items() if name.lower() not in _HOP_BY_HOP]
    return int(status), pairs, content.encode() if isinstance(content, str) else bytes(content or b"")
