"""``skylift serve``: the background process itself. Hidden: ``skylift up`` starts it."""

from __future__ import annotations

import os

import click

from skylift.cli.home import DEFAULT_PORT, find_home


@click.command(hidden=True)
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, help="Loopback port to listen on.")
def serve(port: int) -> None:
    """Run the server in the foreground until SIGTERM."""
    from skylift.cli.serving.serve import serve_forever  # lazy: the local cloud takes a second to import

    serve_forever(find_home(os.environ), port)
