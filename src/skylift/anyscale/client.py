"""HTTP to Anyscale: asynchronous, with time-outs, and errors that say what to do.

What may be repeated is repeated a few times; a job is never submitted twice by this module.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import skylift.anyscale.wire as wire
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable, refusal, silence

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
UPLOAD_SECONDS = 300.0
ATTEMPTS = 3
_PAUSE_SECONDS = 1.0
MOST_LOG_BYTES = 8 * 1024 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class AnyscaleClient:
    """Calls of one Anyscale. Use it as an asynchronous context manager.

    Args:
        host: address of the console, e.g. ``https://console.anyscale.com``.
        key: the API key.
        answer_seconds: for one answer.
        attempts: tries of a call that may be repeated.
    """

    def __init__(
        self, host: str, key: str, *, answer_seconds: float = ANSWER_SECONDS, attempts: int = ATTEMPTS
    ) -> None:
        self.host = host.rstrip("/")
        self._key = key
        self._answer_seconds = answer_seconds
        self._attempts = attempts
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> AnyscaleClient:
        import httpx  # lazy: 30 ms that parsing a DAG does not need

        address = urlsplit(self.host)
        # Reading the certificates takes 30 ms, too long for the triggerer's event loop.
        verify = await asyncio.to_thread(_certificates) if address.scheme == "https" else False
        self._http = httpx.AsyncClient(
            verify=verify,
            # A proxy cannot reach this machine's own loopback addresses.
            trust_env=address.hostname not in _LOOPBACK,
            timeout=httpx.Timeout(self._answer_seconds, connect=CONNECT_SECONDS),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def get(self, path: str, doing: str, **query: str | int | None) -> Any:
        """``result`` (or ``results``) of an answer. Raises ``AnyscaleRefused`` or ``AnyscaleUnavailable``.

        Args:
            doing: what this is for, for error texts: "the question for job X".
        """
        return _content(await self._repeated("GET", path, doing, None, query))

    async def post(self, path: str, doing: str, body: Any = None, *, again: bool = False, method: str = "POST") -> Any:
        """As ``get``. Repeated if Anyscale asked to slow down, as it then did nothing; after any other trouble only if
        ``again`` says that twice is as good as once."""
        return _content(await self._repeated(method, path, doing, body, {}, again=again))

    async def fetch(self, url: str, bearer: str) -> bytes:
        """A piece of a log from where it is kept, e.g. a bucket: without the API key. At most its first
        ``MOST_LOG_BYTES``, whose lines keep their numbers when more come."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        doing = f"the download of a log from {urlsplit(url).netloc}"
        found = bytearray()
        async with self._answer("GET", url, doing, headers=headers) as answer:
            async for part in answer.aiter_bytes():
                found += part
                if len(found) >= MOST_LOG_BYTES:
                    break
        return bytes(found[:MOST_LOG_BYTES])

    async def upload(self, url: str, content: bytes) -> None:
        """Puts a package where Anyscale asked for it: without the API key."""
        import httpx  # lazy: parsing a DAG does not need it

        limit = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        await self._sent("PUT", url, f"the upload to {urlsplit(url).netloc}", content=content, timeout=limit)

    async def _repeated(
        self, method: str, path: str, doing: str, body: Any, query: dict[str, Any], *, again: bool = True
    ) -> Any:
        for attempt in range(1, self._attempts):
            try:
                return await self._call(method, path, doing, body, query)
            except AnyscaleUnavailable as error:
                if not (again or error.throttled):
                    raise
                await asyncio.sleep(error.wait or _PAUSE_SECONDS * attempt)
        return await self._call(method, path, doing, body, query)

    async def _call(self, method: str, path: str, doing: str, body: Any, query: dict[str, Any]) -> Any:
        answer = await self._sent(
            method,
            self.host + path,
            doing,
            json=body,
            params={name: value for name, value in query.items() if value is not None},
            headers={"Cookie": f"{wire.COOKIE}={self._key}"},
        )
        if not answer.content:
            return {}
        try:
            return answer.json()
        except ValueError as error:
            raise AnyscaleRefused(
                f"{self.host} answered {doing} with something that is not JSON. Is the connection's host Anyscale's "
                f"console, e.g. {wire.DEFAULT_HOST}?"
            ) from error

    async def _sent(self, method: str, url: str, doing: str, **options: Any) -> Any:
        async with self._answer(method, url, doing, **options) as answer:
            await answer.aread()
            return answer

    @asynccontextmanager
    async def _answer(self, method: str, url: str, doing: str, **options: Any) -> AsyncIterator[Any]:
        """An answer whose body is not read yet; every trouble with it, also later, as one of our errors."""
        import httpx  # lazy: parsing a DAG does not need it

        assert self._http is not None, "used outside its context"
        try:
            async with self._http.stream(method, url, **options) as answer:
                if answer.status_code >= 300:
                    said = await answer.aread()
                    raise refusal(doing, answer.status_code, said, answer.headers.get("Retry-After", ""))
                yield answer
        except httpx.TimeoutException as error:
            raise silence(doing, self.host, self._answer_seconds, type(error).__name__) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise AnyscaleRefused(f"{self.host} is no address: {error}. Change the connection's host.") from error
        except httpx.HTTPError as error:
            raise silence(doing, self.host, self._answer_seconds, str(error) or type(error).__name__) from error


@functools.cache
def _certificates() -> ssl.SSLContext:
    import httpx  # lazy: parsing a DAG does not need it

    return httpx.create_ssl_context()


def _content(answer: Any) -> Any:
    if not isinstance(answer, dict):
        return answer
    return answer["result"] if "result" in answer else answer.get("results", answer)
