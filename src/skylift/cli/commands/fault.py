"""``skylift fault``: makes the local cloud fail in the ways that AWS does. Its options come from the table of kinds."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import click

from skylift.aws import signed
from skylift.cli.connection import connect
from skylift.cli.home import REGION
from skylift.cli.words import Commands
from skylift.localcloud.faults.kinds import KINDS, FaultKind

ROUTE = "/_skylift/faults"


@click.group(cls=Commands)
def fault() -> None:
    """Make the local cloud misbehave as AWS does: throttle, delay, cut connections, refuse, forget, reclaim capacity.

    Faults are kept in memory only: a restart of skylift ends them all.
    """


@fault.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_(as_json: bool) -> None:
    """List the faults that are set, and how often each was hit."""
    connect()
    found = faults()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for each in found:
        click.echo(line(each))
    if not found:
        click.echo("no faults are set")


@fault.command()
@click.argument("name", required=False)
def clear(name: str | None) -> None:
    """End the fault NAME, or all faults."""
    connect()
    ended = signed.call("DELETE", f"{ROUTE}/{urllib.parse.quote(name or '', safe='')}", region=REGION)["cleared"]
    click.echo(f"{ended} ended")


@fault.group(name="set", cls=Commands)
def set_() -> None:
    """Set a fault. Each kind has its own --help."""


def faults() -> list[dict[str, Any]]:
    """The faults on the server that this process talks to."""
    return list(signed.call("GET", ROUTE, region=REGION)["faults"])


def line(one: dict[str, Any]) -> str:
    """One fault in one line."""
    values = " ".join(f"{name}={value}" for name, value in one["values"].items())
    return f"{one['name']}: {one['kind']}{' ' if values else ''}{values}, struck {one['hits']} times"


def _command(kind: FaultKind) -> click.Command:
    def run(name: str, **values: str | None) -> None:
        connect()
        chosen = {key: value for key, value in values.items() if value is not None}
        answer = signed.call("POST", ROUTE, {"kind": kind.name, "name": name, "values": chosen}, region=REGION)
        click.echo(f"{answer['hits']} struck" if kind.at_once else line(answer))

    options = [
        click.Option([f"--{parameter.name}"], help=f"{parameter.meaning}{_default(parameter.default)}")
        for parameter in kind.parameters
    ]
    named = [] if kind.at_once else [click.Option(["--name"], help="Its name; one of that name is replaced.")]
    return click.Command(kind.name, callback=_with_name(run), params=[*named, *options], help=kind.meaning)


def _with_name(run: Any) -> Any:
    return lambda name=None, **values: run(name or "", **values)


def _default(value: object) -> str:
    return f" Default {value}." if value not in {"", 0} else ""


for _kind in KINDS.values():
    set_.add_command(_command(_kind))
