"""``skylift status``: is it running, where, and with which environments."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from skylift.cli import environments
from skylift.cli.called import as_typed
from skylift.cli.commands.fault import faults, line
from skylift.cli.connection import Connection, connection
from skylift.cli.home import find_home
from skylift.cli.kept import kept
from skylift.cli.lock import holder
from skylift.cli.projects.applied import of_environment
from skylift.cli.projects.buckets import followed
from skylift.cli.projects.project import up_line
from skylift.cli.serving.others import others_of
from skylift.cli.serving.server import running
from skylift.cli.terminal import out
from skylift.core.errors import SkyliftError
from skylift.localcloud.behind.setting import STAYS


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> int:
    """Show whether skylift runs, where, and its environments. Exit code 1 if it does not run."""
    home = find_home(os.environ)
    server = running(home)
    if server is None:
        shown: dict[str, Any] = {"running": False, "home": str(home.folder)}
        if (pid := holder(home)) is not None:
            shown["pid"] = pid
    else:
        shown = _describe(connection(home, server))
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        _print(shown)
    return 0 if shown["running"] else 1


def _describe(here: Connection) -> dict[str, Any]:
    state = kept()
    try:
        found = [] if here.server.alone else _environments(here)
    except SkyliftError:
        if not state.damaged:
            raise
        found = []  # because of the damage, which is shown
    behind = others_of(here.home)
    return {
        "running": True,
        "home": str(here.home.folder),
        "pid": here.server.pid,
        "endpoint": here.server.endpoint,
        "version": here.server.version,
        "environments": found,
        "faults": faults(),
        "damaged": list(state.damaged),
        "forgetful": list(state.forgetful),
        "others": {"url": behind.url, "served_here": list(STAYS)} if behind else None,
    }


def _environments(here: Connection) -> list[dict[str, Any]]:
    mwaa = here.client("mwaa")
    projects = followed(here.home)
    found = []
    for name in environments.names(mwaa):
        one = environments.find(mwaa, name)
        if one is not None:
            project = projects.get(name)
            files, notice = of_environment(here, one)
            found.append(
                {
                    "name": name,
                    "status": one["Status"],
                    "condition": here.condition(one),
                    "replaced": here.replaced(name),
                    "url": environments.web_url(one),
                    "project": str(project.project.folder) if project else "",
                    "not_applied": files,
                    "notice": as_typed(notice),
                    "last_update": environments.last_failure(one),
                }
            )
    return found


def _print(shown: dict[str, Any]) -> None:
    console = out()
    if "pid" in shown and not shown["running"]:
        text = "is starting or stopping just now, or does not answer"
        console.print(f"skylift {text} (home {shown['home']}, pid {shown['pid']})", markup=False)
        return
    if not shown["running"]:
        console.print(f"skylift does not run (home {shown['home']}). Start it with: skylift up", markup=False)
        return
    console.print(f"skylift {shown['version']} runs at {shown['endpoint']} (pid {shown['pid']})", markup=False)
    console.print(f"home {shown['home']}", markup=False)
    if shown["others"]:
        stays = ", ".join(shown["others"]["served_here"])
        console.print(f"forwarded to {shown['others']['url']}: every service except {stays}", markup=False)
    for one in shown["environments"]:
        project = f", project {one['project']}" if one["project"] else ""
        condition = f" ({one['condition']})" if one["condition"] else ""
        console.print(
            f"environment {one['name']}: {one['status']}{condition}, {one['url'] or 'no address yet'}{project}",
            markup=False,
        )
        for text in one["replaced"]:
            console.print(f"  ! {text}", markup=False)
        if one["last_update"]:
            console.print(f"  ! {one['last_update']}", markup=False)
        if one["notice"]:
            console.print(f"  ! {one['notice']}", markup=False)
    for one in shown["faults"]:
        console.print(f"fault {line(one)}", markup=False)
    for one in shown["damaged"]:
        console.print(f"DAMAGED {one}", markup=False)
    if shown["forgetful"] and not shown["others"]:  # these are forwarded
        names = ", ".join(shown["forgetful"])
        console.print(f"These services keep nothing over a restart: {names}", markup=False)
    if not shown["environments"] and not shown["damaged"]:
        console.print(f"no environments; make one with: {up_line()}", markup=False)
