"""The fake of Anyscale in the server: started on request, remembered, and started again with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from skylift.anyscale_fake.server import FakeAnyscale
from skylift.aws.clients import client
from skylift.cli.home import REGION, Home
from skylift.cli.serving.health import send_json
from skylift.core.errors import SkyliftError
from skylift.wire.asgi import Receive, Scope, Send

ANYSCALE = "/_skylift/anyscale"
"""Signed: POST starts it, DELETE ends it, GET says where it serves."""


class AnyscaleSwitch:
    """Starts and ends the fake. Belongs to the server's event loop.

    Args:
        note: writes a line to the server's log.
    """

    def __init__(self, home: Home, note: Callable[[str], None]) -> None:
        self._folder = home.folder / "anyscale"
        self._wanted = self._folder / "wanted"
        self._note = note
        self._fake: FakeAnyscale | None = None
        self._changing = asyncio.Lock()

    async def start_if_wanted(self) -> None:
        """With the server: as it was before."""
        if self._wanted.exists():
            try:
                await self._start()
            except SkyliftError as error:  # everything else works without it
                self._note(str(error))

    async def stop(self) -> None:
        """With the server. Its jobs' containers end with the local cloud's."""
        async with self._changing:
            fake, self._fake = self._fake, None
            if fake is not None:
                await fake.stop()

    async def route(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """The route ``ANYSCALE``."""
        if scope["method"] == "POST":
            try:
                await self._start()
            except SkyliftError as error:
                await send_json(send, {"host": "", "error": str(error)})
                return
            self._wanted.touch(mode=0o600)
        elif scope["method"] == "DELETE":
            self._wanted.unlink(missing_ok=True)
            await self.stop()
        await send_json(send, {"host": self._fake.address.url if self._fake else "", "error": ""})

    async def _start(self) -> None:
        async with self._changing:
            if self._fake is None:
                self._fake = FakeAnyscale(self._folder, *await asyncio.to_thread(_clients))
                await self._fake.start()
                self._note(f"a fake of Anyscale serves at {self._fake.address.url}")


def _clients() -> tuple[object, object, object]:
    ecs, logs, secrets = (client(service, region=REGION) for service in ("ecs", "logs", "secretsmanager"))
    return ecs, logs, secrets
