"""``GET /_skylift/environments/{name}`` and ``.../{name}/plan``: what is happening to an environment, and what would
be done next, as JSON. ``DELETE .../{name}``: deletes it, even while it is being created. MWAA's API has no members for
the first two, and refuses the third.

This is a separate route, not a tag or a member of an answer, because SDKs parse only what they know, and tags belong to
the user. It needs a signed request (``wire.app``: signed routes), and still returns only names and states: no facts,
no reasons, no ARNs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from skylift.core.errors import Refused, Unavailable
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer

Tell = Callable[[str], dict[str, Any] | None]
"""Environment's name -> JSON object, or None if there is no such environment. Raises ``Unavailable`` or
``Refused``."""


class ProgressRoute:
    """An ASGI app over such functions: what is being done, what would be done, and (``cancel``) the deletion."""

    def __init__(self, progress: Tell, plan: Tell, prefix: str, cancel: Tell | None = None) -> None:
        self._tells = {("GET", ""): progress, ("GET", "plan"): plan}
        if cancel is not None:
            self._tells["DELETE", ""] = cancel
        self._prefix = prefix

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answers 200, 404, 409 (AWS refuses a read) or 503."""
        name, _, rest = unquote(str(scope["path"]).removeprefix(self._prefix)).strip("/").partition("/")
        tell = self._tells.get((str(scope["method"]), rest), _nothing)
        try:
            found = await asyncio.to_thread(tell, name)
        except Unavailable:
            await _answer(send, 503, {"message": "The control plane's database, or AWS, does not answer. Try again."})
            return
        except Refused as error:
            await _answer(send, 409, {"message": str(error)})
            return
        missing = {"message": f"Environment with name {name} does not exist"}
        await _answer(send, 200 if found else 404, found or missing)


def _nothing(_name: str) -> None:
    return None


async def _answer(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    await send_answer(send, Answer(status, {"content-type": "application/json"}, body))
