"""What can be seen of a running PostgreSQL: its pid file, its process, and who else holds a port."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import psutil

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""SSLRequest of PostgreSQL's protocol: length and code."""
_NO_PID = "4194304"
"""No process has it: the largest pid_max of Linux, which is one more than the largest pid."""


@dataclass(frozen=True)
class Postmaster:
    """The server process of a data folder, as its ``postmaster.pid`` tells (PostgreSQL's ``miscadmin.h``: line
    numbers).

    Attributes:
        pid: its process id.
        port: the port that it listens on.
        ready: it accepts connections.
    """

    pid: int
    port: int
    ready: bool


def find(data: Path) -> Postmaster | None:
    """The living server of a data folder; ``None`` if there is none, whatever a stale file says."""
    lines = _pid_file(data)
    if not lines or not _serves(int(lines[0]), data):
        return None
    port = int(lines[3]) if len(lines) > 3 and lines[3] else 0
    return Postmaster(int(lines[0]), port, ready=len(lines) > 7 and lines[7].strip() == "ready")


def disown_reused_pid(data: Path) -> None:
    """Marks the pid file of a killed server as stale if its pid now belongs to a program that is not PostgreSQL.

    PostgreSQL considers any living process of its own user the server, and refuses to start. The file is not removed,
    because its later lines name the shared memory by which PostgreSQL finds a killed server's children that still
    write.
    """
    lines = _pid_file(data)
    if lines and psutil.pid_exists(int(lines[0])) and _command_of(int(lines[0]))[:1] != ["postgres"]:
        (data / "postmaster.pid").write_text("\n".join([_NO_PID, *lines[1:]]) + "\n")


def _pid_file(data: Path) -> list[str]:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
    return lines if lines and lines[0].isdigit() else []


def _serves(pid: int, data: Path) -> bool:
    command = _command_of(pid)
    return command[:1] == ["postgres"] and str(data) in command


def _command_of(pid: int) -> list[str]:
    """The command line of a process, its first word without folder and title; empty if it is gone or a zombie."""
    try:
        first, *rest = psutil.Process(pid).cmdline() or [""]
    except psutil.Error:
        return []
    return ["postgres" if first.startswith("postgres: ") else Path(first).name, *rest]


def answers(port: int) -> bool:
    """Whether a PostgreSQL server answers on this port of 127.0.0.1 now.

    Asks whether it supports TLS: every server answers that with one byte, it needs no password, and leaves no line
    in its log. A process list is not enough: a killed server is still visible for a moment.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(_SSL_REQUEST)
            return connection.recv(1) in (b"N", b"S")
    except OSError:
        return False


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
        return True


def holder_of(port: int) -> str:
    """The program that listens on a port, in words: ``nginx (pid 123)``, or that we may not see it."""
    try:
        listening = [
            c
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port
        ]
        named = [psutil.Process(c.pid) for c in listening if c.pid]
        return f"{named[0].name()} (pid {named[0].pid})" if named else "another user's program"
    except psutil.Error:
        return "another program"
