"""Finds out how skylift was called, so that the commands in its messages can be typed as printed.

Texts in the code, in all layers, write a command as ``skylift up``. Everything printed for people goes through
``as_typed``, which replaces ``skylift`` with words that start this very program: ``skylift`` if the shell's PATH leads
to it, otherwise the path by which it was started, otherwise the path of the script next to this Python.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

COMMANDS = (
    "check",
    "clone",
    "cloud",
    "connections",
    "doctor",
    "down",
    "env",
    "exec",
    "executors",
    "fargate",
    "fault",
    "iam-policy",
    "image",
    "init",
    "logs",
    "ps",
    "restart",
    "restore",
    "run",
    "runs",
    "serve",
    "shell",
    "shellenv",
    "snapshot",
    "snapshots",
    "start",
    "status",
    "stop",
    "test",
    "toml",
    "up",
    "variables",
)
"""The words after which ``skylift`` is a command and not the product's name. A test compares them with the command
line."""

_A_VERB = r"runs(?=\s*$|[.,;:]|\s+(?:already|on|here|at|in)\b)"
"""In "skylift runs already", the word is no command."""

_COMMAND = re.compile(rf"(?<![\w./=-])skylift(?=\s+(?!{_A_VERB})(?:{'|'.join(COMMANDS)})\b)")


def word(program: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """What to type for ``skylift``, quoted for a shell.

    Args:
        program: how it was started; default this process's own first argument.
        environ: the shell's.
    """
    started = sys.argv[0] if program is None else program
    script = started if Path(started).name == "skylift" else str(Path(sys.executable).with_name("skylift"))
    found = shutil.which("skylift", path=environ.get("PATH", os.defpath))
    if found is not None and _same(Path(found), Path(script)):
        return "skylift"
    if Path(script).exists():
        return shlex.quote(script if "/" in script else f"./{script}")
    return f"{shlex.quote(sys.executable)} -m skylift.cli"


def as_typed(text: str, program: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The text with each of our commands as it can be typed here. Applying it twice changes nothing more."""
    return _COMMAND.sub(lambda _: word(program, environ), text) if "skylift" in text else text


def activation(program: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The line after which a shell finds ``skylift`` by itself; empty if it does already, or if there is no such
    line."""
    shown = word(program, environ)
    if shown == "skylift":
        return ""
    shell = Path(environ.get("SHELL", "")).name
    script = Path(shlex.split(shown)[0]).with_name(
        {"fish": "activate.fish", "csh": "activate.csh"}.get(shell, "activate")
    )
    return f"source {shlex.quote(str(script))}" if script.exists() else ""


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
