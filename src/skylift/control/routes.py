"""``GET /_skylift/environments/{name}``: what is being done for an environment, as JSON. MWAA's API has no member for it.

A route of its own rather than a tag: SDKs parse what they know, and tags belong to the user. The wire has checked the
signature before.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from skylift.core.errors import Unavailable

Message = MutableMapping[str, Any]
ASGI = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class ProgressRoute:
    """An ASGI app over a function name -> JSON object, or None when there is no such environment."""

    def __init__(self, progress: Callable[[str], dict[str, Any] | None], prefix: str) -> None:
        self._progress = progress
        self._prefix = prefix

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answers 200, 404 or 503."""
        name = unquote(str(scope["path"]).rpartition(self._prefix)[2])
        try:
            found = await asyncio.to_thread(self._progress, name)
        except Unavailable as error:
            await _answer(send, 503, {"message": str(error)})
            return
        if found is None:
            await _answer(send, 404, {"message": f"Environment with name {name} does not exist"})
        else:
            await _answer(send, 200, found)


async def _answer(send: Callable[[Message], Awaitable[None]], status: int, value: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})
