"""``skylift connections`` and ``skylift variables``: what is in an environment's Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from skylift.cli.commands.run import JSON_OPTION
from skylift.cli.connection import Connection
from skylift.cli.naming import ENV_OPTION, opened
from skylift.cli.runs.airflow_objects import AirflowObjects, connection_from, connection_of
from skylift.cli.terminal import YES_OPTION, agree, err, out, plain, print_table
from skylift.cli.words import Commands
from skylift.control.settings import VARIABLES, option_of
from skylift.core.errors import Refused, Unavailable
from skylift.core.secrecy import hide, hide_in
from skylift.localcloud.state_file import write_file

OF_FILE = "skylift.toml or .env"
DATABASE = "Airflow's database"


@click.group(cls=Commands)
def connections() -> None:
    """List, set, delete, export and import Airflow's connections.

    Connections of skylift.toml and .env are listed, too. Airflow uses these first, and its UI does not show them.
    """


@click.group(cls=Commands)
def variables() -> None:
    """List, set, delete, export and import Airflow's variables.

    Variables of skylift.toml and .env are listed, too. Airflow uses these first, and its UI does not show them.
    """


@connections.command("list")
@ENV_OPTION
@JSON_OPTION
def list_connections(name: str | None, as_json: bool) -> None:
    """List connections, without passwords."""
    here, found = opened(name)
    rows = [
        {
            "id": one,
            **{key: item.get(key) for key in ("conn_type", "host", "port", "login", "schema")},
            "from": DATABASE,
        }
        for one, item in sorted(_objects(here, found).connections().items())
    ]
    rows += [{"id": one, "from": OF_FILE} for one in _of_file(found, "AIRFLOW_CONN_")]
    _print(rows, as_json, ("id", "conn_type", "host", "port", "login", "schema", "from"))


@connections.command("set")
@click.argument("connection_id")
@click.argument("value", required=False)
@ENV_OPTION
def set_connection(connection_id: str, value: str | None, name: str | None) -> None:
    """Make or replace a connection. VALUE is a URI or JSON, as Airflow has them; default: standard input.

    A value in the command line can be seen by others of this machine, and stays in the shell's history.

    \b
      skylift connections set warehouse < warehouse.json
    """
    members = connection_of(connection_id, _value(value, f"URI or JSON of {connection_id}"))
    here, found = opened(name)
    _warn(found, f"AIRFLOW_CONN_{connection_id.upper()}")
    objects = _objects(here, found)
    objects.set_connection(connection_id, members, new=connection_id not in objects.connections())


@connections.command("delete")
@click.argument("connection_id")
@ENV_OPTION
@YES_OPTION
def delete_connection(connection_id: str, name: str | None, yes: bool) -> None:
    """Delete a connection from Airflow's database."""
    _delete("connection", connection_id, name, yes, AirflowObjects.delete_connection)


@connections.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@ENV_OPTION
def export_connections(file: Path, name: str | None) -> None:
    """Write all connections of Airflow's database, with their passwords, into FILE as JSON.

    Only you can read the file. Those of skylift.toml and .env are not in it.
    """
    _export(name, file, ["connections", "export", "--file-format", "json"])


@connections.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--overwrite", is_flag=True, help="Replace connections that are there already.")
@ENV_OPTION
def import_connections(file: Path, overwrite: bool, name: str | None) -> None:
    """Make the connections of FILE: JSON as of export, or of Airflow's own command."""
    wanted = {key: connection_from(key, value) for key, value in _read(file).items()}
    here, found = opened(name)
    objects = _objects(here, found)
    there = objects.connections()
    _import(
        "connection",
        wanted,
        there,
        overwrite,
        lambda key: objects.set_connection(key, wanted[key], new=key not in there),
    )


@variables.command("list")
@ENV_OPTION
@JSON_OPTION
def list_variables(name: str | None, as_json: bool) -> None:
    """List variables, with *** for values that look like secrets."""
    here, found = opened(name)
    rows = [
        {"key": one, "value": hide(one, str(item.get("value") or "")), "from": DATABASE}
        for one, item in sorted(_objects(here, found).variables().items())
    ]
    rows += [{"key": one, "value": "***", "from": OF_FILE} for one in _of_file(found, "AIRFLOW_VAR_")]
    _print(rows, as_json, ("key", "value", "from"))


@variables.command("set")
@click.argument("key")
@click.argument("value", required=False)
@click.option("--description", help="For people.")
@ENV_OPTION
def set_variable(key: str, value: str | None, description: str | None, name: str | None) -> None:
    """Make or change a variable. VALUE's default is standard input.

    \b
      skylift variables set sales_bucket sales
    """
    given = _value(value, f"value of {key}")
    here, found = opened(name)
    _warn(found, f"AIRFLOW_VAR_{key.upper()}")
    objects = _objects(here, found)
    objects.set_variable(key, given, description, new=key not in objects.variables())


@variables.command("delete")
@click.argument("key")
@ENV_OPTION
@YES_OPTION
def delete_variable(key: str, name: str | None, yes: bool) -> None:
    """Delete a variable from Airflow's database."""
    _delete("variable", key, name, yes, AirflowObjects.delete_variable)


@variables.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@ENV_OPTION
def export_variables(file: Path, name: str | None) -> None:
    """Write all variables of Airflow's database into FILE as JSON. Only you can read the file."""
    _export(name, file, ["variables", "export"])


@variables.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--overwrite", is_flag=True, help="Replace variables that are there already.")
@ENV_OPTION
def import_variables(file: Path, overwrite: bool, name: str | None) -> None:
    """Make the variables of FILE: a JSON object, as of export, or of Airflow's own command."""
    wanted = _read(file)
    here, found = opened(name)
    objects = _objects(here, found)
    there = objects.variables()

    def put(key: str) -> None:
        one = wanted[key]
        described = isinstance(one, dict) and set(one) <= {"value", "description"} and "value" in one
        value, text = (one["value"], one.get("description")) if described else (one, None)
        objects.set_variable(key, value if isinstance(value, str) else json.dumps(value), text, new=key not in there)

    _import("variable", wanted, there, overwrite, put)


def _objects(here: Connection, found: dict[str, Any]) -> AirflowObjects:
    return AirflowObjects(here.airflow(found))


def _of_file(found: Mapping[str, Any], prefix: str) -> list[str]:
    names = option_of(VARIABLES, found.get("AirflowConfigurationOptions") or {})
    return sorted(one.removeprefix(prefix).lower() for one in names if one.startswith(prefix))


def _warn(found: Mapping[str, Any], variable: str) -> None:
    if variable in option_of(VARIABLES, found.get("AirflowConfigurationOptions") or {}):
        err().print(f"[yellow]![/] {OF_FILE} has it, too: Airflow uses that one.")


def _value(given: str | None, what: str) -> str:
    if given is not None:
        return given
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    return sys.stdin.read().removesuffix("\n")


def _print(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in columns:
        shown.add_column(column, no_wrap=True)
    for row in rows:
        shown.add_row(*(plain(hide_in(str(row.get(column)))) if row.get(column) else "-" for column in columns))
    if rows:
        print_table(out(), shown)
    else:
        err().print("There are none.")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise Refused(f"{file} cannot be read as JSON ({type(error).__name__}).") from error
    if not isinstance(found, dict):
        raise Refused(f"{file} must have one JSON object, by name.")
    return found


def _delete(what: str, key: str, name: str | None, yes: bool, delete: Callable[[AirflowObjects, str], None]) -> None:
    here, found = opened(name)
    agree(f"Delete the {what} {key} of {found['Name']}?", yes, "Nothing was deleted.")
    delete(_objects(here, found), key)


def _import(
    what: str, wanted: Mapping[str, Any], there: Mapping[str, Any], overwrite: bool, put: Callable[[str], None]
) -> None:
    for key in wanted:
        if key in there and not overwrite:
            err().print(f"{what} {key} is there already, and stays (--overwrite replaces it)", markup=False)
        else:
            put(key)
            out().print(f"{what} {key} {'replaced' if key in there else 'made'}", markup=False)


def _export(name: str | None, file: Path, words: list[str]) -> None:
    """By Airflow's own command in the scheduler's container: its REST API hides passwords."""
    _, found = opened(name)
    inside = 'f=$(mktemp) && airflow "$@" "$f" >&2 && cat "$f"; code=$?; rm -f "$f"; exit $code'
    command = [sys.executable, "-m", "skylift.cli", "exec", found["Name"], "--", "/bin/sh", "-c", inside, "sh", *words]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    try:
        whole = json.loads(done.stdout)
    except ValueError as error:
        last = hide_in(" ".join(done.stderr.decode(errors="replace").split())[-300:])
        raise Unavailable(
            f"Airflow's export in the scheduler's container failed (exit code {done.returncode}): {last}. Try again "
            f"when it runs: skylift ps --env {found['Name']}"
        ) from error
    write_file(file.absolute(), (json.dumps(whole, indent=2) + "\n").encode())
    out().print(f"{len(whole)} written to {file}, which only you can read", markup=False)
