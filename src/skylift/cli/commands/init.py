"""``skylift init``: make a new project. ``skylift toml``: what its skylift.toml may hold."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from skylift.cli.new_project import make
from skylift.cli.settings_file.example import EXAMPLE
from skylift.cli.settings_file.schema import SCHEMA
from skylift.cli.terminal import out


@click.command()
@click.argument("folder", metavar="[FOLDER]", default=".", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Name of the environment; default: the folder's name.")
def init(folder: Path, name: str) -> None:
    """Make a new project in FOLDER (default: this folder), which runs at once.

    It has a DAG that reads from S3 and writes a report, tests with a local cloud, and settings for editors. A file
    that is there already stays as it is.

    \b
      skylift init demo && cd demo && skylift up . --run
    """
    for path in make(folder, name):
        click.echo(path)
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    out().print(f"To start it and run its DAG: {there}skylift up . --run", markup=False)


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON schema, for editors.")
def toml(schema: bool) -> None:
    """Print a commented skylift.toml with everything that it may hold.

    \b
      skylift toml > skylift.toml
    """
    click.echo(json.dumps(SCHEMA, indent=2) if schema else EXAMPLE, nl=schema)
