"""``skylift image``: the user's own images. Each is a virtual environment on this machine with an image's name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from skylift.cli.home import find_home
from skylift.cli.words import Commands
from skylift.localcloud.images.registry import ImageRegistry, NamedImage


@click.group(cls=Commands)
def image() -> None:
    """Use your own images in the local cloud: give image names to virtual environments."""


@image.command()
@click.argument("name")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--env", "pairs", multiple=True, metavar="NAME=VALUE", help="A variable for its containers. May be repeated."
)
def add(name: str, folder: Path | None, pairs: tuple[str, ...]) -> None:
    """Use the virtual environment in FOLDER for the image NAME (e.g. my/app:1, as in a task definition).

    Without FOLDER: the Python environment that runs skylift. A running server sees the change at once.
    """
    if wrong := [pair for pair in pairs if not pair.partition("=")[1]]:
        raise click.UsageError(f"--env wants NAME=VALUE, not {wrong[0]!r}.")
    environment = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    made = _registry().add(name, NamedImage(folder if folder is not None else Path(sys.prefix), environment))
    click.echo(f"{name} is {made.root}")


@image.command(name="list")
def list_() -> None:
    """List your images."""
    for name, one in sorted(_registry().all().items()):
        click.echo(f"{name}\t{one.root}")


@image.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the image NAME; its folder stays."""
    _registry().remove(name)


def _registry() -> ImageRegistry:
    home = find_home(os.environ)
    home.prepare()
    return ImageRegistry(home.folder)
