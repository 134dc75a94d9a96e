"""``skylift down``: stop everything, lose nothing."""

from __future__ import annotations

import os

import click

from skylift.cli import daemon
from skylift.cli.home import find_home
from skylift.cli.terminal import Stages, err


@click.command()
def down() -> None:
    """Stop skylift. Nothing is lost: the next "up" finds buckets, environments and run history again."""
    home = find_home(os.environ)
    with Stages(err()) as stages:
        server = daemon.stop(home, stages.now)
        if server is None:
            stages.done(f"skylift does not run (home {home.folder})")
        else:
            stages.done(f"skylift stopped; its state stays in {home.folder}")
