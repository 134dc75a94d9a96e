"""``skylift logs`` and ``skylift env logs``: what components say, from CloudWatch Logs."""

from __future__ import annotations

import os

import click

from skylift.cli import environments
from skylift.cli.connection import connect
from skylift.cli.home import find_home
from skylift.cli.logview import COMPONENTS, follow_file, show_component


@click.command()
@click.argument("component", type=click.Choice(["server", *COMPONENTS]), default="server")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(1, 100_000), default=100, help="How many lines back; default 100.")
@click.option("--env", "name", help="Environment; default the only one.")
def logs(component: str, follow: bool, lines: int, name: str | None) -> None:
    """Show logs of COMPONENT: skylift's own server (default), or a part of an environment."""
    if component == "server":
        follow_file(find_home(os.environ).server_log, lines, follow, click.echo)
        return
    here = connect()
    chosen = environments.the_one(here.client("mwaa"), name)
    show_component(here.client("logs"), chosen, component, lines, follow, click.echo)
