"""How a command is told its environment, and what it does without: one option, one argument, one order.

The order is that of ``environments.the_one``: what was typed, the project of the working folder, the only environment.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import click

from skylift.cli import environments
from skylift.cli.completion import complete_environment
from skylift.cli.connection import Connection, connect
from skylift.core.errors import Refused

ENV_OPTION = click.option(
    "--env", "name", shell_complete=complete_environment, help="Environment; default: this folder's, else the only one."
)
NAME = click.argument("name", required=False, shell_complete=complete_environment)
ANY_STATUS: Collection[str] = ()


def chosen(mwaa: Any, name: str | None) -> str:
    """The name of the environment that the running command is for. Raises ``Refused`` if it is not clear which."""
    context = click.get_current_context()
    is_option = any(isinstance(one, click.Option) and one.name == "name" for one in context.command.params)
    return environments.the_one(mwaa, name, "--env {}" if is_option else f"{context.command_path} {{}}")


def opened(name: str | None, statuses: Collection[str] = ANY_STATUS) -> tuple[Connection, dict[str, Any]]:
    """The connection, and the environment that the running command is for, as from GetEnvironment.

    Args:
        statuses: those in which the command can do its work; empty: all.

    Raises:
        Refused: skylift does not run, it is not clear which environment, or it has another status.
    """
    here = connect()
    mwaa = here.client("mwaa")
    found = environments.get(mwaa, chosen(mwaa, name))
    if statuses and found["Status"] not in statuses:
        raise Refused(f"The environment {found['Name']} is {found['Status']}. Try again when that has ended.")
    return here, found
