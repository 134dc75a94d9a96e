"""Runs the local cloud alone until Ctrl-C: connects home, keys, images and ``server.json``."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Callable

from skylift.cli.credentials import OWNER, ensure_credentials, usable_master_key
from skylift.cli.home import ACCOUNT, REGION, Home
from skylift.cli.serving.daemon import check_port
from skylift.cli.serving.enforcing import chosen_mode
from skylift.cli.serving.health import health_route
from skylift.cli.serving.others import chosen_others
from skylift.cli.serving.serve import alone_in
from skylift.cli.serving.server import HEALTH, RunningServer, package_version, record, start_time
from skylift.localcloud.alone import AloneCloud
from skylift.localcloud.containers.engine_runner import EngineRunner
from skylift.localcloud.containers.oci import OciImages, chosen_engine
from skylift.localcloud.ecs.tasks.slots import SLOTS
from skylift.localcloud.images.built import BuiltImages
from skylift.localcloud.images.found import LocalImages
from skylift.wire.serve import listen
from skylift.wire.signing.keys import Key


def run_alone(home: Home, port: int, say: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        home: for all state; created if missing.
        port: 0 means any free one.
        say: prints a line for people.

    Raises:
        Refused: another server has this home or this port.
    """
    home.prepare()
    with alone_in(home):
        if port:
            check_port(port)
        asyncio.run(_serve(home, port, say))


async def _serve(home: Home, port: int, say: Callable[[str], None]) -> None:
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    listening = listen(port)
    port = int(listening.getsockname()[1])
    owner = ensure_credentials(home, port)
    master, damage = usable_master_key(home)
    identity = RunningServer(
        os.getpid(), start_time(os.getpid()) or 0, port, package_version(), str(home.folder), alone=True
    )
    engine = chosen_engine(home.folder / "runner")
    images = LocalImages(BuiltImages(home.folder, home.folder / "cache"), home.folder)
    alone = AloneCloud(
        home.folder,
        listening,
        Key(owner.access_key, owner.secret, OWNER),
        master,
        OciImages(engine) if engine else images,
        account=ACCOUNT,
        region=REGION,
        routes={HEALTH: health_route(identity)},
        runner=EngineRunner(engine) if engine else None,
        slots=SLOTS.read(os.environ),
        iam=chosen_mode(home),
        others=chosen_others(home),
    )

    for one in (damage, images.damage()):
        if one is not None:
            alone.cloud.add_damage(one)

    def ready() -> None:
        record(home, identity)
        for found in alone.cloud.damage():
            say(f"DAMAGED: {found}")
        say("\n".join(_directions(home, alone.url)))

    try:
        await alone.run(stopping, ready)
    finally:
        home.server_file.unlink(missing_ok=True)
    say("The local cloud has ended.")


def _directions(home: Home, url: str) -> list[str]:
    folder = shlex.quote(str(home.folder))
    return [
        f"The local cloud serves AWS at {url} (state in {home.folder}).",
        "Point boto3, the AWS CLI and Terraform of another shell at it with:",
        f'  eval "$(SKYLIFT_HOME={folder} skylift shellenv)"',
        "Ctrl-C ends it.",
    ]
