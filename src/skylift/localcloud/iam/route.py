"""``GET /_skylift/iam``: who did what since the server started. Requests must be signed for the service ``skylift``."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

from skylift.localcloud.iam.mode import IamMode
from skylift.localcloud.iam.observed import ObservedCalls
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer

PREFIX = "/_skylift/iam"


class IamRoute:
    """An ASGI app: ``{"mode": ..., "since": ..., "calls": [...]}``; ``?since=`` seconds since the epoch,
    ``?principal=`` ARN or name."""

    def __init__(self, mode: IamMode, observed: ObservedCalls) -> None:
        self._mode = mode
        self._observed = observed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answers 200 or 400."""
        asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        try:
            since = float(asked.get("since", "0"))
        except ValueError:
            await _answer(send, 400, {"message": "since must be seconds since 1970"})
            return
        calls = [one.shown() for one in self._observed.since(since, asked.get("principal", ""))]
        await _answer(send, 200, {"mode": self._mode, "began": self._observed.began, "calls": calls})


async def _answer(send: Send, status: int, value: object) -> None:
    await send_answer(send, Answer(status, {"content-type": "application/json"}, json.dumps(value).encode()))
