"""Connects the local cloud and the control plane. They run in one process, but talk only over HTTP.

Nothing is decided here: it creates the parts, passes each what it needs, and starts and stops them in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from skylift.aws.clients import client
from skylift.aws.errors import calling
from skylift.cli.account import exists
from skylift.cli.connection import Connection
from skylift.cli.credentials import OWNER, ensure_credentials, usable_master_key
from skylift.cli.home import ACCOUNT, REGION, Home, endpoint
from skylift.cli.projects.applier import Applier
from skylift.cli.projects.buckets import applies
from skylift.cli.projects.follower import Follower
from skylift.cli.serving.anyscale import ANYSCALE, AnyscaleSwitch
from skylift.cli.serving.enforcing import chosen_mode
from skylift.cli.serving.health import health_route, send_json
from skylift.cli.serving.others import chosen_others
from skylift.cli.serving.server import HEALTH, IMAGE, RunningServer
from skylift.cli.snapshots.schedule import LocalSnapshots, SnapshotSchedule, rules_of
from skylift.control.plane import ControlPlane
from skylift.control.settings import PATCHES, ControlSettings
from skylift.core.errors import Refused, Unavailable
from skylift.localcloud.cloud import LocalCloud
from skylift.localcloud.containers.engine_runner import EngineRunner
from skylift.localcloud.containers.oci import OciImages, chosen_engine
from skylift.localcloud.damage import Damaged, Refusing
from skylift.localcloud.ecs.tasks.slots import SLOTS
from skylift.localcloud.iam.mode import IamChoice
from skylift.localcloud.images.built import BuiltImages
from skylift.localcloud.images.found import LocalImages
from skylift.localcloud.ports import Image
from skylift.localcloud.ports import Images as AnyImages
from skylift.localcloud.postgres.guard import PostgresGuard
from skylift.localcloud.postgres.server import Postgres
from skylift.wire.app import WireApp
from skylift.wire.asgi import Asgi, Receive, Scope, Send
from skylift.wire.encryption import Tls
from skylift.wire.signing.keys import DerivedKeys, Key, Keyrings, StaticKeys

SETTINGS = ControlSettings(
    region=REGION,
    account=ACCOUNT,
    administrators=(OWNER,),
    # Only the machine limits the local cloud; ECS tasks that do not fit wait there.
    launches_per_second=500,
    # Free here: a figure for each ECS task.
    container_insights="enhanced",
    service_metrics_namespace="AWS/MWAA",
    metrics_seconds=15,
    # Containers start very fast here. This costs 2 % of a core, including PostgreSQL.
    scheduler_idle_milliseconds=500,
)
"""The control plane's, on the local cloud."""

LOCAL_PATCHES = "at-once"
"""A laptop is off in most maintenance windows. ``SKYLIFT_PATCHES`` chooses otherwise."""

SECRET = "skylift/postgres"  # noqa: S105 - the secret's name


class Server:
    """Everything that one server runs.

    ``start_cloud`` first, then HTTP must serve ``app``, then ``start_control``; what they start is ended by the stack,
    except the cloud (``end_cloud``), whose containers need HTTP to the last.
    """

    def __init__(
        self, home: Home, port: int, identity: RunningServer, stage: Callable[[str], None], note: Callable[[str], None]
    ) -> None:
        self._home = home
        self._identity = identity
        self._stage = stage
        self._note = note
        owner = ensure_credentials(home, port)
        master, damage = usable_master_key(home)
        keys = DerivedKeys(master, time.time)
        self._postgres = Postgres(home.folder)
        engine = chosen_engine(home.folder / "runner")
        images = LocalImages(BuiltImages(home.folder, home.folder / "cache"), home.folder)
        self._images = WatchedImages(OciImages(engine) if engine else images, note)
        self._cloud = LocalCloud(
            home.folder,
            endpoint(port),
            keys,
            ACCOUNT,
            REGION,
            time.time,
            images=self._images,
            runner=EngineRunner(engine) if engine else None,
            slots=SLOTS.read(os.environ),
            iam=IamChoice(chosen_mode(home), frozenset({owner.access_key})),
            others=chosen_others(home),
        )
        for one in (damage, images.damage()):
            if one is not None:
                self._cloud.add_damage(one)
        patches = PATCHES.read({PATCHES.env: LOCAL_PATCHES, **os.environ})
        self._control = ControlPlane(replace(SETTINGS, patches=patches), time.time)
        self._mwaa = Refusing(self._control.provider, None)
        self._anyscale = AnyscaleSwitch(home, note)
        self.app: Asgi = WireApp(
            [*self._cloud.providers, self._mwaa],
            Keyrings(StaticKeys([Key(owner.access_key, owner.secret, OWNER)]), keys, self._cloud.extra_keyring),
            fallback=self._cloud.fallback,
            routes={**self._cloud.routes, HEALTH: health_route(identity)},
            signed_routes={
                **self._cloud.signed_routes,
                **self._control.signed_routes,
                IMAGE: self._image,
                ANYSCALE: self._anyscale.route,
            },
            interceptor=self._cloud.interceptor,
            account=ACCOUNT,
            region=REGION,
            clock=time.time,
        )

    @property
    def tls(self) -> Tls:
        """What clients that begin with TLS are answered with."""
        return self._cloud.tls

    async def start_cloud(self, stack: AsyncExitStack) -> None:
        """Starts PostgreSQL and the local cloud. Raises ``Refused`` or ``Unavailable`` with the cause."""
        self._stage("starting PostgreSQL")
        stack.push_async_callback(self._end_postgres)
        try:
            await asyncio.to_thread(self._postgres.start)
        except Damaged as error:  # environments do not work without it; everything else does
            self._cloud.add_damage(error.damage)
        else:
            self._guard(stack)
        self._stage("starting the local cloud")
        try:
            await self._cloud.start()
        except BaseException:
            await self._cloud.stop()
            raise
        for one in self._cloud.damage():
            self._note(f"DAMAGED: {one}")

    def _guard(self, stack: AsyncExitStack) -> None:
        guarding = asyncio.create_task(PostgresGuard(self._postgres, self._note).run(), name="the guard of PostgreSQL")
        guarding.add_done_callback(self._tell_fault)

        async def end_guard() -> None:
            guarding.cancel()
            await asyncio.gather(guarding, return_exceptions=True)

        stack.push_async_callback(end_guard)

    def _tell_fault(self, ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and (fault := ended.exception()) is not None:
            self._note(f"{ended.get_name()} has ended, which is a bug of skylift: {fault!r}")

    async def start_control(self, stack: AsyncExitStack) -> None:
        """Starts the control plane and the follower. HTTP must be running already: they call it."""
        stack.push_async_callback(self._anyscale.stop)
        await self._anyscale.start_if_wanted()
        self._stage("starting the control plane")
        try:
            await asyncio.to_thread(self._publish_database)
        except (Refused, Unavailable) as error:
            found = self._cloud.damage()
            if not found:
                raise
            self._mwaa.refuse_all(next((one for one in found if str(one) in str(error)), found[0]))
            self._note(f"environments are not served: {error}")
            return
        stack.push_async_callback(self._end_control)
        await asyncio.to_thread(self._control.start)
        s3, mwaa = client("s3", region=REGION), client("mwaa", region=REGION)
        applier = Applier(s3, mwaa, self._note, partial(applies, self._home))
        follower = Follower(self._home, s3, self._note, applier.changed)
        following = asyncio.create_task(follower.run(), name="the follower of project folders")
        following.add_done_callback(self._tell_fault)

        async def end_follower() -> None:
            follower.stop()
            await asyncio.gather(following, return_exceptions=True)
            await applier.stop()

        stack.push_async_callback(end_follower)
        self._schedule_snapshots(stack)

    def _schedule_snapshots(self, stack: AsyncExitStack) -> None:
        here = Connection(self._home, self._identity)
        schedule = SnapshotSchedule(partial(rules_of, here), LocalSnapshots(here), self._note, time.time)
        looking = asyncio.create_task(schedule.run(), name="the schedule of snapshots")
        looking.add_done_callback(self._tell_fault)

        async def end_schedule() -> None:
            schedule.stop()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

        stack.push_async_callback(end_schedule)

    def _publish_database(self) -> None:
        """Writes PostgreSQL's address and password to Secrets Manager, where the control plane reads them."""
        value = json.dumps(
            {
                "host": "127.0.0.1",
                "port": self._postgres.port,
                "username": self._postgres.superuser,
                "password": self._postgres.password,
            }
        )
        secrets = client("secretsmanager", region=REGION)
        known = exists(lambda: secrets.describe_secret(SecretId=SECRET), f"secretsmanager DescribeSecret {SECRET}")
        with calling(f"secretsmanager PutSecretValue {SECRET}"):
            if not known:
                secrets.create_secret(Name=SECRET, SecretString=value)
            elif secrets.get_secret_value(SecretId=SECRET)["SecretString"] != value:
                secrets.put_secret_value(SecretId=SECRET, SecretString=value)

    async def _image(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"image": self._images.doing})

    async def _end_control(self) -> None:
        self._stage("stopping the control plane")
        await asyncio.to_thread(self._control.stop)

    async def end_cloud(self) -> None:
        """Ends every container, and saves the cloud's state."""
        self._stage("stopping containers, saving the cloud's state")
        await self._cloud.stop()

    async def _end_postgres(self) -> None:
        self._stage("stopping PostgreSQL")
        await asyncio.to_thread(self._postgres.stop)


class WatchedImages:
    """Images that report the progress of a build, the only slow step of a first start.

    Attributes:
        doing: what is being built, for people; empty if nothing is.
    """

    def __init__(self, images: AnyImages, note: Callable[[str], None]) -> None:
        self._images = images
        self._note = note
        self.doing = ""

    @property
    def asks(self) -> bool:
        """Like the images that it wraps."""
        return self._images.asks

    def find(self, reference: str) -> Image | None:
        """The image, if it exists."""
        return self._images.find(reference)

    def build(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Builds the image. Raises like ``BuiltImages.build``."""

        def tell(line: str) -> None:
            self.doing = f"{reference}: {line}"
            progress(line)

        begun = time.monotonic()
        tell("beginning")
        try:
            return self._images.build(reference, tell)
        finally:
            self.doing = ""
            self._note(f"image {reference}: {time.monotonic() - begun:.1f} s")
