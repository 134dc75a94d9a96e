"""``skylift down``: stop everything, lose nothing."""

from __future__ import annotations

import os

import click

from skylift.cli import daemon
from skylift.cli.doctor import leftovers
from skylift.cli.home import Home, find_home
from skylift.cli.terminal import Stages, err


@click.command()
def down() -> None:
    """Stop skylift. Nothing is lost: the next "up" finds buckets, environments and run history again."""
    home = find_home(os.environ)
    with Stages(err()) as stages:
        if daemon.stop(home, stages.now) is not None:
            stages.done(f"skylift stopped; its state stays in {home.folder}")
        elif leftovers(home):
            stages.now("a server of this home was killed: ending what it left")
            _end_leftovers(home, stages)
            stages.done(f"what a killed server had left is ended; state stays in {home.folder}")
        else:
            stages.done(f"skylift does not run (home {home.folder})")


def _end_leftovers(home: Home, stages: Stages) -> None:
    """Only a server knows how to end its containers in good order, so one takes them over first."""
    daemon.start(home, None, stages.now)
    daemon.stop(home, stages.now)
