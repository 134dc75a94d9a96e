"""The user's startup.sh: downloaded once, run by bash before anything else; its exported variables are kept.

As on MWAA: it runs separately in every container, finds the container's kind in MWAA_AIRFLOW_COMPONENT, and has a time
limit. Its exports reach Airflow, except names that the environment needs for itself.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from skylift.core.errors import Refused

PROTECTED = frozenset(
    [
        "AIRFLOW_ENV_ID",
        "AIRFLOW_ENV_NAME",
        "AIRFLOW_HOME",
        "AIRFLOW_TASK_REVISION_ID",
        "AIRFLOW_VERSION",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "CUSTOMER_ACCOUNT_ID",
        "JWT_PUBLIC_KEY",
        "MWAA_AIRFLOW_COMPONENT",
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        "HOME",
        "_",
        "OLDPWD",
        "PWD",
        "SHLVL",
    ]
)
"""Names that the script cannot set (MWAA's list, and what bash sets by itself)."""

PROTECTED_PREFIXES = ("AWS_CONTAINER_", "ECS_", "MWAA__", "SKYLIFT_")

# The variables are written when the script ends, also by ``exit``, and only if it succeeds.
WRAPPER = 'trap \'code=$?; [ $code -eq 0 ] && /usr/bin/env -0 > "$SKYLIFT_EXPORTS"; exit $code\' EXIT; . "$0"'


LAST_LINES = 20
LAST_CHARACTERS = 900
"""How much of a failed script's output is reported: what fits into ``LastUpdate.Error`` (1024 characters) with the
message."""


class StartupFailed(Refused):
    """startup.sh is missing, failed, or took too long: its owner must change it."""


def with_startup(
    url: str, environment: Mapping[str, str], component: str, *, cache: str, seconds: int, record: Path | None = None
) -> dict[str, str]:
    """The environment after startup.sh has run in it.

    Args:
        url: the script, ``s3://bucket/key?versionId=...``.
        component: MWAA's word: scheduler, webserver or worker.
        cache: folder in which the script is kept, one file for each version.
        seconds: time limit.
        record: see ``run``.

    Raises:
        StartupFailed: with the reason.
        Unavailable: S3 cannot be reached now.
    """
    return merged(environment, run(fetched(url, Path(cache)), environment, component, seconds, record))


def fetched(url: str, cache: Path) -> Path:
    """The script as a local file. One version is downloaded once; a URL without versionId is downloaded every time."""
    script = cache / "startup" / hashlib.sha256(url.encode()).hexdigest() / "startup.sh"
    if "?versionId=" in url and script.is_file():
        return script
    from skylift.aws.s3_objects import ObjectRef, S3Objects  # lazy: boto3 takes 0.2 s; mostly nothing is downloaded

    try:
        script.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if S3Objects().fetch(ObjectRef.parse(url), script) is None:
            raise StartupFailed(f"startup script {url} does not exist")
    except Refused as error:
        raise error if isinstance(error, StartupFailed) else StartupFailed(f"startup script: {error}") from error
    return script


def run(
    script: Path, environment: Mapping[str, str], component: str, seconds: int, record: Path | None = None
) -> dict[str, str]:
    """Runs the script with bash; its output is the container's output. Returns all variables at the script's end.

    Args:
        record: a file that collects the output, so that a failure can show the last lines. It is no pipe, because
            background processes of the script keep writing after we have become Airflow.

    Raises:
        StartupFailed: with the exit code, and the last lines if there is a record.
    """
    try:
        return _run(script, environment, component, seconds, record)
    except StartupFailed as error:
        lines = last_lines(record) if record else ""
        raise StartupFailed(f"{error}. Its last lines:\n{lines}" if lines else str(error)) from error
    finally:
        if record and record.is_file():
            os.write(1, record.read_bytes())


def last_lines(record: Path) -> str:
    """The end of an output, at most ``LAST_LINES`` and ``LAST_CHARACTERS``; "" if there was none."""
    if not record.is_file():
        return ""
    lines = [line.rstrip() for line in record.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-LAST_LINES:])[-LAST_CHARACTERS:]


def _run(
    script: Path, environment: Mapping[str, str], component: str, seconds: int, record: Path | None
) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="skylift-startup-") as folder:
        exports = Path(folder) / "exports"
        given = {**environment, "MWAA_AIRFLOW_COMPONENT": component, "SKYLIFT_EXPORTS": str(exports)}
        code = _wait(["/bin/bash", "-c", WRAPPER, str(script)], given, seconds, record)
        if code != 0:
            raise StartupFailed(f"startup.sh failed with exit code {code}")
        if not exports.is_file():
            raise StartupFailed("startup.sh replaced bash's EXIT trap or called exec: its variables cannot be read")
        pairs = (entry.partition("=") for entry in exports.read_text(errors="surrogateescape").split("\0") if entry)
        return {name: value for name, _, value in pairs}


def merged(environment: Mapping[str, str], exported: Mapping[str, str]) -> dict[str, str]:
    """The environment with the script's exports.

    An AIRFLOW__ option that the environment already has stays: a configuration option beats the script (MWAA's order).
    """

    def may_set(name: str) -> bool:
        if name in PROTECTED or name.startswith(PROTECTED_PREFIXES):
            return False
        return not (name.startswith("AIRFLOW__") and name in environment)

    return {**environment, **{name: value for name, value in exported.items() if may_set(name)}}


def _wait(command: list[str], environment: Mapping[str, str], seconds: int, record: Path | None) -> int:
    """Runs a command in its own process group; a signal or error that stops us stops the group too."""
    process: subprocess.Popen[bytes] | None = None

    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        if process is not None:  # before that there is nothing to end
            raise SystemExit(128 + signal.SIGTERM)  # the blocks below and above clean up

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with record.open("wb") if record else nullcontext() as output:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if stopped:
            raise SystemExit(128 + signal.SIGTERM)
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise StartupFailed(f"startup.sh took longer than {seconds} s") from error
    finally:
        if process is not None and process.returncode is None:
            _end(process)
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
