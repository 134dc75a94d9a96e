"""``/_skylift/faults``: the faults over HTTP, as JSON. Requests must be signed for the service ``skylift``.

``GET /_skylift/faults`` lists; ``POST`` sets ``{"kind": ..., "name": ..., "values": {...}}``; ``DELETE`` ends all, and
``DELETE /_skylift/faults/{name}`` one.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from skylift.core.errors import Refused
from skylift.localcloud.faults.plan import Faults
from skylift.wire.asgi import Answer, BodyTooLong, Receive, Scope, Send, read_body, send_answer

PREFIX = "/_skylift/faults"
_MOST_BYTES = 64 * 1024


class FaultRoute:
    """An ASGI app over the faults."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 200, 400, 404, 405 or 413; an error has ``message``."""
        try:
            status, value = self._answer(scope, await read_body(receive, _MOST_BYTES))
        except Refused as error:
            status, value = 400, {"message": str(error)}
        except BodyTooLong:
            status, value = 413, {"message": f"the body is longer than {_MOST_BYTES} bytes"}
        body = json.dumps(value).encode()
        await send_answer(send, Answer(status, {"content-type": "application/json"}, body))

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, dict[str, Any]]:
        name = unquote(str(scope["path"]).removeprefix(PREFIX)).strip("/")
        if scope["method"] == "GET":
            return 200, {"faults": self._faults.shown()}
        if scope["method"] == "POST":
            request = _request(body)
            return 200, self._faults.set(request["kind"], request.get("values") or {}, name=request.get("name") or "")
        if scope["method"] == "DELETE":
            cleared = self._faults.clear(name)
            return (
                (404, {"message": f"there is no fault {name}"}) if name and not cleared else (200, {"cleared": cleared})
            )
        return 405, {"message": "GET, POST or DELETE"}


def _request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
        fits = isinstance(request["kind"], str) and isinstance(request.get("values") or {}, dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits:
        raise Refused('the body must be JSON: {"kind": ..., "name": ..., "values": {...}}')
    return dict(request)
