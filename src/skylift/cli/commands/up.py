"""``skylift up``: start skylift, and bring up a project's environment."""

from __future__ import annotations

import os
from pathlib import Path

import click

from skylift.cli import anyscale as anyscale_set_up
from skylift.cli import environments
from skylift.cli.commands.env_events import happened, print_event
from skylift.cli.commands.env_update import print_plan
from skylift.cli.connection import Connection, connect, connection
from skylift.cli.doctor import GIGABYTE, LEAST_DISK, free_disk
from skylift.cli.home import Home, find_home
from skylift.cli.kept import kept
from skylift.cli.projects.project import Project, open_project, up_command
from skylift.cli.runs import project_run as flight
from skylift.cli.runs.dag_run import RunResult
from skylift.cli.serving import daemon
from skylift.cli.serving.others import others_option
from skylift.cli.serving.server import package_version
from skylift.cli.settings_file.read import ProjectSettings
from skylift.cli.settings_file.read import read as read_settings
from skylift.cli.terminal import Stages, err, goes_on, out
from skylift.core.errors import Refused
from skylift.localcloud.containers.oci import DOCKER, PODMAN, PROCESS, RUNNER
from skylift.localcloud.iam.mode import IAM_MODE


@click.command()
@click.argument("folder", metavar="[PROJECT]", required=False, type=click.Path(path_type=Path))
@click.option("--run", "run_it", is_flag=True, help="Trigger the project's DAG, follow it, print its tasks.")
@click.option("--dag", "dag_id", metavar="DAG_ID", help="With --run: which DAG, if there are several.")
@click.option("-f", "--follow", is_flag=True, help="Stay, and print what happens to the environment until Ctrl-C.")
@click.option(
    "--apply/--no-apply",
    default=None,
    help="Whether a saved requirements.txt, plugin or startup.sh becomes an update. Remembered; at first --apply.",
)
@click.option(
    "--plan", "only_plan", is_flag=True, help="Print what it would change in the environment, and change nothing."
)
@click.option("--undo-drift", is_flag=True, help="Make as skylift.toml says also what was changed elsewhere.")
@click.option("--name", help="Name of the environment; default: as skylift.toml says, else the folder's name.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="SKYLIFT_PORT",
    help="Loopback port of the AWS endpoint (or $SKYLIFT_PORT). Remembered; at first 4747.",
)
@click.option(
    "--runner",
    type=click.Choice([PROCESS, PODMAN, DOCKER]),
    envvar=RUNNER.env,
    help=f"What runs containers (or ${RUNNER.env}). Remembered; at first processes on this machine.",
)
@click.option("--enforce-iam", "iam", flag_value="enforce", help="Refuse what IAM's policies do not allow. Remembered.")
@click.option(
    "--observe-iam", "iam", flag_value="observe", help="Only note who does what: skylift iam-policy --observed."
)
@click.option(
    "--with-anyscale/--without-anyscale",
    "anyscale",
    default=None,
    help="Also run a fake of Anyscale whose jobs really run, and give PROJECT a connection to it. Remembered.",
)
@click.option("--no-enforce-iam", "iam", flag_value="off", help="Every valid key may do everything (at first).")
@others_option
def up(
    folder: Path | None,
    run_it: bool,
    dag_id: str | None,
    name: str | None,
    port: int | None,
    runner: str | None,
    follow: bool,
    apply: bool | None,
    iam: str | None,
    only_plan: bool,
    undo_drift: bool,
    anyscale: bool | None,
) -> int:
    """Start skylift. With PROJECT, also create its environment and watch its files.

    A saved DAG file is in the environment within a second. A saved requirements.txt, plugin or startup.sh becomes an
    update, which is proven first and undone if it fails. With --follow you see this here.

    PROJECT is a folder with dags/, and optionally plugins/ or plugins.zip, requirements.txt, startup.sh, data/,
    skylift.toml (see skylift toml) and .env. You can run it again: it keeps what already runs. Exit code 0 only if
    everything worked, including a DAG run. With an option that needs a PROJECT, its default is this folder, if it has
    dags/.
    """
    asked = bool(run_it or name or dag_id or follow or apply is not None or only_plan or undo_drift)
    if folder is None and asked and Path("dags").is_dir():
        folder = Path()
    if folder is None and asked:
        raise click.UsageError("--run, --dag, --name, --follow, --apply, --plan and --undo-drift need a PROJECT.")
    if dag_id and not run_it:
        raise click.UsageError("--dag selects the DAG for --run: give --run too.")
    project = open_project(folder, name or "") if folder is not None else None
    settings = read_settings(project.folder, os.environ) if project is not None else ProjectSettings()
    if only_plan and project is not None:
        return show_plan(project, settings, undo_drift)
    home = find_home(os.environ)
    check_disk(home)
    if runner is not None:
        os.environ[RUNNER.env] = runner  # the server inherits it
    if iam is not None:
        os.environ[IAM_MODE.env] = iam
    with Stages(err()) as stages:
        here = start(home, port, stages, runner, iam)
        _switch_anyscale(here, anyscale, stages)
        if project is None:
            with goes_on("skylift runs, and its environments are still starting. See the progress: skylift status"):
                flight.wait_for_all(here, stages)
            return 0
        known = max((event["id"] for event in here.events(project.name)), default=0) if follow else 0
        choices = flight.UpChoices({}, up_command(project, run_it, dag_id), apply, undo_drift, settings)
        flown = _fly(here, project, run_it, dag_id, stages, choices, bool(anyscale))
    # Only now: results on standard output would run into the live line.
    code = _show(here, project, *flown)
    if follow:
        with goes_on(f"Environment {project.name} goes on, and its files are watched. To stop it: skylift down"):
            for event in happened(here, project.name, follow=True, after=known):
                print_event(out(), event)
    return code


def show_plan(project: Project, settings: ProjectSettings, undo_drift: bool) -> int:
    """Prints what ``up`` would change in a project's environment; changes nothing."""
    here = connect()
    found = environments.find(here.client("mwaa"), project.name)
    if found is None:
        out().print(f"There is no environment {project.name}: it would be created.", markup=False)
        return 0
    if environments.is_stopped(found):
        out().print(f"{project.name} is stopped: it would be started.", markup=False)
    changes, members = flight.foreseen(here, project, settings, found, undo_drift)
    print_plan(out(), project.name, here.plan_update(project.name, members) if members else {})
    for one in changes.drift:
        out().print(f"  ! {one}", markup=False)
    return 0


def start(
    home: Home, port: int | None, stages: Stages, runner: str | None = None, iam: str | None = None
) -> Connection:
    """The running server; starts one if there is none."""
    with goes_on(
        "skylift is still starting in the background. See the progress: skylift status; to end it: skylift down"
    ):
        server, fresh = daemon.start(home, port, stages.now, stages.note, runner, iam)
    stages.done(f"skylift {'started' if fresh else 'runs already'}: {server.endpoint} (home {home.folder})")
    if server.version != package_version():
        stages.note(
            f"it is skylift {server.version}, this command is {package_version()}. To update it: skylift down && "
            f"skylift up"
        )
    here = connection(home, server)
    for one in kept().damaged:
        stages.note(one)
    return here


def check_disk(home: Home) -> None:
    """Raises ``Refused`` if so little disk space is free that a database or a bucket could break half-way."""
    free = free_disk(home.folder)
    if free < LEAST_DISK:
        raise Refused(
            f"The disk is full: {free / GIGABYTE:.2f} GB free for {home.folder}, at least {LEAST_DISK / GIGABYTE:.1f} "
            "GB are "
            "needed. Free some space, or set SKYLIFT_HOME to a folder on another disk."
        )


def _fly(
    here: Connection,
    project: Project,
    run_it: bool,
    dag_id: str | None,
    stages: Stages,
    choices: flight.UpChoices,
    with_anyscale: bool,
) -> tuple[flight.Landed, RunResult | None]:
    landed = flight.bring_up(here, project, choices, stages)
    if with_anyscale:
        here.ask(lambda: anyscale_set_up.connect(here, landed.environment), stages.now, "Airflow")
        stages.done(f"connection {anyscale_set_up.CONNECTION} leads to the fake of Anyscale")
    if not run_it:
        return landed, None
    result = flight.run_project_dag(here, landed.environment, dag_id, {}, stages)
    flight.tell_end(stages, result)
    return landed, result


def _switch_anyscale(here: Connection, on: bool | None, stages: Stages) -> None:
    if on is None:
        return
    stages.now("starting a fake of Anyscale" if on else "ending the fake of Anyscale")
    host = anyscale_set_up.switch(here, on)
    stages.done(
        f"a fake of Anyscale serves: {host} (its key: {here.home.folder / 'anyscale' / 'address.json'})"
        if on
        else "no fake of Anyscale runs"
    )


def _show(here: Connection, project: Project, landed: flight.Landed, result: RunResult | None) -> int:
    console = out()
    if result is not None:
        flight.print_run(console, here, project.name, result)
    flight.print_addresses(console, here, landed.environment)
    flight.print_outdated(console, project, landed.outdated)
    return 0 if result is None or result.state == "success" else 1
