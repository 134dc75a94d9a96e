"""``prove``: tries an update in a separate container before any running component is changed.

It starts Airflow once with the new layer, options and startup script, loads the plugins and parses every DAG. A DAG
that does not parse with the current settings either does not fail the trial: the update is not to blame. Whenever the
user can act, the result goes to S3.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.aws.s3_objects import S3Objects
from skylift.core.containers import (
    BUNDLE,
    DAG_CACHE,
    LAYER,
    LAYER_CACHE,
    PROOF_OPTIONS,
    PROOF_TARGET,
    SERVING_LAYER,
    SERVING_STARTUP_SCRIPT,
    STARTUP_SCRIPT,
    STARTUP_SECONDS,
    Command,
    ProofFault,
)
from skylift.core.errors import SkyliftError, Unavailable
from skylift.core.names import split_s3_url
from skylift.runtime import startup
from skylift.runtime.components import component_of, home_of
from skylift.runtime.layer import link_files, prepared, with_layer
from skylift.runtime.mirror import Mirror
from skylift.runtime.object_cache import ObjectCache

SECONDS = 1800
"""Time limit of a trial: it takes seconds; on a busy machine with thousands of DAGs many minutes."""

MOST_TOLD = 5
"""This many DAG files are named in the reason; the others are counted."""


@dataclass(frozen=True)
class Trial:
    """The result of one trial.

    Attributes:
        report: see ``trial.TrialReport``; empty if it wrote none.
        ended: how the process ended, in words; empty if it succeeded.
        output: its last lines.
    """

    report: Mapping[str, Any]
    ended: str
    output: str


class Disproven(Exception):
    """The update will not work."""

    def __init__(self, code: ProofFault, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def prove(environ: Mapping[str, str], objects: S3Objects | None = None) -> int:
    """Tries the update and uploads the result. Exit code: 0 it works, 1 it does not, 75 S3 unreachable."""
    s3 = objects or S3Objects()
    bucket, key = split_s3_url(PROOF_TARGET.read(environ))
    try:
        with tempfile.TemporaryDirectory(prefix="skylift-proof-") as folder:
            notes = _proven(Path(folder), environ, s3)
        result: dict[str, Any] = {"ok": True, "code": "", "reason": "", "notes": notes}
    except Disproven as error:
        result = {"ok": False, "code": str(error.code), "reason": str(error), "notes": []}
    except SkyliftError as error:
        print(f"skylift: the update cannot be tried out now: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 75 if isinstance(error, Unavailable) else 78
    s3.put(bucket, key, json.dumps(result).encode())
    print(f"skylift: {'proven' if result['ok'] else 'refused: ' + result['reason']}", flush=True)  # noqa: T201
    return 0 if result["ok"] else 1


def _proven(folder: Path, environ: Mapping[str, str], s3: S3Objects) -> list[str]:
    """Notes for the user. Raises ``Disproven``."""
    shared = DAG_CACHE.read(environ)
    mirror = Mirror(BUNDLE.read(environ), folder, s3, cache=ObjectCache(Path(shared)) if shared else None)
    mirror.refresh()
    dags = mirror.folder
    wanted = _environment(environ, LAYER.read(environ), STARTUP_SCRIPT.read(environ))
    trial = _try(folder / "wanted", dags, wanted, PROOF_OPTIONS.read(environ))
    broken = dict(trial.report.get("dags") or {})
    if broken:
        broken = _broken_anew(broken, folder, dags, environ)
    return judge(trial, broken)


def _environment(environ: Mapping[str, str], layer: str, script: str) -> dict[str, str]:
    ready, cache = home_of(environ), LAYER_CACHE.read(environ)
    if script:
        seconds = STARTUP_SECONDS.read(environ)
        try:
            ready = startup.with_startup(script, ready, component_of(Command.PROVE), cache=cache, seconds=seconds)
        except startup.StartupFailed as error:
            raise Disproven(ProofFault.STARTUP_SCRIPT_FAILED, str(error)) from error
    return with_layer(ready, prepared(layer, cache)) if layer else ready


def _broken_anew(broken: Mapping[str, str], folder: Path, dags: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Those of the files that parse with the current settings."""
    try:
        serving = _environment(environ, SERVING_LAYER.read(environ), SERVING_STARTUP_SCRIPT.read(environ))
    except Disproven:
        return dict(broken)
    before = _try(folder / "serving", dags, serving, "", list(broken))
    known = before.report.get("dags") or {}
    return {file: text for file, text in broken.items() if file not in known}


def _try(folder: Path, dags: Path, environ: Mapping[str, str], options: str, files: list[str] | None = None) -> Trial:
    """Runs ``trial`` in a separate process, because it runs the user's code, which may exit, hang or crash."""
    folder.mkdir()
    mine = {
        **environ,
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
    }
    link_files(mine, dags)
    report, output = folder / "report.json", folder / "output.txt"
    command = [sys.executable, "-m", "skylift.runtime.trial", str(report), str(dags), options, *(files or ())]
    ended = ""
    with output.open("wb") as sink:
        try:
            done = subprocess.run(
                command, env=mine, timeout=SECONDS, check=False, stdout=sink, stderr=subprocess.STDOUT, cwd=folder
            )
            ended = f"ended with exit code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            ended = f"took longer than {SECONDS} s"
    lines = output.read_text(errors="replace").splitlines()
    print("\n".join(lines[-200:]), flush=True)  # noqa: T201 - the container's log is where one looks
    found = json.loads(report.read_text()) if report.is_file() else {}
    return Trial(found, ended, "\n".join(lines[-10:]))


def judge(trial: Trial, broken: Mapping[str, str]) -> list[str]:
    """Notes for the user, when the trial found nothing that the update is to blame for.

    Args:
        broken: DAG files that parse with the current settings, but not with the new ones.

    Raises:
        Disproven: it found something.
    """
    report = trial.report
    if options := report.get("options"):
        raise Disproven(ProofFault.CONFIGURATION_FAILED, "; ".join(str(text) for text in options))
    if broken:
        told = "\n".join(f"{file}: {text}" for file, text in sorted(broken.items())[:MOST_TOLD])
        more = f"\nand {len(broken) - MOST_TOLD} more" if len(broken) > MOST_TOLD else ""
        raise Disproven(ProofFault.DAGS_FAILED, f"DAG files that parse today would no longer:\n{told}{more}")
    if report.get("failed"):
        raise Disproven(ProofFault.START_FAILED, f"Airflow does not start: {report['failed']}")
    if not report.get("done"):
        now = str(report.get("now") or "starting Airflow")
        how = trial.ended or "ended early"
        raise Disproven(ProofFault.START_FAILED, f"{now}: the process {how}\n{trial.output}")
    plugins = (report.get("plugins") or {}).items()
    left_out = [f"The plugin {file} does not load, and is left out: {text}" for file, text in plugins]
    return [*left_out, *(str(note) for note in report.get("notes") or ())]
