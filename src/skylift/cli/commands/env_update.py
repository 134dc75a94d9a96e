"""``skylift env update``: show what a change does, ask, do it, follow it."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console

from skylift.cli import environments
from skylift.cli.connection import Connection
from skylift.cli.naming import NAME, opened
from skylift.cli.projects import buckets
from skylift.cli.projects.applied import files_request
from skylift.cli.terminal import YES_OPTION, Stages, agree, err, goes_on, out, plain
from skylift.core.errors import Refused
from skylift.core.names import LOG_MODULES

LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
COUNTS = {
    "min_workers": "MinWorkers",
    "max_workers": "MaxWorkers",
    "min_webservers": "MinWebservers",
    "max_webservers": "MaxWebservers",
    "schedulers": "Schedulers",
}
TEXTS = {
    "environment_class": "EnvironmentClass",
    "dags": "DagS3Path",
    "role": "ExecutionRoleArn",
    "maintenance_window": "WeeklyMaintenanceWindowStart",
    "access_mode": "WebserverAccessMode",
    "replacement": "WorkerReplacementStrategy",
}
FILES = {"requirements": "Requirements", "plugins": "Plugins", "startup_script": "StartupScript"}


@click.command("update")
@NAME
@click.option("--plan", "only_plan", is_flag=True, help="Print what would be done, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON. It does not ask.")
@click.option(
    "--option", "options", multiple=True, metavar="SECTION.KEY=VALUE", help="Set an Airflow option. Repeatable."
)
@click.option("--unset", "unset", multiple=True, metavar="SECTION.KEY", help="Remove an Airflow option. Repeatable.")
@click.option("--requirements", metavar="KEY[@VERSION]", help='requirements.txt in the bucket; "" removes it.')
@click.option("--plugins", metavar="KEY[@VERSION]", help='plugins.zip in the bucket; "" removes it.')
@click.option("--startup-script", metavar="KEY[@VERSION]", help='startup.sh in the bucket; "" removes it.')
@click.option("--class", "environment_class", metavar="CLASS", help="For example mw1.medium.")
@click.option("--min-workers", type=click.IntRange(1), help="Least number of workers.")
@click.option("--max-workers", type=click.IntRange(1), help="Greatest number of workers.")
@click.option("--min-webservers", type=click.IntRange(1), help="Least number of web servers.")
@click.option("--max-webservers", type=click.IntRange(1), help="Greatest number of web servers.")
@click.option("--schedulers", type=click.IntRange(1, 5), help="Number of schedulers.")
@click.option(
    "--log", "logs", multiple=True, metavar="MODULE=LEVEL", help="For example scheduler=DEBUG, or worker=off."
)
@click.option("--dags", metavar="PATH", help="Folder of the DAGs in the bucket.")
@click.option("--role", metavar="ARN", help="Execution role.")
@click.option(
    "--security-group", "groups", multiple=True, metavar="ID", help="Security groups, all of them. Repeatable."
)
@click.option("--access-mode", metavar="MODE", help="PRIVATE_ONLY, PUBLIC_ONLY or PUBLIC_AND_PRIVATE.")
@click.option("--maintenance-window", metavar="DAY:HH:MM", help="Start of the weekly window in UTC, e.g. SUN:02:00.")
@click.option("--replacement", type=click.Choice(["FORCED", "GRACEFUL"]), help="How workers are replaced.")
@YES_OPTION
def update(name: str | None, only_plan: bool, as_json: bool, yes: bool, **given: Any) -> None:
    """Change an environment. Without options: apply files that were saved but are not applied.

    It prints the plan first and asks, but not with --yes, or where standard input is no terminal. The environment
    serves while it is updated. If the update fails, it goes on as it was, and the exit code is 1.
    """
    here, found = opened(name)
    chosen = found["Name"]
    if found["Status"] in environments.CHANGING:  # a plan made of what is half done would not be true
        raise Refused(
            f"Environment {chosen} is {found['Status']}: wait for its end (skylift env events {chosen} -f), then try "
            "again. Nothing was changed."
        )
    request = request_of(found, given) or _files(here, found)
    plan = here.plan_update(chosen, request) if request else {}
    if as_json:
        click.echo(json.dumps(plan, indent=2))
    else:
        print_plan(out() if only_plan else err(), chosen, plan)
    if only_plan or not plan or not plan["changes"]:
        return
    if not as_json:
        agree(f"Update environment {chosen}?", yes, "Nothing was changed.")
    with Stages(err()) as stages:
        apply(here, chosen, request, stages)


def apply(here: Connection, name: str, request: dict[str, Any], stages: Stages) -> None:
    """Asks for the update and follows it to its end.

    Raises:
        Refused: it was refused, or it failed; the environment goes on as it was.
    """
    with goes_on(f"The update of {name} goes on. See: skylift env events {name}"):
        environments.update(here.client("mwaa"), name, request, stages.now, here.progress)
    stages.done(f"environment {name} is updated")


def request_of(found: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """UpdateEnvironment's request, without the name, from what was typed; {} when nothing was.

    Raises:
        click.BadParameter: a value cannot be read.
    """
    request = {member: given[name] for name, member in (COUNTS | TEXTS).items() if given.get(name) is not None}
    for name, what in FILES.items():
        if (text := given.get(name)) is not None:
            key, _, version = text.partition("@")
            request[f"{what}S3Path"] = key
            if version:
                request[f"{what}S3ObjectVersion"] = version
    if given["options"] or given["unset"]:
        request["AirflowConfigurationOptions"] = _options(found, given["options"], given["unset"])
    if given["logs"]:
        request["LoggingConfiguration"] = dict(_module(found, text) for text in given["logs"])
    if given["groups"]:
        request["NetworkConfiguration"] = {"SecurityGroupIds": list(given["groups"])}
    return request


def print_plan(console: Console, name: str, plan: dict[str, Any]) -> None:
    """The plan for people: what changes, what is done in which order and why, what is left alone."""
    if not plan or not plan["changes"]:
        console.print(f"{name}: nothing to change", markup=False)
        return
    console.print(f"[bold]Environment {plain(name)}[/]")
    for change in plan["changes"]:
        console.print(f"  {change['member']}: {change['before']} → {change['after']}", markup=False)
    for number, step in enumerate(plan["steps"], 1):
        what = f"{step['effect']} {step['part'].partition('/')[2] or step['part']}"
        console.print(f"  {number}. {what:<24} {step['what']}", markup=False)
        console.print(f"     because of {', '.join(step['why'])}", style="dim", markup=False)
    restarts = ", ".join(plan["restarts"])
    console.print(f"  Restarts: {restarts or 'nothing'}. Airflow tasks that run are not touched.", markup=False)
    for note in plan["notes"]:
        console.print(f"[yellow]  ! {plain(note)}[/]")


def _files(here: Connection, found: dict[str, Any]) -> dict[str, Any]:
    one = buckets.followed(here.home).get(found["Name"])
    return files_request(here.client("s3"), one.project, found) if one else {}


def _options(found: dict[str, Any], given: tuple[str, ...], unset: tuple[str, ...]) -> dict[str, str]:
    options = dict(found.get("AirflowConfigurationOptions", {}))
    for key in unset:
        if options.pop(key, None) is None:
            known = ", ".join(sorted(options)) or "none"
            raise click.BadParameter(f"{key} is not set. Set are: {known}.", param_hint="--unset")
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            shown = f"{key}=…" if equals else key  # never the value: it may be a password
            raise click.BadParameter(f"{shown!r} is not SECTION.KEY=VALUE", param_hint="--option")
        options[key] = value
    return options


def _module(found: dict[str, Any], text: str) -> tuple[str, dict[str, Any]]:
    words = {one.removesuffix("Logs").lower().replace("processing", "-processing"): one for one in LOG_MODULES}
    word, _, level = text.partition("=")
    if word not in words or (level.upper() not in LEVELS and level.lower() != "off"):
        raise click.BadParameter(
            f"{text!r} is not MODULE=LEVEL. Modules: {', '.join(words)}; levels: {', '.join(LEVELS)}, or off.",
            param_hint="--log",
        )
    module = words[word]
    now = found["LoggingConfiguration"][module]["LogLevel"]
    off = level.lower() == "off"
    return module, {"Enabled": not off, "LogLevel": now if off else level.upper()}
