"""``skylift cloud``: the local cloud alone, in the foreground; for people's own tests of ECS, Batch and S3 code.
``skylift serve``, which is hidden: the background process itself, which ``skylift up`` starts.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from skylift.cli.home import DEFAULT_PORT, Home, find_home
from skylift.cli.serving.others import others_option
from skylift.cli.terminal import err


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Loopback port of the AWS endpoint; default: any free port.",
)
@click.option(
    "--home", "folder", type=click.Path(path_type=Path), help="Folder for all state; default: a temporary folder."
)
@others_option
def cloud(port: int, folder: Path | None) -> None:
    """Run the local cloud alone in the foreground: ECS, Batch, S3 and more, without Airflow or a database.

    It prints its endpoint and what to set in another shell. Ctrl-C ends it and every container. With --home,
    the next start finds buckets, secrets and task definitions again; set SKYLIFT_HOME to that folder so that other
    commands find it.
    """
    from skylift.cli.serving.alone import run_alone  # lazy: the local cloud takes a second to import

    if folder is not None:
        run_alone(Home(folder.absolute()), port, _say)
        return
    with tempfile.TemporaryDirectory(prefix="skylift-cloud-") as made:
        run_alone(Home(Path(made)), port, _say)


def _say(text: str) -> None:
    err().print(text, markup=False, highlight=False, soft_wrap=True)


@click.command(hidden=True)
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, help="Loopback port to listen on.")
def serve(port: int) -> None:
    """Run the server in the foreground until SIGTERM."""
    from skylift.cli.serving.serve import serve_forever  # lazy: the local cloud takes a second to import

    serve_forever(find_home(os.environ), port)
