"""What a server asks of an ASGI app besides requests, and which clients may be served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skylift.core.errors import Broken
from skylift.wire.app import WireApp
from skylift.wire.signing.keys import StaticKeys

pytestmark = pytest.mark.unit


class Provider:
    """One that serves nothing."""

    blocking = False

    def __init__(self, service: str) -> None:
        self.service = service


def told(app: WireApp, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    waiting, sent = iter(messages), list[dict[str, Any]]()

    async def receive() -> Any:
        return next(waiting)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent


def test_start_and_end_are_acknowledged_and_the_end_is_the_end() -> None:
    app = WireApp([], StaticKeys([]))  # type: ignore[arg-type]
    asked = [{"type": f"lifespan.{word}"} for word in ("startup", "shutdown", "startup")]
    said = told(app, {"type": "lifespan"}, *asked)
    assert said == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


def test_another_protocol_is_our_mistake() -> None:
    with pytest.raises(Broken, match="speaks HTTP, not websocket"):
        told(WireApp([], StaticKeys([])), {"type": "websocket"})  # type: ignore[arg-type]


def test_a_service_is_served_once() -> None:
    with pytest.raises(Broken, match="two providers sign as airflow"):
        WireApp([Provider("mwaa"), Provider("mwaa")], StaticKeys([]))  # type: ignore[list-item,arg-type]
