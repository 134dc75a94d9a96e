"""``skylift ps``: what runs. ``skylift restart``, ``stop`` and ``start``: the containers of one environment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich import box
from rich.table import Table

from skylift.aws.errors import calling
from skylift.cli import environments
from skylift.cli.completion import PARTS, complete_environment, complete_part
from skylift.cli.connection import connect
from skylift.cli.interrupting import running_work
from skylift.cli.naming import ENV_OPTION, NAME, opened
from skylift.cli.parts.looking import running_parts
from skylift.cli.parts.rows import MEBIBYTE, RunningPart
from skylift.cli.runs.project_run import CLUSTER, start_again, wait_for_airflow
from skylift.cli.terminal import YES_OPTION, Stages, agree, err, goes_on, out, plain, print_table
from skylift.core.errors import Refused, Unavailable

SETTLED = environments.USABLE | {"UNAVAILABLE"}
"""Statuses in which an environment can be restarted, stopped or started."""

RESTART_SECONDS = 1200.0
POLL_SECONDS = 0.5
COLOURS = {"RUNNING": "green", "STOPPED": "dim", "SUCCEEDED": "dim", "FAILED": "red"}


@click.command()
@click.option("--env", "name", default="", shell_complete=complete_environment, help="Only this environment's.")
@click.option("-a", "--all", "ended", is_flag=True, help="Also what has ended: ECS remembers it for an hour.")
@click.option("-n", "--lines", type=click.IntRange(1), default=50, help="With --all: the newest so many; default: 50.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def ps(name: str, ended: bool, lines: int, as_json: bool) -> None:
    """List what runs: the parts of environments, the containers of Airflow tasks, ECS tasks, Batch jobs.

    An id works with skylift logs and skylift exec.

    \b
      skylift ps --all
    """
    found = running_parts(connect(), name, ended=lines if ended else 0)
    now = datetime.now(UTC)
    if as_json:
        click.echo(json.dumps([_plain(one, now) for one in found], indent=2))
    elif found:
        print_table(out(), table(found, now))
    else:
        err().print("Nothing runs.")


def table(rows: Iterable[RunningPart], now: datetime) -> Table:
    """For people."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("environment", "name", "kind", "state", "age", "cpu", "memory", "id", "why"):
        shown.add_column(column, justify="right" if column in {"age", "cpu", "memory"} else "left", no_wrap=True)
    for one in rows:
        shown.add_row(
            one.environment or "-",
            plain(one.name),
            one.kind,
            f"[{COLOURS.get(one.state, 'yellow')}]{one.state}[/]",
            age(one.age(now)),
            "-" if one.cpu is None else f"{one.cpu:.0%}",
            "-" if one.memory is None else f"{one.memory / MEBIBYTE:.0f} MiB",
            one.id,
            plain(" ".join(one.why.split())[:200]),
        )
    return shown


def age(seconds: float | None) -> str:
    """``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@click.command()
@click.argument("part", required=False, type=click.Choice(PARTS), shell_complete=complete_part)
@ENV_OPTION
def restart(part: str | None, name: str | None) -> None:
    """Replace the containers of PART (default: all parts) of an environment by new ones.

    The new containers start beside the old ones, so the UI and the REST API answer all the time. Airflow tasks that
    run in containers of their own are not touched.

    \b
      skylift restart scheduler
    """
    here, found = opened(name, SETTLED)
    mwaa, ecs = here.client("mwaa"), here.client("ecs")
    chosen = found["Name"]
    services = {f"skylift-{chosen}-{one}": one for one in ([part] if part else PARTS)}
    with calling(f"ecs DescribeServices of {chosen}"):
        there = ecs.describe_services(cluster=CLUSTER, services=list(services))["services"]
    active = [one["serviceName"] for one in there if one["status"] == "ACTIVE" and (part or one["desiredCount"])]
    if not active:
        raise Refused(f"The environment {chosen} has no {part or 'part'} that runs.")
    with Stages(err()) as stages, goes_on(f"The restart goes on. See: skylift ps --env {chosen}"):
        for service in active:
            stages.now(f"restarting {services[service]}")
            with calling(f"ecs UpdateService {service}"):
                ecs.update_service(cluster=CLUSTER, service=service, forceNewDeployment=True)
        _wait_settled(ecs, active, stages)
        wait_for_airflow(here, environments.get(mwaa, chosen), stages)
        stages.done(f"{', '.join(services[one] for one in active)} of {chosen} restarted")


@click.command()
@NAME
@YES_OPTION
def stop(name: str | None, yes: bool) -> None:
    """End all containers of the environment NAME (default: this folder's, else the only one).

    Its database and files stay. Start it again with skylift start. Airflow tasks that run have nobody to report to: it
    lists them and asks. It does not ask with --yes, or if standard input is not a terminal. To stop all of skylift:
    skylift down.
    """
    here, found = opened(name, SETTLED)
    if environments.is_stopped(found):
        out().print(f"environment {found['Name']} is stopped already", markup=False)
        return
    if work := running_work(here.client("ecs"), found["Name"]):
        for line in work:
            err().print(f"This fails unless it ends soon: {line}.", markup=False)
        agree(f"Stop environment {found['Name']}?", yes, "Nothing was stopped.")
    with Stages(err()) as stages, goes_on(f"It goes on. See: skylift env events {found['Name']}"):
        environments.stop(here.client("mwaa"), found, stages.now, here.progress)
        stages.done(f"environment {found['Name']} is stopped. To start it: skylift start {found['Name']}")


@click.command()
@NAME
def start(name: str | None) -> None:
    """Start the environment NAME (default: this folder's, else the only one) again, after skylift stop."""
    here, found = opened(name, SETTLED)
    with Stages(err()) as stages, goes_on(f"It goes on. See: skylift env events {found['Name']}"):
        if environments.is_stopped(found):
            found = start_again(here, found, stages)
        wait_for_airflow(here, found, stages)
        stages.done(environments.state_text(found))


def _wait_settled(ecs: Any, services: list[str], stages: Stages) -> None:
    deadline = time.monotonic() + RESTART_SECONDS
    while time.monotonic() < deadline:
        with calling("ecs DescribeServices"):
            found = ecs.describe_services(cluster=CLUSTER, services=services)["services"]
        moving = [
            one["serviceName"]
            for one in found
            if len(one["deployments"]) > 1 or one["runningCount"] != one["desiredCount"]
        ]
        if not moving:
            return
        stages.now(f"waiting for {', '.join(moving)}")
        time.sleep(POLL_SECONDS)
    raise Unavailable(f"The restart has not ended after {RESTART_SECONDS:.0f} s. See: skylift ps --all")


def _plain(one: RunningPart, now: datetime) -> dict[str, object]:
    times = {name: value.isoformat() if value else None for name, value in (("since", one.since), ("ended", one.ended))}
    return asdict(one) | times | {"age": one.age(now)}
