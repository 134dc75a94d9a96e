"""The local cloud alone on one loopback port: no Airflow, no control plane, no PostgreSQL. For tests of ECS, Batch and
S3 code."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from skylift.core.errors import Broken
from skylift.localcloud.behind.setting import Behind
from skylift.localcloud.cloud import LocalCloud
from skylift.localcloud.containers.runner import Runner
from skylift.localcloud.iam.mode import IamChoice, IamMode
from skylift.localcloud.ports import Images
from skylift.wire.app import WireApp
from skylift.wire.asgi import Asgi
from skylift.wire.serve import HttpServer, url_of
from skylift.wire.signing.keys import DerivedKeys, Key, Keyrings, StaticKeys


class AloneCloud:
    """One local cloud and its HTTP server.

    Attributes:
        url: the AWS endpoint.
        cloud: the local cloud; belongs to the event loop of ``run``.
    """

    def __init__(
        self,
        home: Path,
        listening: socket.socket,
        owner: Key,
        master: bytes,
        images: Images,
        *,
        account: str,
        region: str,
        routes: Mapping[str, Asgi] | None = None,
        runner: Runner | None = None,
        slots: int = 0,
        iam: IamMode = IamMode.OFF,
        others: Behind | None = None,
    ) -> None:
        """Nothing runs before ``run``.

        Args:
            home: folder for all state.
            listening: from ``wire.serve.listen``.
            owner: the owner's key, which may do everything.
            master: at least 32 random bytes, from which containers' credentials are derived.
            images: what containers start from.
            account: twelve digits.
            region: e.g. ``us-east-1``.
            routes: further unsigned routes.
            runner: what runs containers; default: processes on this machine.
            slots: ECS tasks at a time (``ecs.tasks.slots.SLOTS``).
            iam: whether IAM's policies are enforced; the owner stays administrator.
            others: the endpoint that serves what need not be served here.
        """
        self.url = url_of(listening)
        keys = DerivedKeys(master, time.time)
        self.cloud = LocalCloud(
            home,
            self.url,
            keys,
            account,
            region,
            time.time,
            images=images,
            runner=runner,
            slots=slots,
            iam=IamChoice(iam, frozenset({owner.access_key})),
            others=others,
        )
        self._app = WireApp(
            list(self.cloud.providers),
            Keyrings(StaticKeys([owner]), keys, self.cloud.extra_keyring),
            fallback=self.cloud.fallback,
            routes={**self.cloud.routes, **(routes or {})},
            signed_routes=self.cloud.signed_routes,
            interceptor=self.cloud.interceptor,
            account=account,
            region=region,
        )
        self._web = HttpServer(self._app, listening, grace=1.0, tls=self.cloud.tls)

    async def run(self, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serves until ``stopping`` is set; then ends every container and saves the state of S3 and the others.

        Raises:
            Broken: the HTTP server ended by itself.
        """
        try:
            await self.cloud.start()
            serving = asyncio.create_task(self._web.run(), name="http")
            try:
                asked = asyncio.create_task(stopping.wait())
                starting = asyncio.create_task(self._tell(ready))
                await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
                starting.cancel()
                if not asked.done():
                    raise Broken("the HTTP server ended by itself")
            finally:
                await self.cloud.stop()  # HTTP stays until the last container is gone: they call it while they end
                self._web.stop()
                await asyncio.gather(serving, return_exceptions=True)
                self._app.close()
        finally:
            await self.cloud.stop()

    async def _tell(self, ready: Callable[[], None]) -> None:
        while not self._web.started:
            await asyncio.sleep(0.01)
        ready()
