"""How skylift was called, and so how its commands are written: what people are shown can be typed as it stands.

Texts in the code, also those of other layers, name a command as ``skylift up``. Whatever is printed for people passes
through ``as_typed``, which puts the words there by which this very program can be started: ``skylift`` where the
shell's PATH leads to it, else the path by which it was started, else the path of the script beside this Python.
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
    "cloud",
    "doctor",
    "down",
    "env",
    "exec",
    "executors",
    "fault",
    "iam-policy",
    "image",
    "logs",
    "serve",
    "shellenv",
    "status",
    "up",
)
"""The words after which ``skylift`` is a command to type, and not the product's name. A test holds them against the
command line."""

_COMMAND = re.compile(rf"(?<![\w./=-])skylift(?=\s+(?:{'|'.join(COMMANDS)})\b)")


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
    """The text with each of our commands as it can be typed here. Applied twice it does what it does once."""
    return _COMMAND.sub(lambda _: word(program, environ), text) if "skylift" in text else text


def activation(program: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The line after which a shell finds ``skylift`` by itself; empty if it does already, or when there is no such
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
