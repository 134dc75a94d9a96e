"""Runs one command line: errors become one line that says what to do; a traceback never reaches the user.

It knows no command: ``main`` has all of them, and ``entry`` starts with the one that is asked for, where that is
quicker.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

import click

from skylift.cli.called import as_typed, word
from skylift.cli.entry import INTERRUPTED
from skylift.cli.home import find_home
from skylift.cli.terminal import Left, err, plain
from skylift.cli.words import Commands
from skylift.core.errors import Broken, SkyliftError
from skylift.localcloud.installing import install_line

UNUSABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR})
"""Errors of a file or folder: the owner of this machine can act, not we."""


COMPLETION = "_SKYLIFT_COMPLETE"
"""Set by a shell that asks for completions (click's name for it)."""


def group_of(*commands: click.Command) -> click.Group:
    """``skylift`` with these commands."""

    @click.group(
        cls=Commands,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 left with Ctrl-C. State lives in $SKYLIFT_HOME "
        "(default ~/.local/share/skylift). NO_COLOR turns colours off.\n\n\b\n"
        f'Shell completion (or zsh_source, fish_source):\n  eval "$({COMPLETION}=bash_source {word()})"',
    )
    @click.version_option(version("skylift"), prog_name="skylift")
    def cli() -> None:
        """Apache Airflow on AWS containers, with a local cloud in which they really run."""

    for command in commands:
        cli.add_command(command)
    return cli


def run(arguments: list[str], cli: click.Group) -> int:
    """Runs one command line of a group. Returns the exit code; never raises."""
    if arguments == ["version"]:
        arguments = ["--version"]
    _write_help_as_typed(cli)
    # A shell completes the name that it knows the command by.
    name = "skylift" if COMPLETION in os.environ else word()
    try:
        return int(cli.main(arguments, prog_name=name, complete_var=COMPLETION, standalone_mode=False) or 0)
    except click.exceptions.Exit as asked:
        return asked.exit_code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        sys.stderr.write(as_typed(shown.getvalue()))
        return error.exit_code
    except Left as left:
        if str(left):
            _say(str(left))
        return INTERRUPTED
    except (click.Abort, KeyboardInterrupt):
        _say("stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (``skylift logs | head``): Python would raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Broken as error:
        return _report_bug(error)
    except SkyliftError as error:
        _say(str(error))
        return 1
    except ModuleNotFoundError as error:
        if str(error.name).startswith("skylift"):
            return _report_bug(error)
        _say(f"{error.name} is missing. Install it with: {install_line()}")
        return 1
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _say(f"The disk is full ({error.filename or find_home(os.environ).folder}). Free some space and try again.")
            return 1
        if error.errno in UNUSABLE and error.filename:
            _say(_unusable(error))
            return 1
        return _report_bug(error)
    except Exception as error:  # noqa: BLE001 - anything else is our bug: only we can act, the user can report it
        return _report_bug(error)


def _write_help_as_typed(command: click.Command) -> None:
    command.help = as_typed(command.help or "") or None
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.help:
            parameter.help = as_typed(parameter.help)
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        _write_help_as_typed(child)


def _unusable(error: OSError) -> str:
    folder = find_home(os.environ).folder
    text = f"{error.filename} cannot be used ({error.strerror})."
    if Path(str(error.filename)).is_relative_to(folder):
        return f"{text} Set SKYLIFT_HOME (now {folder}) to a folder that you may write to."
    return f"{text} Give your user the right to it, or use another."


def _say(text: str) -> None:
    err().print(f"[bold red]skylift:[/] {plain(text)}")


def _report_bug(error: BaseException) -> int:
    try:
        home = find_home(os.environ)
        home.prepare()
        log = home.folder / "cli.log"
        with log.open("a") as file:
            traceback.print_exception(error, file=file)
        where = f"Details are in {log}."
    except (OSError, SkyliftError):
        where = "Its details could not be written."
    _say(f"This is a bug of skylift: {type(error).__name__}: {error}. {where} Please report it with that file.")
    return 1
