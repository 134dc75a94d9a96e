"""The entrypoint of every container of an environment: prepares it, then becomes the requested process.

``python -m skylift.runtime <command...>``. The first word is a ``Command`` (scheduler, api-server ...) or a program.
The steps are: startup script, layer, Airflow's home, then ``exec``. So signals reach Airflow itself, and no wrapper
stays in memory. A fork of a template (``template.py``) continues in the same process instead, if it can. This runs
before every task attempt, so it imports neither Airflow nor boto3 unless something must be downloaded.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from skylift.core.containers import LAYER, LAYER_CACHE, S3_DAGS, STARTUP_SCRIPT, STARTUP_SECONDS, Command
from skylift.core.errors import Broken, SkyliftError, Unavailable
from skylift.runtime import startup
from skylift.runtime.components import Component, component_of, home_of, program_for
from skylift.runtime.layer import LayerFailed, link_home, prepared, with_layer
from skylift.runtime.logs import install_logs

STARTUP_FAILED = 81
"""Exit code: startup.sh failed."""
LAYER_FAILED = 82
"""Exit code: the layer could not be fetched or unpacked."""
NOT_FOUND = 127
"""Exit code: no such program (the same as a shell's)."""


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Prepares the container and replaces this process; returns an exit code only when that failed."""
    if not arguments:
        return _say(64, "no command: expected one of " + ", ".join(Command) + " or a program")
    if arguments[0] == Command.BUILD_LAYER:
        from skylift.runtime.build import build  # lazy: only this command needs it

        return build(environ)
    if arguments[0] == Command.PROVE:
        from skylift.runtime.prove import prove  # lazy: only this command needs it

        return prove(environ)
    if arguments[0] in {Command.SNAPSHOT, Command.RESTORE}:
        from skylift.runtime.snapshots.program import main as snapshots  # lazy: only these commands need it

        return snapshots(arguments[0], arguments[1:], environ)
    try:
        return _become(program_for(arguments, _environment(arguments[0], environ)))
    except startup.StartupFailed as error:
        return _say(STARTUP_FAILED, str(error))
    except LayerFailed as error:
        return _say(LAYER_FAILED, str(error))
    except SkyliftError as error:
        return _say(_exit_code(error), str(error))


def _environment(word: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The container's environment after the startup script and with the layer."""
    ready = home_of(environ)
    cache = LAYER_CACHE.read(environ)
    script = STARTUP_SCRIPT.read(environ)
    if script and word != Command.MIGRATE:  # as on MWAA, not for the migration
        seconds = STARTUP_SECONDS.read(environ)
        with (
            tempfile.TemporaryDirectory(prefix="skylift-startup-") as folder,
            install_logs.recorded(install_logs.STARTUP, Path(folder) / "startup.log", environ),
        ):
            ready = startup.with_startup(script, ready, component_of(word), cache=cache, seconds=seconds)
    if dags := S3_DAGS.read(environ):
        from skylift.runtime.mirror import copy_dags  # lazy: boto3 is imported only where DAGs come this way

        copy_dags(dags, ready)
    if layer := LAYER.read(environ):
        ready = with_layer(ready, prepared(layer, cache))
    link_home(ready)
    return ready


def _become(program: Component) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    template = sys.modules.get("skylift.runtime.template")  # exists only in forks of a template
    if template is not None and template.can_continue(program):
        template.go_on(program)
    try:
        # The user's own command.
        os.execvpe(program.argv[0], list(program.argv), dict(program.environment))  # noqa: S606
    except FileNotFoundError:
        return _say(NOT_FOUND, f"{program.argv[0]}: no such program in this image")
    except PermissionError:
        return _say(126, f"{program.argv[0]}: may not be run")


def _exit_code(error: SkyliftError) -> int:
    """The codes of sysexits.h: 75 try again, 70 our bug, 78 wrong configuration."""
    return 75 if isinstance(error, Unavailable) else 70 if isinstance(error, Broken) else 78


def _say(code: int, text: str) -> int:
    print(f"skylift: {text}", file=sys.stderr, flush=True)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
