"""``skylift run``: run a DAG, and follow it. ``skylift runs``: what ran."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.table import Table

from skylift.cli.completion import complete_dag
from skylift.cli.connection import Connection
from skylift.cli.naming import ENV_OPTION, opened
from skylift.cli.projects.applied import of_environment
from skylift.cli.runs import project_run as flight
from skylift.cli.runs.dag_run import COLOURS, RunResult, ecs_task_ids, heading
from skylift.cli.runs.dag_run import table as task_table
from skylift.cli.terminal import Stages, err, out, plain, print_table, seconds

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("run")
@click.argument("dag_id", shell_complete=complete_dag)
@ENV_OPTION
@click.option("--conf", help="JSON object for the DAG run.")
@click.option("--wait/--no-wait", default=True, help="Whether to follow the run to its end; default: --wait.")
@click.option("--follow", metavar="RUN_ID", help="Follow this run, which has already started, instead of starting one.")
@JSON_OPTION
def run_dag(dag_id: str, name: str | None, conf: str | None, wait: bool, follow: str | None, as_json: bool) -> int:
    """Trigger DAG_ID, follow the run, print its tasks. Exit code 0 only if it succeeded.

    Ctrl-C ends this command, not the run. With --no-wait, only the id of the run is printed.

    \b
      skylift run quickstart --conf '{"day": "2026-11-30"}'
    """
    if follow and (conf or not wait):
        raise click.UsageError(
            "--conf and --no-wait are for a run that this command starts, not for one that it follows."
        )
    given = conf_of(conf or "{}")
    here, found = opened(name)
    with Stages(err()) as stages:
        if notice := of_environment(here, found)[1]:
            stages.note(notice)
        if not wait:
            _start(here, found, dag_id, given, stages, as_json)
            return 0
        result = flight.run_project_dag(here, found, dag_id, given, stages, follow)
        flight.tell_end(stages, result)
    if as_json:
        flight.explain(err(), here, found["Name"], result)
        click.echo(json.dumps(as_plain(result), indent=2, default=str))
    else:
        flight.print_run(out(), here, found["Name"], result)
    return 0 if result.state == "success" else 1


def _start(
    here: Connection, found: dict[str, Any], dag_id: str, conf: dict[str, Any], stages: Stages, as_json: bool
) -> None:
    run_id = flight.start_project_dag(here, found, dag_id, conf, stages)
    back = shlex.join(["skylift", "run", dag_id, "--env", found["Name"], "--follow", run_id])
    stages.done(f"started. To follow it: {back}")
    click.echo(json.dumps({"dag_id": dag_id, "run_id": run_id}) if as_json else run_id)


@click.command()
@click.argument("dag_id", required=False, shell_complete=complete_dag)
@click.argument("run_id", required=False)
@ENV_OPTION
@click.option("--state", type=click.Choice(["queued", "running", "success", "failed"]), help="Only these.")
@click.option("-n", "--lines", type=click.IntRange(1, 100), default=20, help="The newest so many; default: 20.")
@JSON_OPTION
def runs(
    dag_id: str | None, run_id: str | None, name: str | None, state: str | None, lines: int, as_json: bool
) -> None:
    """List the newest runs, of DAG_ID or of all DAGs; with RUN_ID, the Airflow tasks of that run.

    \b
      skylift runs quickstart --state failed
    """
    here, found = opened(name)
    api = here.airflow(found)
    if run_id and dag_id:
        state_and_time = api.run_times(dag_id, run_id)
        if not as_json:  # Airflow gives a hundred Airflow tasks at a time: thousands take seconds
            out().print(heading(dag_id, *state_and_time), style="italic", markup=False)
        lines_of_it = tuple(api.task_lines(dag_id, run_id))
        show_run(here, RunResult(dag_id, run_id, *state_and_time, lines_of_it, {}), as_json)
        return
    rows = api.runs(dag_id, state, lines)
    if as_json:
        click.echo(json.dumps([_plain_run(one) for one in rows], indent=2))
    elif rows:
        print_table(out(), runs_table(rows))
    else:
        err().print(f"No runs{f' of {dag_id}' if dag_id else ''}.", markup=False)


def show_run(here: Connection, result: RunResult, as_json: bool) -> None:
    """The Airflow tasks of a run, with the ECS tasks that ECS remembers."""
    ids = ecs_task_ids(here.client("ecs"), flight.CLUSTER, result.dag_id, result.run_id, result.lines)
    known = RunResult(result.dag_id, result.run_id, result.state, result.took, result.lines, ids)
    if as_json:
        click.echo(json.dumps(as_plain(known), indent=2, default=str))
    else:
        print_table(out(), task_table(known, headed=False))


def runs_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """For people; Airflow's own members."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("DAG", "run", "state", "started (UTC)", "duration"):
        shown.add_column(column, justify="right" if column == "duration" else "left", no_wrap=True)
    for one in rows:
        took = one.get("duration")
        shown.add_row(
            plain(one["dag_id"]),
            plain(one["dag_run_id"]),
            f"[{COLOURS.get(one['state'], 'default')}]{one['state']}[/]",
            f"{datetime.fromisoformat(one['start_date']):%Y-%m-%d %H:%M:%S}" if one.get("start_date") else "-",
            "-" if took is None else seconds(float(took)),
        )
    return shown


def _plain_run(one: Mapping[str, Any]) -> dict[str, Any]:
    members = ("dag_id", "dag_run_id", "state", "run_type", "run_after", "start_date", "end_date", "duration", "conf")
    return {name: one.get(name) for name in members}


def conf_of(text: str) -> dict[str, object]:
    """The object of ``--conf``. Raises click's error for anything else."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--conf") from error
    if not isinstance(found, dict):
        raise click.BadParameter("not a JSON object", param_hint="--conf")
    return found


def as_plain(result: RunResult) -> dict[str, object]:
    """A run for programs."""
    return {
        "dag_id": result.dag_id,
        "run_id": result.run_id,
        "state": result.state,
        "seconds": round(result.took, 3),
        "tasks": [
            asdict(line)
            | {"start_delay": line.start_delay, "ecs_task": result.ecs_tasks.get((line.task_id, line.map_index), "")}
            for line in result.lines
        ],
    }
