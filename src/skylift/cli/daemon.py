"""Starts and stops the background process (``skylift serve``), seen from the command that does it.

The process gets a session of its own, so that closing the terminal does not end it. How far it is, it writes into its log
as lines ``stage: ...``; the command that waits shows the newest one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from skylift.cli.home import DEFAULT_PORT, Home, endpoint
from skylift.cli.server import Server, alive, health, home_of, recorded, running
from skylift.core.errors import Refused, Unavailable

START_SECONDS = 300.0
"""Most that a start may take: the first one may download PostgreSQL's and others' files."""

STOP_SECONDS = 90.0
"""Time for a graceful stop: containers get ECS's 30 s between SIGTERM and SIGKILL, then state is flushed."""

STAGE = "stage: "
LOG_BYTES = 10_000_000


def start(home: Home, port: int | None, say: Callable[[str], None]) -> tuple[Server, bool]:
    """The home's server, started when there is none. Returns it, and whether it was started now.

    Args:
        port: the port asked for; ``None``: the one used before, else 4747.

    Raises:
        Refused: the port is taken, or the server gave up; the text has the cause.
    """
    found = running(home)
    if found is not None:
        if found.alone:
            raise Refused(f"In {home.folder} runs skylift cloud (pid {found.pid}), without environments. End it first.")
        if port not in {None, found.port}:
            raise Refused(
                f"skylift runs already on port {found.port}. To move it: skylift down, then skylift up --port {port}."
            )
        return found, False
    left = recorded(home)
    if left is not None and alive(left):
        raise Unavailable(
            f"The server of {home.folder} (pid {left.pid}) runs but does not answer. Wait a moment and try again, "
            f"or stop it with: skylift down. Its log: {home.server_log}"
        )
    chosen = port if port is not None else last_port(home)
    check_port(home, chosen)
    home.prepare()
    process, log_start = _spawn(home, chosen)
    return _await_ready(home, process, log_start, say), True


def stop(home: Home, say: Callable[[str], None]) -> Server | None:
    """Ends the home's server and waits until it is gone. Returns what was ended; ``None`` when nothing ran."""
    server = recorded(home)
    if server is None or not alive(server):
        home.server_file.unlink(missing_ok=True)
        return None
    log_start = _size(home.server_log)
    say("asking the server to stop")
    os.kill(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while alive(server):
        if time.monotonic() > deadline:
            say(f"it did not stop in {STOP_SECONDS:.0f} s: killing it; to end what it leaves: skylift down again")
            os.kill(server.pid, signal.SIGKILL)
            deadline = time.monotonic() + 10
        say(newest_stage(home.server_log, log_start) or "asking the server to stop")
        time.sleep(0.1)
    home.server_file.unlink(missing_ok=True)
    return server


def last_port(home: Home) -> int:
    """The port of the last start; 4747 for a new home."""
    server_line = home.config.read_text() if home.config.exists() else ""
    for line in server_line.splitlines():
        if line.startswith("endpoint_url"):
            return int(line.rpartition(":")[2])
    return DEFAULT_PORT


def check_port(home: Home, port: int) -> None:
    """Raises ``Refused``, with who has it, when the port cannot be listened on."""
    if port_is_free(port):
        return
    other = health(port)
    if other is not None:
        its_home = home_of(int(other["pid"])) or "ITS_HOME"
        raise Refused(
            f"Another skylift (home {its_home}, pid {other['pid']}) uses port {port}. "
            f"Stop it with: SKYLIFT_HOME={its_home} skylift down, or give this one its own: "
            f"skylift up --port {free_port()}."
        )
    raise Refused(
        f"Port {port} is taken by another program. Choose another: skylift up --port {free_port()} "
        f"(it is remembered in {home.folder})."
    )


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Some port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def newest_stage(log: Path, begin: int) -> str:
    """The newest ``stage:`` line after a position in the log; empty when there is none."""
    lines = _read_from(log, begin).splitlines()
    return next((line[len(STAGE) :] for line in reversed(lines) if line.startswith(STAGE)), "")


def failure(log: Path, begin: int) -> str:
    """Why a server gave up: its own last words after a position in the log."""
    lines = [line for line in _read_from(log, begin).splitlines() if line.strip() and not line.startswith(STAGE)]
    for line in reversed(lines):
        if line.startswith("skylift: "):
            return line[len("skylift: ") :]
    return " | ".join(lines[-3:]) or "it said nothing"


def _spawn(home: Home, port: int) -> tuple[subprocess.Popen[bytes], int]:
    if _size(home.server_log) > LOG_BYTES:
        home.server_log.replace(home.server_log.with_suffix(".log.1"))
    begin = _size(home.server_log)
    # Bytecode: with PYTHONDONTWRITEBYTECODE every start of every container would compile Airflow anew.
    dropped = {"PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONSTARTUP"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and k not in dropped}
    environment |= {"SKYLIFT_HOME": str(home.folder), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    # Each thread that builds or answers would have glibc keep an arena of its own.
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    with home.server_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "skylift.cli", "serve", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=home.folder,
            env=environment,
        )
    return process, begin


def _await_ready(home: Home, process: subprocess.Popen[bytes], begin: int, say: Callable[[str], None]) -> Server:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Refused(f"skylift did not start: {failure(home.server_log, begin)}\n  (log: {home.server_log})")
        server = running(home)
        if server is not None:
            return server
        say(newest_stage(home.server_log, begin) or "starting the server")
        time.sleep(0.05)
    process.terminate()
    raise Unavailable(f"skylift did not answer at {endpoint(0)[:-2]} in {START_SECONDS:.0f} s; see {home.server_log}")


def _read_from(log: Path, begin: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(begin, _size(log) - 65536))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
