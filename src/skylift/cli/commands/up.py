"""``skylift up``: start skylift, and bring up a project's environment."""

from __future__ import annotations

import os
from pathlib import Path

import click

from skylift.cli.commands.env_events import happened, print_event
from skylift.cli.connection import Connection, connection
from skylift.cli.doctor import GIGABYTE, LEAST_DISK, free_disk
from skylift.cli.home import Home, find_home
from skylift.cli.kept import kept
from skylift.cli.projects.project import Project, open_project, up_command
from skylift.cli.runs import project_run as flight
from skylift.cli.runs.dag_run import RunResult
from skylift.cli.serving import daemon
from skylift.cli.serving.server import package_version
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
@click.option("--name", help="Name of the environment; default: the folder's name.")
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
@click.option("--no-enforce-iam", "iam", flag_value="off", help="Every valid key may do everything (at first).")
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
) -> int:
    """Start skylift. With PROJECT, also create its environment and watch its files.

    A saved DAG file is in the environment within a second. A saved requirements.txt, plugin or startup.sh becomes an
    update, which is proven first and undone if it fails. With --follow you see this here.

    PROJECT is a folder with dags/, and optionally plugins/ or plugins.zip, requirements.txt, startup.sh and data/.
    You can run it again: it keeps what already runs. Exit code 0 only if everything worked, including a DAG run.
    """
    if folder is None and (run_it or name or dag_id or follow or apply is not None):
        raise click.UsageError("--run, --dag, --name, --follow and --apply need a PROJECT.")
    if dag_id and not run_it:
        raise click.UsageError("--dag selects the DAG for --run: give --run too.")
    project = open_project(folder, name or "") if folder is not None else None
    home = find_home(os.environ)
    check_disk(home)
    if runner is not None:
        os.environ[RUNNER.env] = runner  # the server inherits it
    if iam is not None:
        os.environ[IAM_MODE.env] = iam
    with Stages(err()) as stages:
        here = start(home, port, stages, runner, iam)
        if project is None:
            with goes_on("skylift runs, and its environments are still starting. See the progress: skylift status"):
                flight.wait_for_all(here, stages)
            return 0
        known = max((event["id"] for event in here.events(project.name)), default=0) if follow else 0
        flown = _fly(here, project, run_it, dag_id, stages, apply)
    # Only now: results on standard output would run into the live line.
    code = _show(here, project, *flown)
    if follow:
        with goes_on(f"Environment {project.name} goes on, and its files are watched. To stop it: skylift down"):
            for event in happened(here, project.name, follow=True, after=known):
                print_event(out(), event)
    return code


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
    here: Connection, project: Project, run_it: bool, dag_id: str | None, stages: Stages, apply: bool | None
) -> tuple[flight.Landed, RunResult | None]:
    landed = flight.bring_up(here, project, {}, stages, up_command(project, run_it, dag_id), apply)
    if not run_it:
        return landed, None
    result = flight.run_project_dag(here, landed.environment, dag_id, {}, stages)
    flight.tell_end(stages, result)
    return landed, result


def _show(here: Connection, project: Project, landed: flight.Landed, result: RunResult | None) -> int:
    console = out()
    if result is not None:
        flight.print_run(console, here, project.name, result)
    flight.print_addresses(console, here, landed.environment)
    flight.print_outdated(console, project, landed.outdated)
    return 0 if result is None or result.state == "success" else 1
