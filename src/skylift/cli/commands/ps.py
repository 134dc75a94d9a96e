"""``skylift ps``: what runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich import box
from rich.table import Table

from skylift.cli.completion import complete_environment
from skylift.cli.connection import connect
from skylift.cli.parts.looking import running_parts
from skylift.cli.parts.rows import MEBIBYTE, RunningPart
from skylift.cli.terminal import err, out, plain, print_table

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


def _plain(one: RunningPart, now: datetime) -> dict[str, object]:
    times = {name: value.isoformat() if value else None for name, value in (("since", one.since), ("ended", one.ended))}
    return asdict(one) | times | {"age": one.age(now)}
