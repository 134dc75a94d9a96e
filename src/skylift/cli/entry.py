"""The start of the console script. Tells users who installed only the executors what the command line also needs."""

from __future__ import annotations

import sys

from skylift.localcloud.installing import install_line

INTERRUPTED = 130
"""Exit code after Ctrl-C, the same as in shells."""


def main() -> None:
    """Runs the command line; without the packages of the extra ``local``, one line instead of a traceback."""
    if sys.argv[1:3] == ["executors", "check"] and len(sys.argv) == 3:
        # It runs next to Airflow's scheduler, where only the executors are installed.
        from skylift.executors.check import main as check  # lazy: nobody else needs it

        sys.exit(check())
    try:
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
