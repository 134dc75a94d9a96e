"""``skylift``: the command line. Errors become one line that says what to do; a traceback never reaches the user."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

import click

from skylift.cli.commands import cloud, down, env, fault, iam_policy, image, logs, machine, serving, status, up
from skylift.cli.commands import exec as execute
from skylift.cli.home import find_home
from skylift.cli.terminal import err
from skylift.core.errors import Broken, SkyliftError

UNUSABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR})
"""Of a file or folder: whoever owns this machine can act, not we."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage. State lives in $SKYLIFT_HOME. "
    'Shell completion: eval "$(_SKYLIFT_COMPLETE=bash_source skylift)" (zsh, fish likewise).',
)
@click.version_option(version("skylift"), prog_name="skylift")
def cli() -> None:
    """Apache Airflow on AWS containers, with a local cloud in which they really run."""


for command in (
    up.up,
    down.down,
    status.status,
    logs.logs,
    machine.doctor,
    machine.shellenv,
    env.env,
    cloud.cloud,
    fault.fault,
    image.image,
    iam_policy.iam_policy,
    execute.execute,
    serving.serve,
):
    cli.add_command(command)


def main() -> None:
    """The entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line. Returns the exit code; never raises."""
    try:
        return int(cli.main(arguments, prog_name="skylift", standalone_mode=False) or 0)
    except click.exceptions.Exit as asked:
        return asked.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("stopped.")
        return 130
    except BrokenPipeError:
        # The reader of our output went away (``skylift logs | head``): Python would complain again at exit.
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
        _say(f'{error.name} is missing: pip install "skylift[local]".')
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


def _unusable(error: OSError) -> str:
    folder = find_home(os.environ).folder
    text = f"{error.filename} cannot be used ({error.strerror})."
    if Path(str(error.filename)).is_relative_to(folder):
        return f"{text} Set SKYLIFT_HOME (now {folder}) to a folder that you may write to."
    return f"{text} Give your user the right to it, or use another."


def _say(text: str) -> None:
    err().print(f"[bold red]skylift:[/] {text.replace('[', chr(92) + '[')}")


def _report_bug(error: BaseException) -> int:
    home = find_home(os.environ)
    log = home.folder / "cli.log"
    try:
        home.prepare()
        with log.open("a") as file:
            traceback.print_exception(error, file=file)
        where = f"Details are in {log}."
    except (OSError, SkyliftError):
        where = "Its details could not be written."
    _say(f"This is a bug of skylift: {type(error).__name__}: {error}. {where} Please report it with that file.")
    return 1
