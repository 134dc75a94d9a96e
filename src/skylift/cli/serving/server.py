"""Finds the running server of a home: reads ``server.json``, and checks whether it is still true.

A pid alone proves nothing (pids are reused), so the file also has the process's start time, and a server counts as
running only when it answers with that pid.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skylift.cli.home import LOCK, Home, endpoint, read_json, write_private

HEALTH = "/_skylift/health"
"""Unsigned: status, version, pid."""
IMAGE = "/_skylift/image"
"""Signed: the progress of an image build."""

PATIENCE_SECONDS = 20.0
"""How long a server that is alive may take to answer."""


@dataclass(frozen=True)
class RunningServer:
    """One running server.

    Attributes:
        pid: of the background process.
        started: its start time in clock ticks since boot (``/proc/PID/stat``, field 22).
        port: of its one loopback port.
        version: of skylift that it runs.
        home: the folder that it serves.
        alone: whether it is only the local cloud (``skylift cloud``), without environments.
    """

    pid: int
    started: int
    port: int
    version: str
    home: str
    alone: bool = False

    @property
    def endpoint(self) -> str:
        """Its AWS endpoint URL."""
        return endpoint(self.port)


def running(home: Home, patience: float = PATIENCE_SECONDS) -> RunningServer | None:
    """The server of this home, if it is alive and answers.

    Args:
        patience: seconds in which a living one may answer: on a busy machine the first try may fail.
    """
    deadline = time.monotonic() + patience
    while (server := recorded(home)) is not None and alive(server):
        answer = health(server.port)
        if answer is not None:
            return server if answer.get("pid") == server.pid else None
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)
    return None


def recorded(home: Home) -> RunningServer | None:
    """The content of ``server.json``, true or not; ``None`` when the file is missing or has another form."""
    try:
        return RunningServer(**read_json(home.server_file))
    except TypeError:
        return None


def record(home: Home, server: RunningServer) -> None:
    """Writes ``server.json``: this server is ready."""
    write_private(home.server_file, json.dumps(asdict(server), indent=2) + "\n")


def alive(server: RunningServer) -> bool:
    """Whether its process still exists (a zombie does not count)."""
    return start_time(server.pid) == server.started


def package_version() -> str:
    """The version of skylift that is installed."""
    return version("skylift")


def home_of(pid: int) -> str:
    """The home of a server: the folder of its open lock file, otherwise its working folder if that is a home; empty if
    the process is another user's, or gone."""
    try:
        entries = [*Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return ""
    locked = next((one for entry in entries if (one := _target(entry)).endswith(f"/{LOCK}")), "")
    folder = _target(Path(f"/proc/{pid}/cwd"))
    return str(Path(locked).parent) if locked else (folder if (Path(folder) / "server.json").exists() else "")


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; none when it is gone or only waits to be reaped."""
    try:
        # The command name, in brackets, may itself contain blanks and brackets: count fields from the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def health(port: int, timeout: float = 2.0) -> dict[str, Any] | None:
    """The health answer of a skylift on this port (``version``, ``pid``); ``None`` when none answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(endpoint(port) + HEALTH, timeout=timeout) as answer:
            found = json.loads(answer.read())
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "pid" in found else None
