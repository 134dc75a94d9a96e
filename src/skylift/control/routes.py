"""``GET /_skylift/environments/{name}``: what is being done for an environment, as JSON. MWAA's API has no member for it.

A route of its own rather than a tag or a member of an answer: SDKs parse what they know, and tags belong to the user. It stands
behind the gate (``wire.app``: signed routes), and yet tells no more than names and states: no facts, no reasons, no ARNs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from skylift.core.errors import Unavailable
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer


class ProgressRoute:
    """An ASGI app over a function: environment's name -> JSON object, or None when there is no such environment."""

    def __init__(self, progress: Callable[[str], dict[str, Any] | None], prefix: str) -> None:
        self._progress = progress
        self._prefix = prefix

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answers 200, 404 or 503."""
        name = unquote(str(scope["path"]).removeprefix(self._prefix)).strip("/")
        try:
            found = await asyncio.to_thread(self._progress, name)
        except Unavailable:
            await _answer(send, 503, {"message": "The control plane's database does not answer. Try again."})
            return
        missing = {"message": f"Environment with name {name} does not exist"}
        await _answer(send, 200 if found else 404, found or missing)


async def _answer(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    await send_answer(send, Answer(status, {"content-type": "application/json"}, body))
