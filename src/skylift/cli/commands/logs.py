"""``skylift logs`` and ``skylift env logs``: the logs of components, Airflow tasks and containers, from CloudWatch
Logs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from skylift.cli.completion import complete_log
from skylift.cli.connection import connect
from skylift.cli.hiding import SHOW_SECRETS, hiding
from skylift.cli.home import find_home
from skylift.cli.logs.airflow_tasks import Which, named
from skylift.cli.logs.containers import is_container, logs_of, show_containers
from skylift.cli.logs.lines import of_project
from skylift.cli.logs.view import COMPONENTS, follow_file, log_group_of, show_component, show_tries
from skylift.cli.naming import ENV_OPTION
from skylift.cli.naming import chosen as environment_of
from skylift.cli.projects.buckets import followed
from skylift.cli.terminal import goes_on
from skylift.core.secrecy import hide_in

SERVER, TASK = "server", "task"
LINES = 100
_OPTIONS = (
    ENV_OPTION,
    click.option("--dag", metavar="DAG_ID", help="Show the log of an Airflow task of this DAG."),
    click.option("--run", metavar="RUN_ID", help="With --dag: this run; default: the newest."),
    click.option("--task", metavar="TASK_ID", help="With --dag: this Airflow task; default: all."),
    click.option("--try", "number", type=click.IntRange(1), help="With --dag: this try; default: the last."),
    click.option("--map-index", type=click.IntRange(0), help="With --dag: this mapped task instance; default: all."),
    click.option("-f", "--follow", is_flag=True, help="Follow the log until Ctrl-C."),
    click.option(
        "-n",
        "--lines",
        type=click.IntRange(1, 100_000),
        help=f"Number of last lines; default: {LINES}, with --dag: all.",
    ),
    SHOW_SECRETS,
)


def log_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that ``skylift logs`` and ``skylift env logs`` share."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("component", metavar="[WHAT]", required=False, shell_complete=complete_log)
@log_options
def logs(component: str | None, **how: Any) -> None:
    """Show logs of WHAT, tracebacks as text.

    WHAT is a component (server, the default; scheduler, dag-processor, api-server, triggerer, worker, task), a DAG, an
    Airflow task as DAG.TASK, or the id of an ECS task or Batch job (see skylift ps). Of a DAG, the newest run and the
    last try of each Airflow task are shown.

    \b
      skylift logs scheduler -f
      skylift logs quickstart.draw --try 1
    """
    show(component or (TASK if how["dag"] else SERVER), **how)


def show(
    component: str,
    name: str | None,
    dag: str | None,
    run: str | None,
    task: str | None,
    number: int | None,
    map_index: int | None,
    follow: bool,
    lines: int | None,
    show_secrets: bool,
) -> None:
    """Shows the requested log, with *** for what looks like a secret. Raises ``click.UsageError`` for options that
    exclude each other."""
    of_dag = dag is not None or (component not in {SERVER, *COMPONENTS} and not is_container(component))
    if not of_dag and any(one is not None for one in (run, task, number, map_index)):
        raise click.UsageError(
            "--run, --task, --try and --map-index select a log of a DAG: give DAG.TASK or --dag too."
        )
    if dag is not None and component != TASK:
        raise click.UsageError(f"--dag shows the log of Airflow tasks, not of {component}: omit {component}.")
    if component == SERVER and name is not None:
        raise click.UsageError(
            f"--env needs a component, one of {', '.join(COMPONENTS)}: all environments share one server."
        )
    with goes_on(""):
        if component == SERVER:
            plain = click.echo if show_secrets else lambda text: click.echo(hide_in(text))
            follow_file(find_home(os.environ).server_log, lines or LINES, follow, plain)
            return
        here = connect()
        if is_container(component):
            containers = logs_of(here.client("ecs"), here.client("batch"), component)
            plain = click.echo if show_secrets else lambda text: click.echo(hide_in(text))
            show_containers(here.client("logs"), containers, lines, follow, plain, str)
            return
        chosen = environment_of(here.client("mwaa"), name)
        project = followed(here.home).get(chosen)
        rename = of_project(project.project.folder if project else None)
        client = here.client("logs")
        write = click.echo if show_secrets else hiding(here.client("mwaa"), chosen, click.echo)
        if dag is None and of_dag:
            dag, found = named(client, log_group_of(client, chosen, "TaskLogs"), component)
            if found is not None and task is not None:
                raise click.UsageError(f"{component} and --task both name an Airflow task.")
            task = found or task
        if dag is None:
            show_component(client, chosen, component, lines or LINES, follow, write, rename)
        else:
            show_tries(client, chosen, Which(dag, run, task, number, map_index), lines, follow, write, rename)
