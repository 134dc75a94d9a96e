"""``GET /_skylift/usage``: what each ECS task uses now. Requests must be signed for the service ``skylift``.

On AWS, CloudWatch's Container Insights tells this a minute late; here somebody waits for it at a terminal.
"""

# ruff: noqa: ARG002 - ASGI takes scope, receive, send

from __future__ import annotations

import json

from skylift.localcloud.ecs.tasks.usage import UsageMeter
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer

PREFIX = "/_skylift/usage"


class UsageRoute:
    """An ASGI app: ``{id of an ECS task: {"processors": ..., "bytes": ...}}``."""

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 200."""
        found = {
            name: {"processors": one.processors, "bytes": one.memory} for name, one in (await self._meter.now()).items()
        }
        await send_answer(send, Answer(200, {"content-type": "application/json"}, json.dumps(found).encode()))
