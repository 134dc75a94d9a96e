"""``skylift env import``: a project from an environment of Amazon MWAA."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from skylift.cli.importing.fetch import import_environment
from skylift.cli.terminal import Stages, err, out
from skylift.control.settings import ControlSettings


@click.command("import")
@click.argument("name")
@click.argument("folder", metavar="[FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option("--profile", help="A profile of your AWS configuration; default: as the AWS CLI would take it.")
@click.option("--region", help="AWS region of the environment.")
@click.option("--endpoint-url", help="Another endpoint than AWS's, e.g. one of skylift.")
def import_project(
    name: str, folder: Path | None, profile: str | None, region: str | None, endpoint_url: str | None
) -> None:
    """Make a project in FOLDER (default: ./NAME) of the environment NAME of Amazon MWAA.

    It reads with your own AWS credentials, and changes nothing there: configuration, DAGs, requirements, plugins and
    startup script, and by Airflow's REST API the names of connections, variables and pools. What cannot be brought
    over, or differs here, is said.

    \b
      skylift env import production --profile work
    """
    given = {
        "AWS_PROFILE": profile,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": endpoint_url,
    }
    os.environ.update({variable: value for variable, value in given.items() if value})
    target = (folder or Path(name)).expanduser().absolute()
    offered = ControlSettings.read(os.environ).versions[-1]
    with Stages(err()) as stages:
        notes = import_environment(name, target, offered, stages.now)
        for note in notes:
            stages.note(note)
        stages.done(f"environment {name} is in {target}")
    shown = shlex.quote(str(folder or Path(name)))
    out().print(f"To check its DAGs, and to start it: skylift check {shown} && skylift up {shown}", markup=False)
