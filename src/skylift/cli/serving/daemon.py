"""Starts and stops the background process (``skylift serve``); runs in the command's process.

The background process gets its own session, so that closing the terminal does not end it. It writes its progress to its
log as lines ``stage: ...``; the command that waits shows the newest one.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from skylift.cli.home import DEFAULT_PORT, Home, endpoint, find_home
from skylift.cli.lock import HANDED_OVER, Held, holder, sign, taken
from skylift.cli.serving.enforcing import OPTION, mode_of
from skylift.cli.serving.others import refuse_others
from skylift.cli.serving.server import RunningServer, alive, health, home_of, recorded, running, start_time
from skylift.core.errors import Refused, Unavailable
from skylift.localcloud.containers.oci import PROCESS
from skylift.localcloud.damage import damaged
from skylift.localcloud.iam.mode import IamMode

START_SECONDS = 900.0
"""Time limit of a start: the first one may download PostgreSQL and other files, and the machine may be busy. A server
that ends is noticed at once."""

STOP_SECONDS = 90.0
"""Time limit of a stop: containers get ECS's 30 s between SIGTERM and SIGKILL, then state is written."""

STAGE = "stage: "
LOG_BYTES = 10_000_000


def start(
    home: Home,
    port: int | None,
    say: Callable[[str], None],
    note: Callable[[str], None] | None = None,
    runner: str | None = None,
    iam: str | None = None,
) -> tuple[RunningServer, bool]:
    """The home's server; starts one if there is none. Returns it, and whether it was started now.

    Args:
        port: the requested port; ``None``: the last one, otherwise 4747; if that is taken, another.
        say: called with the progress.
        note: called with what the user should know afterwards; default ``say``.
        runner: what runs the containers; ``None``: the same as before.
        iam: off, observe or enforce; ``None``: the same as before.

    Raises:
        Refused: the port is taken, a running server has other options, or the server failed; the text has the cause.
        Unavailable: a server runs but does not answer.
    """
    while True:
        found = _settled(home, say)
        if found is not None:
            _refuse_other_options(home, found, port, runner, iam)
            refuse_others(home)
            return found, False
        if port is None:
            port = _port_for(home, note or say)
        else:
            check_port(port)
        home.prepare()
        try:
            process, log_start = _spawn(home, port)
        except Held:
            continue  # another command was faster: wait for its server
        return _await_ready(home, process, log_start, say), True


def stop(home: Home, say: Callable[[str], None]) -> bool:
    """Ends the home's server, also one that is still starting, and waits until it is gone. Returns whether there was
    one."""
    server = recorded(home)
    pid = server.pid if server is not None and alive(server) else holder(home)
    if pid is None:
        home.server_file.unlink(missing_ok=True)
        return False
    begun = start_time(pid)
    log_start = _size(home.server_log)
    say("asking the server to stop")
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while begun is not None and start_time(pid) == begun:
        if time.monotonic() > deadline:
            say(f"it did not stop in {STOP_SECONDS:.0f} s: killing it; to end what it leaves: skylift down again")
            _signal(pid, signal.SIGKILL)
            deadline = time.monotonic() + 10
        say(newest_stage(home.server_log, log_start) or "asking the server to stop")
        time.sleep(0.1)
    home.server_file.unlink(missing_ok=True)
    return True


def _settled(home: Home, say: Callable[[str], None]) -> RunningServer | None:
    """The running server, or ``None``; waits while another command's server is starting or stopping."""
    deadline = time.monotonic() + START_SECONDS
    while (found := running(home)) is None:
        left = recorded(home)
        stuck = left is not None and alive(left)
        if not stuck and holder(home) is None:
            return None
        if stuck or time.monotonic() > deadline:
            raise Unavailable(silent_text(home))
        say("waiting for the server of another command, which is still starting or stopping")
        time.sleep(0.1)
    return found


def _refuse_other_options(
    home: Home, found: RunningServer, port: int | None, runner: str | None, iam: str | None
) -> None:
    """Refuses options that a running server cannot take, instead of ignoring them."""
    if found.alone:
        raise Refused(
            f"In {home.folder} runs the local cloud alone (pid {found.pid}), without environments. "
            f"End it first: {down_line(home)}"
        )
    if port not in {None, found.port}:
        raise Refused(
            f"skylift runs already, on port {found.port}. To move it: skylift down && skylift up --port {port}"
        )
    present = runner_of(home)
    if runner not in {None, present}:
        raise Refused(
            f"skylift runs already, and its containers are run by {present}. "
            f"To change that: skylift down && skylift up --runner {runner}"
        )
    mode = mode_of(home)
    if iam not in {None, mode}:
        raise Refused(
            f"skylift runs already, started with {OPTION[mode]}. "
            f"To change that: skylift down && skylift up {OPTION[IamMode(str(iam))]}"
        )


def runner_of(home: Home) -> str:
    """What runs the containers of this home's server: process, podman or docker."""
    try:
        return (home.folder / "runner").read_text().strip() or PROCESS
    except FileNotFoundError:
        return PROCESS


def silent_text(home: Home) -> str:
    """What to do about a server that runs but does not answer."""
    left = recorded(home)
    pid = left.pid if left is not None and alive(left) else holder(home)
    return (
        f"The server of {home.folder} (pid {pid}) runs but does not answer. Wait a moment and try again, "
        f"or stop it with: {down_line(home)}. Its log: {home.server_log}"
    )


def down_line(home: Home) -> str:
    """The command that stops the server of a home, from this shell."""
    if find_home(os.environ) == home:
        return "skylift down"
    return f"SKYLIFT_HOME={shlex.quote(str(home.folder))} skylift down"


def last_port(home: Home) -> int:
    """The port of the last start; 4747 for a new home."""
    try:
        server_line = home.config.read_text() if home.config.exists() else ""
    except UnicodeDecodeError as error:
        without = f"The port is then {DEFAULT_PORT}, or what --port says."
        raise damaged(home.config, "it is not text", "the port of the last start", without) from error
    for line in server_line.splitlines():
        if line.startswith("endpoint_url"):
            try:
                return int(line.rpartition(":")[2])
            except ValueError as error:
                without = f"The port is then {DEFAULT_PORT}, or what --port says."
                raise damaged(home.config, f"{line} has no port", "the port of the last start", without) from error
    return DEFAULT_PORT


def _port_for(home: Home, note: Callable[[str], None]) -> int:
    """The port of the last start, or, if that is taken, the next free one: the user asked for no particular port."""
    wanted = last_port(home)
    if port_is_free(wanted):
        return wanted
    chosen = (
        next((port for port in range(wanted + 1, min(wanted + 100, 65536)) if port_is_free(port)), 0) or free_port()
    )
    again = ' Shells that know the old one need again: eval "$(skylift shellenv)"' if home.config.exists() else ""
    note(f"port {wanted} is taken by {user_of(wanted)}: this skylift has port {chosen}.{again}")
    return chosen


def check_port(port: int) -> None:
    """Raises ``Refused`` when the port is taken; the text says who has it and which port is free."""
    if port_is_free(port):
        return
    other = health(port)
    if other is None:
        raise Refused(f"Port {port} is taken by another program. Choose another: --port {free_port()} is free.")
    its_home = home_of(int(other["pid"]))
    way = f"Stop it with: {down_line(Home(Path(its_home)))}, or give" if its_home else "Give"
    raise Refused(
        f"Another skylift ({_whose(its_home, other['pid'])}) uses port {port}. "
        f"{way} this one its own: --port {free_port()} is free."
    )


def user_of(port: int) -> str:
    """The process that listens on a port, for people."""
    other = health(port)
    if other is None:
        return "another program"
    return f"another skylift ({_whose(home_of(int(other['pid'])), other['pid'])})"


def _whose(its_home: str, pid: object) -> str:
    return f"home {its_home}, pid {pid}" if its_home else f"of another user, pid {pid}"


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
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def newest_stage(log: Path, begin: int) -> str:
    """The newest ``stage:`` line after a position in the log; empty if there is none."""
    lines = _read_from(log, begin).splitlines()
    return next((line[len(STAGE) :] for line in reversed(lines) if line.startswith(STAGE)), "")


def failure(log: Path, begin: int) -> str:
    """Why a server failed: its last lines after a position in the log."""
    lines = [line for line in _read_from(log, begin).splitlines() if line.strip() and not line.startswith(STAGE)]
    for line in reversed(lines):
        if line.startswith("skylift: "):
            return line[len("skylift: ") :]
    return " | ".join(lines[-3:]) or "it said nothing"


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _spawn(home: Home, port: int) -> tuple[subprocess.Popen[bytes], int]:
    if _size(home.server_log) > LOG_BYTES:
        home.server_log.replace(home.server_log.with_suffix(".log.1"))
    begin = _size(home.server_log)
    # Bytecode: with PYTHONDONTWRITEBYTECODE, every start of a container would compile Airflow again.
    dropped = {"PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONSTARTUP"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and k not in dropped}
    environment |= {"SKYLIFT_HOME": str(home.folder), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    # Otherwise glibc keeps an arena for each thread that builds or answers.
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    with home.server_log.open("ab") as log, taken(home) as lock:
        process = subprocess.Popen(
            [sys.executable, "-m", "skylift.cli", "serve", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=home.folder,
            env=environment | {HANDED_OVER: str(lock.fileno())},
            pass_fds=(lock.fileno(),),
        )
        sign(lock, process.pid)
    return process, begin


def _await_ready(home: Home, process: subprocess.Popen[bytes], begin: int, say: Callable[[str], None]) -> RunningServer:
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
