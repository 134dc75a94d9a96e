"""``skylift restart``, ``stop`` and ``start``: the containers of one environment."""

from __future__ import annotations

import time
from typing import Any

import click

from skylift.aws.errors import calling
from skylift.cli import environments
from skylift.cli.completion import PARTS, complete_part
from skylift.cli.interrupting import running_work
from skylift.cli.naming import ENV_OPTION, NAME, opened
from skylift.cli.runs.project_run import CLUSTER, start_again, wait_for_airflow
from skylift.cli.terminal import YES_OPTION, Stages, agree, err, goes_on, out
from skylift.core.errors import Refused, Unavailable

SETTLED = environments.USABLE | {"UNAVAILABLE"}
"""Statuses in which an environment can be restarted, stopped or started."""

RESTART_SECONDS = 1200.0
POLL_SECONDS = 0.5


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
