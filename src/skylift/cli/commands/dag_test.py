"""``skylift test``: one run of a DAG in the terminal. ``skylift shell``: a shell with the environment's Python."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import click

from skylift.cli.checking.check import check
from skylift.cli.checking.workspace import bundle_of, environment_in, prepared_python
from skylift.cli.commands.exec import AnyOrder
from skylift.cli.commands.run import conf_of
from skylift.cli.completion import complete_dag
from skylift.cli.home import Home, find_home
from skylift.cli.projects.project import Project, open_project
from skylift.cli.settings_file.read import ProjectSettings
from skylift.cli.settings_file.read import read as read_settings
from skylift.cli.terminal import Stages, counted, err
from skylift.core.errors import Refused

PYTHON_OPTION = click.option(
    "--python",
    type=click.Path(path_type=Path),
    help="A Python that has Airflow and skylift; default: that of the environment's image.",
)


@click.command("test")
@click.argument("dag_id", shell_complete=complete_dag)
@click.argument("folder", metavar="[PROJECT]", default=".", type=click.Path(path_type=Path))
@click.option("--conf", default="{}", help="JSON object for the DAG run.")
@PYTHON_OPTION
def test_dag(dag_id: str, folder: Path, conf: str, python: Path | None) -> int:
    """Run DAG_ID of PROJECT (default: this folder) once, here, with the logs of its tasks in the terminal.

    It needs no environment, scheduler or executor: tasks run one after the other in the image's Python, with the
    project's requirements, skylift.toml and .env, and an empty database. AWS is the local cloud, if it runs. Exit code
    0 only if the run succeeded.

    \b
      skylift test daily_sales --conf '{"day": "2026-11-30"}'
    """
    conf_of(conf)
    project, home, settings = _opened(folder)
    with Stages(err()) as stages:
        file = _file_of(home, project, settings, dag_id, python, stages)
        ready = prepared_python(home, project, settings, python, stages.now)
        with tempfile.TemporaryDirectory(prefix="skylift-test-") as name:
            environment = environment_in(home, project, ready, Path(name) / "airflow", stages.now)
            environment |= bundle_of(Path(name) / "dags", project.folder / file)
            stages.now(f"running {dag_id}")
            dags, module = str(project.folder / "dags"), "skylift.runtime.parsing.one_run"
            words = [str(ready.program), "-m", module, dags, str(project.folder / file), dag_id, conf]
            done = subprocess.run(words, env=environment, cwd=name, check=False)
            end = stages.done if done.returncode == 0 else stages.failed
            end(f"{dag_id}: {'success' if done.returncode == 0 else 'failed'}")
            if done.returncode and "AWS_ENDPOINT_URL" not in environment:
                told = f"No local cloud runs, so {dag_id} had no AWS: skylift up starts one, with this project's data."
                err().print(told, markup=False)
    return min(abs(done.returncode), 1)


def _file_of(
    home: Home, project: Project, settings: ProjectSettings, dag_id: str, python: Path | None, stages: Stages
) -> str:
    """The file that has the DAG; which are read again only if they changed."""
    found = check(home, project, settings, python, stages.now)
    files = [file for file, dag in found.dags if dag.dag_id == dag_id]
    if not files:
        known = ", ".join(sorted(dag.dag_id for _, dag in found.dags)) or "none"
        wrong = f" There are {counted(found.errors, 'error')}: skylift check" if found.errors else ""
        raise Refused(f"There is no DAG {dag_id} in {project.folder}. There are: {known}.{wrong}")
    return files[0]


@click.command("shell", cls=AnyOrder)
@click.argument("folder", metavar="[PROJECT]", default=".")
@click.argument("words", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@PYTHON_OPTION
def shell(folder: str, words: tuple[str, ...], python: Path | None) -> None:
    """Start a shell (or COMMAND) on this machine in which python and airflow are the environment's.

    They have the project's requirements, plugins, skylift.toml and .env, and an Airflow database of their own. AWS is
    the local cloud, if it runs. (For a shell in a running container: skylift exec.)

    \b
      skylift shell . -- python -c "import pandas"
    """
    project, home, settings = _opened(Path(folder))
    with Stages(err()) as stages:
        ready = prepared_python(home, project, settings, python, stages.now)
        place = home.folder / "cache" / "check" / "shells" / project.name
        environment = environment_in(home, project, ready, place, stages.now)
    environment |= {name: os.environ[name] for name in ("TERM", "SHELL", "USER", "COLORTERM") if name in os.environ}
    command = list(words) or [os.environ.get("SHELL") or "/bin/sh"]
    if not words:
        err().print(f"python is {ready.program}; Ctrl-D leaves this shell.", markup=False)
    os.chdir(project.folder)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - the user's own command
    except FileNotFoundError as error:
        raise Refused(f"There is no program {command[0]} here.") from error


def _opened(folder: Path) -> tuple[Project, Home, ProjectSettings]:
    project, home = open_project(folder), find_home(os.environ)
    home.prepare()
    return project, home, read_settings(project.folder, os.environ)
