"""Logs of startup.sh and of the installation of requirements, in streams named as on MWAA.

``startup_script_execution_<host>_<epoch>.log`` and ``requirements_install_<host>_<epoch>.log``, in the log groups that
the control plane names (``SKYLIFT_INSTALL_LOG_GROUPS``). The container still prints the same lines; they are copied on
the way. If the copy cannot be sent, one line says so and nothing else changes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from skylift.core.containers import INSTALL_LOG_GROUPS
from skylift.core.errors import SkyliftError

STARTUP, REQUIREMENTS = "startup_script_execution", "requirements_install"
LATE_SECONDS = 2.0
"""How long to wait for the copy. What a script leaves running in the background may print forever."""

MOST_LINES, MOST_CHARACTERS, LONGEST = 5_000, 200_000, 20_000
"""Of one call: PutLogEvents takes 10,000 lines and 1 MB. Of one line: it takes 256 KB."""


def groups(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Log groups that get these logs; none where the user has switched them off."""
    return tuple(name for name in INSTALL_LOG_GROUPS.read(environ).split(",") if name)


@contextlib.contextmanager
def recorded(kind: str, file: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """What this process and its children print meanwhile also goes into the log streams of ``kind``.

    Args:
        file: where it is kept until then.
        environ: of the container.
    """
    if not groups(environ):
        yield
        return
    _flush()
    failed = ""
    kept = os.dup(1), os.dup(2)
    copier = copying(file)
    assert copier.stdin is not None
    os.dup2(copier.stdin.fileno(), 1)
    os.dup2(copier.stdin.fileno(), 2)
    copier.stdin.close()
    try:
        yield
    except SkyliftError as error:
        failed = str(error)
        raise
    finally:
        _flush()
        for number, was in enumerate(kept, 1):
            os.dup2(was, number)
            os.close(was)
        copied(copier)
        if failed:  # whoever catches it says so in the container's own log
            with file.open("a") as kept_lines:
                kept_lines.write(f"skylift: {failed}\n")
        send(kind, file, environ)


def copying(file: Path) -> subprocess.Popen[bytes]:
    """A ``tee``: what is written to its standard input goes to ours, as it comes, and into a file."""
    # Bash, without which no startup script runs, comes with it.
    return subprocess.Popen(["tee", str(file)], stdin=subprocess.PIPE, start_new_session=True)


def copied(copier: subprocess.Popen[bytes]) -> None:
    """Waits until all is copied, as long as nobody goes on writing."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        copier.wait(LATE_SECONDS)


def send(kind: str, file: Path, environ: Mapping[str, str]) -> None:
    """Puts a file's lines into a new stream of each group."""
    # The first group is the component's own. Requirements are installed once, for all of them.
    wanted = groups(environ)[: 1 if kind == STARTUP else None]
    if not wanted or not file.is_file():
        return
    from skylift.aws.clients import client  # lazy: boto3 costs 0.2 s, and mostly there is nothing to send
    from skylift.aws.output import append  # lazy: as above

    lines = [line[:LONGEST] for line in file.read_text(errors="replace").splitlines() if line.strip()]
    stream = f"{kind}_{os.uname().nodename}_{int(time.time())}.log"
    try:
        logs = client("logs", attempts=2, connect_timeout=3.0, read_timeout=5.0)
        for group in wanted:
            for chunk in _chunks(lines):
                append(logs, group, stream, [(int(time.time() * 1000), line) for line in chunk])
    except SkyliftError as error:
        print(f"skylift: the log {stream} is not in CloudWatch: {error}", flush=True)  # noqa: T201


def _chunks(lines: list[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for line in lines:
        if chunk and (len(chunk) >= MOST_LINES or size + len(line) > MOST_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield chunk


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
