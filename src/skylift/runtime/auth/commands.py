"""Airflow's command line over HTTP: which commands are allowed, and how one runs.

The list is MWAA's for Airflow 3. What is not on it could read secrets, or change what the control plane decides.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from skylift.core.errors import Refused

ALLOWED: dict[str, frozenset[str]] = {
    "assets": frozenset({"details", "list", "materialize"}),
    "backfill": frozenset({"create"}),
    "cheat-sheet": frozenset(),
    "connections": frozenset({"add", "delete"}),
    "dags": frozenset(
        {"delete", "list", "list-import-errors", "list-jobs", "list-runs", "next-execution", "pause", "report"}
        | {"reserialize", "show", "state", "test", "trigger", "unpause"}
    ),
    "db": frozenset({"clean"}),
    "providers": frozenset(
        {"behaviours", "get", "hooks", "links", "list", "notifications", "secrets", "triggerer", "widgets"}
    ),
    "roles": frozenset({"add-perms", "create", "del-perms", "list"}),
    "tasks": frozenset({"clear", "failed-deps", "list", "render", "state", "states-for-dag-run", "test"}),
    "variables": frozenset({"delete", "get", "list", "set"}),
    "version": frozenset(),
}
"""Command -> its subcommands; none: it has none."""

AT_ONCE = 4
"""Commands that run at the same time; more wait. Each is an Airflow of its own: 250 MB."""

MOST_SECONDS = 600.0

NO_ROLES = (
    "airflow roles belongs to the FAB auth manager, which this environment does not use. Roles come from IAM here: "
    "allow airflow:CreateWebLoginToken on arn:aws:airflow:REGION:ACCOUNT:role/ENVIRONMENT/ROLE "
    "with the role Admin, Op, User, Viewer or Public."
)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def words_of(text: str, fab: bool) -> tuple[str, ...]:
    """The words of a command, without ``airflow`` before them.

    Args:
        fab: whether the environment uses the FAB auth manager.

    Raises:
        Refused: it is not allowed, or not a command.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Refused(f"The command cannot be read: {error}.") from error
    if not words:
        raise Refused("There is no command. Send one without the word airflow, for example: dags list")
    command, rest = words[0], words[1:]
    if command not in ALLOWED:
        raise Refused(f"The command {command!r} is not supported. Supported: {', '.join(sorted(ALLOWED))}.")
    allowed = ALLOWED[command]
    if allowed and (not rest or rest[0] not in allowed):
        raise Refused(f"{' '.join(words[:2])!r} is not supported. Supported: {command} {', '.join(sorted(allowed))}.")
    if command == "roles" and not fab:
        raise Refused(NO_ROLES)
    return tuple(words)


class CommandRunner:
    """Runs Airflow's commands, a few at once, each in a process of its own."""

    def __init__(self, program: Sequence[str] = (sys.executable, "-m", "airflow")) -> None:
        self._program = tuple(program)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self, words: Sequence[str], seconds: float = MOST_SECONDS) -> Done:
        """Runs a command to its end; one that takes too long is killed."""
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Python's warnings would be among what a program reads from stdout.
                env={**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"},
            )
            try:
                stdout, stderr = await asyncio.wait_for(process.communicate(), seconds)
            except TimeoutError:
                return Done(1, b"", f"The command took longer than {seconds:.0f} s and was ended.\n".encode())
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return Done(process.returncode or 0, stdout, stderr)
