"""``skylift down``: stop everything, lose nothing."""

from __future__ import annotations

import os

import click

from skylift.cli.connection import connection
from skylift.cli.doctor import leftovers
from skylift.cli.home import Home, find_home
from skylift.cli.interrupting import running_work
from skylift.cli.serving import daemon
from skylift.cli.serving.server import running
from skylift.cli.terminal import YES_OPTION, Stages, agree, err, goes_on
from skylift.core.errors import Refused, Unavailable


@click.command()
@YES_OPTION
def down(yes: bool) -> None:
    """Stop skylift. Nothing is lost: the next "up" finds buckets, environments and run history again.

    If Airflow tasks or other ECS tasks are running, it lists them and asks. It does not ask with --yes, or if
    standard input is not a terminal. A stopped Airflow task runs again after the next "up" if it has retries
    left; otherwise it fails.
    """
    home = find_home(os.environ)
    _agree(home, yes)
    with (
        Stages(err()) as stages,
        goes_on("skylift is still stopping in the background. See whether it has ended: skylift status"),
    ):
        if daemon.stop(home, stages.now):
            stages.done(f"skylift stopped; its state stays in {home.folder}")
        elif leftovers(home):
            stages.now("the server of this home was killed: ending the processes that it left")
            _end_leftovers(home, stages)
            stages.done(f"ended the processes of a killed server; its state stays in {home.folder}")
        else:
            stages.done(f"skylift does not run (home {home.folder})")


def _agree(home: Home, yes: bool) -> None:
    server = running(home)
    if server is None:
        return
    try:
        found = running_work(connection(home, server).client("ecs"))
    except (Refused, Unavailable):
        err().print("The server does not say what it runs. It will be stopped with everything in it.")
        return
    if found:
        console = err()
        console.print("This stops running work:")
        for line in found:
            console.print(f"  {line}", markup=False)
        agree("Stop it?", yes, "Nothing was stopped.")


def _end_leftovers(home: Home, stages: Stages) -> None:
    """Only a server can end its containers in order, so a new one takes them over first."""
    daemon.start(home, None, stages.now)
    daemon.stop(home, stages.now)
