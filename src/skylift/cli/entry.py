"""The start of the console script. Tells users who installed only the executors what the command line also needs."""

from __future__ import annotations

import importlib
import sys

from skylift.localcloud.installing import install_line

INTERRUPTED = 130
"""Exit code after Ctrl-C, the same as in shells."""

QUICK = {
    "logs": ("logs", "logs"),
    "ps": ("ps", "ps"),
    "run": ("run", "run_dag"),
    "runs": ("run", "runs"),
    "status": ("status", "status"),
}
"""Commands that one types all day, with their files in ``commands`` and their names there: they start without importing
the others, which takes 0.2 s."""


def main() -> None:
    """Runs the command line; without the packages of the extra ``local``, one line instead of a traceback."""
    if sys.argv[1:3] == ["executors", "check"] and len(sys.argv) == 3:
        # It runs next to Airflow's scheduler, where only the executors are installed.
        from skylift.executors.check import main as check  # lazy: nobody else needs it

        sys.exit(check())
    try:
        if quick := QUICK.get(sys.argv[1] if len(sys.argv) > 1 else ""):
            from skylift.cli.running import group_of  # lazy: what it imports may not be installed
            from skylift.cli.running import run as run_one  # lazy: what it imports may not be installed

            command = vars(importlib.import_module(f"skylift.cli.commands.{quick[0]}"))[quick[1]]
            sys.exit(run_one(sys.argv[1:], group_of(command)))
        from skylift.cli.main import main as run  # lazy: what it imports may not be installed
    except ModuleNotFoundError as error:
        if str(error.name).startswith("skylift"):
            raise
        sys.exit(
            f"skylift: the command line needs more than the executors: {error.name} is missing. "
            f"Install it with: {install_line()}"
        )
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()
