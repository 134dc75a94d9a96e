"""``skylift env``: environments, over the MWAA API."""

from __future__ import annotations

import json
import webbrowser
from dataclasses import asdict
from pathlib import Path

import click

from skylift.cli import buckets, environments, flight
from skylift.cli.commands.up import check_disk
from skylift.cli.connection import ADMIN, connect
from skylift.cli.dagrun import RunResult, table
from skylift.cli.logview import COMPONENTS, show_component
from skylift.cli.project import open_project
from skylift.cli.terminal import Stages, err, out, print_table

ENV_OPTION = click.option("--env", "name", help="Environment; default the only one.")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def env() -> None:
    """List, show, create, delete and use environments."""


@env.command("list")
@JSON_OPTION
def list_all(as_json: bool) -> None:
    """List environments with their state and address."""
    mwaa = connect().client("mwaa")
    found = [one for name in environments.names(mwaa) if (one := environments.find(mwaa, name))]
    if as_json:
        rows = [{"name": one["Name"], "status": one["Status"], "url": environments.web_url(one)} for one in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for one in found:
        click.echo(f"{one['Name']}  {one['Status']}  {environments.web_url(one) or '-'}")
    if not found:
        err().print("No environments. To make one: skylift up PROJECT")


@env.command()
@click.argument("name", required=False)
@JSON_OPTION
def show(name: str | None, as_json: bool) -> None:
    """Show one environment as GetEnvironment gives it."""
    mwaa = connect().client("mwaa")
    found = environments.get(mwaa, environments.the_one(mwaa, name))
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
        return
    for member, value in found.items():
        text = json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)
        click.echo(f"{member:<28} {text}")


@env.command()
@click.argument("name", required=False)
@JSON_OPTION
def plan(name: str | None, as_json: bool) -> None:
    """Print what the control plane would do next for an environment. Looks, and changes nothing."""
    here = connect()
    found = here.plan(environments.get(here.client("mwaa"), environments.the_one(here.client("mwaa"), name))["Name"])
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for step in found["steps"]:
        click.echo(f"{step['verb']:<7} {step['part']:<24} {step['why']}")
    if not found["steps"]:
        click.echo(f"{found['name']} is {found['status']}: nothing to do")


@env.command()
@click.argument("name")
@click.argument("folder", metavar="PROJECT", type=click.Path(path_type=Path))
@click.option("--option", "options", multiple=True, metavar="SECTION.KEY=VALUE", help="An Airflow option; repeatable.")
def create(name: str, folder: Path, options: tuple[str, ...]) -> None:
    """Create the environment NAME from a project folder; skylift must be running, and have none of that name."""
    wanted = dict(_option(text) for text in options)
    project = open_project(folder, name)
    here = connect()
    environments.refuse_existing(here.client("mwaa"), project)
    check_disk(here.home)
    with Stages(err()) as stages:
        landed = flight.bring_up(here, project, wanted, stages)
    flight.print_addresses(out(), here, landed.environment)
    flight.print_outdated(out(), project, landed.outdated)


@env.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete an environment with its database. Its bucket and its project folder stay."""
    here = connect()
    with Stages(err()) as stages:
        environments.delete(here.client("mwaa"), name, stages.now)
        buckets.forget(here.home, name)
        stages.done(f"environment {name} is deleted; its bucket and files stay")


@env.command("open")
@click.argument("name", required=False)
def open_ui(name: str | None) -> None:
    """Open Airflow's UI in a browser."""
    mwaa = connect().client("mwaa")
    found = environments.get(mwaa, environments.the_one(mwaa, name))
    url = environments.web_url(found)
    click.echo(f"{url}   (user {ADMIN}; the password: skylift env password {found['Name']})")
    if not webbrowser.open(url):
        err().print("No browser could be started here: open the address yourself.")


@env.command()
@click.argument("name", required=False)
def password(name: str | None) -> None:
    """Print the password of the user admin. The only command that prints a secret."""
    here = connect()
    click.echo(here.password(environments.the_one(here.client("mwaa"), name)))


@env.command("run")
@click.argument("dag_id")
@ENV_OPTION
@click.option("--conf", default="{}", help="JSON object for the DAG run.")
@JSON_OPTION
def run_dag(dag_id: str, name: str | None, conf: str, as_json: bool) -> int:
    """Trigger DAG_ID, follow the run, print its tasks. Exit code 0 only if it succeeded."""
    given = _conf(conf)
    here = connect()
    mwaa = here.client("mwaa")
    found = environments.get(mwaa, environments.the_one(mwaa, name))
    with Stages(err()) as stages:
        result = flight.run_project_dag(here, found, dag_id, given, stages)
        stages.done(f"run {result.run_id} of {result.dag_id}: {result.state}")
    if as_json:
        click.echo(json.dumps(_as_json(result), indent=2, default=str))
    else:
        print_table(out(), table(result))
    return 0 if result.state == "success" else 1


@env.command()
@click.argument("component", type=click.Choice(list(COMPONENTS)), default="scheduler")
@ENV_OPTION
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(1, 100_000), default=100, help="How many lines back; default 100.")
def logs(component: str, name: str | None, follow: bool, lines: int) -> None:
    """Show the log of one component (default: scheduler)."""
    here = connect()
    chosen = environments.the_one(here.client("mwaa"), name)
    show_component(here.client("logs"), chosen, component, lines, follow, click.echo)


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise click.BadParameter(f"{text!r} is not SECTION.KEY=VALUE", param_hint="--option")
    return key, value


def _conf(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--conf") from error
    if not isinstance(found, dict):
        raise click.BadParameter("not a JSON object", param_hint="--conf")
    return found


def _as_json(result: RunResult) -> dict[str, object]:
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
