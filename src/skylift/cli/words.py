"""Words that other tools use for our commands, and the commands that they mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

MEANT = {
    "": {
        "launch": "up",
        "halt": "down",
        "kill": "down",
        "quit": "down",
        "shutdown": "down",
        "top": "ps",
        "tasks": "ps",
        "info": "status",
        "state": "status",
        "ls": "env list",
        "list": "env list",
        "envs": "env list",
        "environments": "env list",
        "show": "env show",
        "get": "env show",
        "describe": "env show",
        "plan": "env plan",
        "create": "env create",
        "new": "init",
        "delete": "env delete",
        "destroy": "env delete",
        "remove": "env delete",
        "rm": "env delete",
        "open": "env open",
        "ui": "env open",
        "browse": "env open",
        "password": "env open",
        "login": "env open",
        "token": "env token",
        "trigger": "run",
        "reload": "restart",
        "history": "runs",
        "backup": "snapshot",
        "copy": "clone",
        "fork": "clone",
        "log": "logs",
        "tail": "logs",
        "ssh": "exec",
        "sh": "exec",
        "bash": "exec",
        "attach": "exec",
        "lint": "check",
        "validate": "check",
        "new-project": "init",
        "local": "cloud",
        "images": "image list",
        "faults": "fault list",
        "policy": "iam-policy",
        "iam": "iam-policy",
        "environ": "shellenv",
    },
    "env": {
        "ls": "list",
        "ps": "list",
        "status": "list",
        "get": "show",
        "describe": "show",
        "info": "show",
        "diff": "plan",
        "new": "create",
        "add": "create",
        "up": "create",
        "rm": "delete",
        "remove": "delete",
        "destroy": "delete",
        "ui": "open",
        "browse": "open",
        "password": "open",
        "login": "open",
        "trigger": "run",
        "log": "logs",
    },
    "fargate": {
        "start": "up",
        "create": "up",
        "deploy": "up",
        "status": "ps",
        "health": "ps",
        "show": "ps",
        "ls": "list",
        "log": "logs",
        "ui": "open",
        "password": "open",
        "stop": "down",
        "delete": "down",
        "destroy": "down",
        "rm": "down",
    },
    "image": {"ls": "list", "rm": "remove", "delete": "remove", "new": "add", "create": "add", "tag": "add"},
    "fault": {"ls": "list", "rm": "clear", "remove": "clear", "delete": "clear", "add": "set", "create": "set"},
}
"""By group: a word that people may try first, and our command for it."""


class Commands(click.Group):
    """A group that suggests the right command for a wrong word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Like click's; ``help`` in place of a command shows the help of what follows."""
        if args[:1] == ["help"] and "help" not in self.commands:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's; a word that is no command is refused, with the command that was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if not args or args[0].startswith("-"):
                raise
            meant = suggestions(_group(ctx), args[0], self.list_commands(ctx))
            raise click.UsageError(f"There is no command {args[0]!r}.{_question(ctx, meant)}", ctx) from error


def suggestions(group: str, said: str, known: Iterable[str]) -> list[str]:
    """Commands of a group that a wrong word may mean, the most likely first.

    Args:
        group: its name; "" for skylift itself.
    """
    meant = MEANT.get(group, {}).get(said.lower())
    close = difflib.get_close_matches(said.lower(), list(known), n=2, cutoff=0.6)
    return [meant] if meant else close


def _group(ctx: click.Context) -> str:
    return " ".join(ctx.command_path.split()[_words_of_root(ctx) :])


def _words_of_root(ctx: click.Context) -> int:
    return len(ctx.find_root().command_path.split())


def _question(ctx: click.Context, meant: list[str]) -> str:
    if not meant:
        return ""
    return " Did you mean: " + " or ".join(f"{ctx.command_path} {one}" for one in meant)
