"""``skylift check``: are the DAGs of a project right, without starting anything?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from skylift.cli.checking.check import CheckResult, check
from skylift.cli.home import find_home
from skylift.cli.projects.project import Project, open_project
from skylift.cli.settings_file.read import read as read_settings
from skylift.cli.terminal import Stages, counted, err, seconds
from skylift.core.secrecy import hide_in
from skylift.runtime.parsing.request import Remark

TEXT, GITHUB, JSON = "text", "github", "json"


@click.command("check")
@click.argument("folder", metavar="[PROJECT]", default=".", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice([TEXT, GITHUB, JSON]), default=TEXT, help="Default: text.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings, too.")
@click.option("--anew", is_flag=True, help="Read all files, not only what changed since the last time.")
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    help="A Python that has Airflow and skylift; default: that of the environment's image.",
)
def check_project(folder: Path, form: str, as_json: bool, strict: bool, anew: bool, python: Path | None) -> int:
    """Read all DAGs and plugins of PROJECT (default: this folder) as Airflow would, and start nothing.

    It finds files that do not import, cycles, DAG ids that occur twice, wrong executors and executor_config,
    requirements that cannot be installed; as warnings, what is deprecated (with ruff's AIR rules, if ruff is
    installed). Only what changed since the last time is read again. Exit code 1 if there is an error.

    \b
      skylift check --format github
    """
    project = open_project(folder)
    settings = read_settings(project.folder, os.environ)
    if as_json:
        form = JSON
    with Stages(err()) as stages:
        found = check(find_home(os.environ), project, settings, python, stages.now, anew=anew)
    if form == JSON:
        click.echo(json.dumps(as_plain(found), indent=2))
    else:
        shown = github(found.remarks, project) if form == GITHUB else text(found.remarks, project)
        for line in shown:
            click.echo(line)
        click.echo(summary(found), err=form == GITHUB)
    return 1 if found.errors or (strict and found.remarks) else 0


def as_plain(found: CheckResult) -> dict[str, object]:
    """For programs."""
    return {
        "files": found.files,
        "read": found.read,
        "seconds": round(found.took, 3),
        "errors": found.errors,
        "warnings": len(found.remarks) - found.errors,
        "dags": [{"file": file, **asdict(dag)} for file, dag in found.dags],
        "remarks": [asdict(one) | {"text": hide_in(one.text)} for one in found.remarks],
    }


def text(remarks: Iterable[Remark], project: Project) -> Iterable[str]:
    """One line for each, as compilers print them: editors and terminals make links of it."""
    for one in remarks:
        place = ":".join([shown_path(one.file, project), *(str(number) for number in (one.line, one.column) if number)])
        yield f"{place}: {'error' if one.error else 'warning'}: {hide_in(one.text)} [{one.code}]"


def github(remarks: Iterable[Remark], project: Project) -> Iterable[str]:
    """GitHub's workflow commands: they become notes at the lines of a pull request."""
    for one in remarks:
        numbers = [f"{name}={number}" for name, number in (("line", one.line), ("col", one.column)) if number]
        place = ",".join([f"file={_property(shown_path(one.file, project))}", *numbers, f"title={_property(one.code)}"])
        yield f"::{'error' if one.error else 'warning'} {place}::{_value(hide_in(one.text))}"


def summary(found: CheckResult) -> str:
    """One line about all of it."""
    warnings = len(found.remarks) - found.errors
    dags = f"{counted(len(found.dags), 'DAG')} in {counted(found.files, 'file')}"
    parts = [dags, counted(found.errors, "error"), counted(warnings, "warning")]
    return f"{', '.join(parts)} ({found.read} read in {seconds(found.took)})"


def shown_path(file: str, project: Project) -> str:
    """A file's path as one can open it from here."""
    path = project.folder / file
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _value(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _value(text).replace(":", "%3A").replace(",", "%2C")
