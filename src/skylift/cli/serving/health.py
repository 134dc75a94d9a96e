"""``GET /_skylift/health``: the only route that needs no signature, so it only says that skylift runs here."""

from __future__ import annotations

import json

from skylift.cli.serving.server import RunningServer
from skylift.wire.asgi import Answer, Asgi, Receive, Scope, Send, send_answer


def health_route(server: RunningServer) -> Asgi:
    """An ASGI app that returns ``status`` (``ok``), ``version`` and ``pid``."""

    async def health(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"status": "ok", "version": server.version, "pid": server.pid})

    return health


async def send_json(send: Send, value: object) -> None:
    """Answers 200 with JSON."""
    body = json.dumps(value).encode()
    await send_answer(send, Answer(200, {"content-type": "application/json"}, body))
