"""``skylift env``: environments, over the MWAA API."""

from __future__ import annotations

import json
import os
import webbrowser
from pathlib import Path
from typing import Any

import click

from skylift.cli import environments
from skylift.cli.commands.env_events import events
from skylift.cli.commands.env_import import import_project
from skylift.cli.commands.env_update import update
from skylift.cli.commands.logs import log_options
from skylift.cli.commands.logs import show as show_logs
from skylift.cli.commands.run import JSON_OPTION, run_dag
from skylift.cli.commands.up import check_disk
from skylift.cli.completion import complete_log
from skylift.cli.connection import Connection, connect
from skylift.cli.hiding import SHOW_SECRETS, hidden
from skylift.cli.interrupting import running_work
from skylift.cli.naming import NAME, chosen, opened
from skylift.cli.projects import buckets
from skylift.cli.projects.applied import of_environment
from skylift.cli.projects.project import open_project, up_line
from skylift.cli.runs import project_run as flight
from skylift.cli.runs.sign_in import WebSignIn
from skylift.cli.settings_file.read import read as read_settings
from skylift.cli.terminal import YES_OPTION, Stages, agree, err, goes_on, out
from skylift.cli.words import Commands
from skylift.core.errors import Refused


@click.group(cls=Commands)
def env() -> None:
    """List, show, create, update, delete and use environments."""


@env.command("list")
@JSON_OPTION
def list_all(as_json: bool) -> None:
    """List environments with their state and address."""
    here = connect()
    mwaa = here.client("mwaa")
    found = [one for name in environments.names(mwaa) if (one := environments.find(mwaa, name))]
    pending = [of_environment(here, one) for one in found]
    if as_json:
        rows = [
            {
                "name": one["Name"],
                "status": one["Status"],
                "condition": here.condition(one),
                "replaced": here.replaced(one["Name"]),
                "url": environments.web_url(one),
                "not_applied": files,
            }
            for one, (files, _) in zip(found, pending, strict=True)
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for one, (_, notice) in zip(found, pending, strict=True):
        click.echo(f"{one['Name']}  {here.status(one)}  {environments.web_url(one) or '-'}")
        for line in here.replaced(one["Name"]):
            out().print(f"  ! {line}", markup=False)
        if notice:
            out().print(f"  ! {notice}", markup=False)
    if not found:
        err().print(f"No environments. To make one: {up_line()}", markup=False)


@env.command()
@NAME
@JSON_OPTION
@SHOW_SECRETS
def show(name: str | None, as_json: bool, show_secrets: bool) -> None:
    """Show one environment as GetEnvironment gives it, with *** for values that look like secrets."""
    here, found = opened(name)
    shown = found if show_secrets else hidden(found)
    if as_json:
        click.echo(json.dumps(shown, indent=2, default=str))
    else:
        for member, value in shown.items():
            text = json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)
            click.echo(f"{member:<28} {text}")
        for line in [*filter(None, [here.condition(found)]), *here.replaced(found["Name"])]:
            out().print(f"! {line}", markup=False)
    if shown != found:
        err().print("*** replaces values that look like secrets; --show-secrets shows them.", markup=False)


@env.command()
@NAME
@JSON_OPTION
def plan(name: str | None, as_json: bool) -> None:
    """Print what the control plane would do next for an environment. Changes nothing."""
    here, known = opened(name)
    found = here.plan(known["Name"])
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for step in found["steps"]:
        click.echo(f"{step['verb']:<7} {step['part']:<24} {step['why']}")
    if not found["steps"]:
        under_way = found["status"] not in {*environments.USABLE, "CREATE_FAILED"}
        condition = found.get("condition") or (here.progress(found["name"]) if under_way else "")
        waits = f" ({condition}): nothing to do but wait" if condition else ": nothing to do"
        click.echo(f"{found['name']} is {found['status']}{waits}")


@env.command()
@click.argument("name")
@click.argument("folder", metavar="PROJECT", type=click.Path(path_type=Path))
@click.option(
    "--option", "options", multiple=True, metavar="SECTION.KEY=VALUE", help="An Airflow option. May be repeated."
)
def create(name: str, folder: Path, options: tuple[str, ...]) -> None:
    """Create the environment NAME from a project folder. Skylift must be running, and NAME must be new."""
    wanted = dict(_option(text) for text in options)
    project = open_project(folder, name)
    settings = read_settings(project.folder, os.environ)
    here = connect()
    environments.refuse_existing(here.client("mwaa"), project)
    check_disk(here.home)
    with Stages(err()) as stages:
        landed = flight.bring_up(here, project, flight.UpChoices(wanted, settings=settings), stages)
    flight.print_addresses(out(), here, landed.environment)
    flight.print_outdated(out(), project, landed.outdated)


@env.command()
@click.argument("name")
@YES_OPTION
def delete(name: str, yes: bool) -> None:
    """Delete an environment with its database. Its bucket and its project folder stay.

    It asks first, but not with --yes, or if standard input is not a terminal.
    """
    here = connect()
    found = environments.get(here.client("mwaa"), name)
    if found["Status"] != "DELETING":
        _agree_to_delete(here, name, yes)
    with (
        Stages(err()) as stages,
        goes_on(f"Environment {name} is still being deleted in the background. See: skylift env list"),
    ):
        environments.ask_to_delete(here.client("mwaa"), name, here.cancel)
        buckets.forget(here.home, name)
        environments.wait_gone(here.client("mwaa"), name, stages.now)
        stages.done(f"environment {name} is deleted; its bucket and files stay")


def _agree_to_delete(here: Connection, name: str, yes: bool) -> None:
    work = running_work(here.client("ecs"), name)
    for line in work:
        err().print(f"This ends {line}.", markup=False)
    question = f"Delete environment {name} with its database (run history, variables, connections)?"
    agree(question, yes, "Nothing was deleted.")


@env.command("open")
@NAME
@click.option("--print", "only_print", is_flag=True, help="Print the link, and start no browser.")
def open_ui(name: str | None, only_print: bool) -> None:
    """Open Airflow's UI in a browser, signed in.

    The link works once, within 60 seconds. The role is what the AWS credentials' policies allow.
    """
    here, found = opened(name)
    if not environments.web_url(found):
        raise Refused(f"The environment {found['Name']} is {found['Status']}: it has no web server yet.")
    link = WebSignIn(here.client("mwaa"), found["Name"]).link()
    if only_print:
        click.echo(link)
    elif webbrowser.open(link):
        out().print(environments.web_url(found))
    else:
        err().print("Could not start a browser here. Open this link yourself, once, within 60 seconds:")
        click.echo(link)


@env.command()
@NAME
def token(name: str | None) -> None:
    """Print a token for Airflow's REST API, valid for 12 hours. The only command that prints a secret.

    Use it as "Authorization: Bearer TOKEN".
    """
    mwaa = connect().client("mwaa")
    click.echo(WebSignIn(mwaa, chosen(mwaa, name)).session())


@env.command()
@click.argument("component", metavar="[WHAT]", required=False, shell_complete=complete_log)
@log_options
def logs(component: str | None, **how: Any) -> None:
    """Show logs: as skylift logs does, but by default of the scheduler."""
    show_logs(component or ("task" if how["dag"] else "scheduler"), **how)


env.add_command(run_dag, "run")
env.add_command(import_project)
env.add_command(update)
env.add_command(events)


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        shown = f"{key}=…" if equals else key  # never the value: it may be a password
        raise click.BadParameter(f"{shown!r} is not SECTION.KEY=VALUE", param_hint="--option")
    return key, value
