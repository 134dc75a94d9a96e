"""``skylift env events``: what happened to an environment, why, and how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click
from rich.console import Console

from skylift.cli.connection import Connection, connect
from skylift.cli.naming import NAME
from skylift.cli.naming import chosen as environment_of
from skylift.cli.terminal import out, plain, seconds

LOOK_SECONDS = 0.5
GOOD, BAD = frozenset({"AVAILABLE", "DELETED"}), frozenset({"CREATE_FAILED", "ROLLING_BACK", "UNAVAILABLE"})


@click.command("events")
@NAME
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
def events(name: str | None, follow: bool, as_json: bool) -> None:
    """Show what happened to an environment, oldest first. The last 1,000 events are kept, after its deletion too."""
    here = connect()
    chosen = environment_of(here.client("mwaa"), name)
    for event in happened(here, chosen, follow):
        if as_json:
            click.echo(json.dumps(event))
        else:
            print_event(out(), event)


def happened(here: Connection, name: str, follow: bool, after: int = 0) -> Iterator[dict[str, Any]]:
    """Events after one that is known; with ``follow`` those that are yet to come, without an end."""
    while True:
        for event in here.events(name):
            if event["id"] > after:
                after = event["id"]
                yield event
        if not follow:
            return
        time.sleep(LOOK_SECONDS)


def print_event(console: Console, event: dict[str, Any]) -> None:
    """One event: local time, status, text, how long it took."""
    at = datetime.fromisoformat(event["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    took = f" ({seconds(event['seconds'])})" if event["seconds"] is not None else ""
    colour = "green" if event["status"] in GOOD else "red" if event["status"] in BAD else "yellow"
    first, *more = event["text"].splitlines() or [""]
    console.print(f"{at}  [{colour}]{event['status']:<14}[/] {plain(first)}{took}", highlight=False)
    for line in more:
        console.print(f"{'':<37}{plain(line)}", highlight=False)
