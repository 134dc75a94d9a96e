"""Runs containers as processes: the Protocol ``Runner`` and its implementation for this machine.

A container has its own session, environment, folders and log file, and beside it a shim (``shim.py``). The
shim goes on when the server dies. ``find`` finds its containers again, running or ended, by pid and start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from skylift.localcloud.containers.mounts import Mount
from skylift.localcloud.containers.mounts import shim_word as mounts_word
from skylift.localcloud.containers.process_tree import kill_tree
from skylift.localcloud.containers.program import Program
from skylift.localcloud.containers.shim import MOUNTING, start_time
from skylift.localcloud.containers.ulimits import Ulimit
from skylift.localcloud.containers.ulimits import shim_word as limits_word

_log = logging.getLogger(__name__)
_SHIM = Path(__file__).with_name("shim.py")
_NAMESPACE = Path(__file__).with_name("mount_namespace.py")
_PUBLISH_SECONDS = 1.0
_POLL_SECONDS = 0.1


class CannotStart(Exception):
    """The container did not start; the text says why, in a container runtime's words."""


@dataclass(frozen=True)
class Launch:
    """What to start.

    Attributes:
        folder: the container's own folder; created if it does not exist.
        executable: the program.
        arguments: its arguments; the first is its own name.
        environment: the whole environment: nothing is added.
        cwd: working folder, below ``folder``.
        memory: bytes that it may use, 0 for any; for a runner whose containers have no ``pid`` here.
        template: module that prepares templates for this program (``template_process.py``); empty: none.
        image: for a runner with an engine: the OCI image, which contains ``executable`` and ``cwd``.
        user: for the same: the user in the container; empty: the image's.
        ulimits: limits of its processes.
        mounts: what it sees elsewhere than it is.
        read_only_root: whether it may write only into mounts.
    """

    folder: Path
    executable: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    memory: int = 0
    template: str = ""
    image: str = ""
    user: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    mounts: tuple[Mount, ...] = ()
    read_only_root: bool = False


@dataclass(frozen=True)
class Ended:
    """How a container ended.

    Attributes:
        code: exit code, 128 + n after signal n; ``None`` if nobody was there to see it.
        at: seconds since the epoch.
        problem: why the program could not be started; empty if it ran.
        out_of_memory: whether the runner knows that a memory limit ended it.
    """

    code: int | None
    at: float
    problem: str = ""
    out_of_memory: bool = False


class RunningContainer(Protocol):
    """A container that was started."""

    @property
    def pid(self) -> int | None:
        """Its first process, whose memory and CPU share ECS controls; ``None`` if the runner does that itself."""
        ...

    @property
    def ended(self) -> asyncio.Future[Ended]:
        """Resolves once, when nothing of the container runs any longer."""
        ...

    def signal(self, number: int) -> None:
        """Sends a signal to its first process; harmless when it is gone."""
        ...


class Runner(Protocol):
    """Where containers run.

    ``start`` gets a folder at most once per container and returns when the program runs. ``find`` may be called at
    any time, also after a restart of the server: ``None`` means that nothing was ever started in this folder.
    """

    async def start(self, launch: Launch) -> RunningContainer:
        """Starts a container. Raises ``CannotStart``."""
        ...

    async def find(self, folder: Path) -> RunningContainer | None:
        """The container of that folder, running or ended."""
        ...

    def inside(self, launch: Launch, words: Sequence[str], *, terminal: bool = False) -> Program:
        """How to run one more program in the container that was started like this; ``terminal``: a person uses it.

        Raises ``CannotStart``: the container has no such program.
        """
        ...

    async def close(self) -> None:
        """Ends the runner's own processes; containers go on."""
        ...


class ProcessContainer:
    """A container that is a process on this machine."""

    def __init__(self, folder: Path, pid: int, started: str) -> None:
        self.folder = folder
        self.pid = pid
        self.started = started
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def signal(self, number: int) -> None:
        """Sends a signal to the first process, unless another process has its pid by now."""
        if not self.ended.done() and start_time(self.pid) == self.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def shim_is_gone(self) -> None:
        """Finds out how it ended, from the file that the shim left."""
        if self.ended.done():
            return
        ended = read_exit(self.folder)
        if ended is None:  # the shim itself was killed: whatever it left must not run on unseen
            if start_time(self.pid) == self.started:
                kill_tree(self.pid)
            ended = Ended(None, os.stat(self.folder).st_mtime)
        self.ended.set_result(ended)


class ProcessRunner(Runner):
    """Containers as processes of this machine."""

    async def start(self, launch: Launch) -> ProcessContainer:
        """Starts the shim, which starts the program; costs about a millisecond of our own time.

        A folder has one container, whoever starts it: if another shim was quicker, the answer is that container.
        """
        launch.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with anonymous_file(words_of(launch)) as spec:
            shim = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SHIM), str(launch.folder)],
                stdin=spec,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=LOADER,
                start_new_session=True,
            )
        assert shim.stdout is not None
        with shim.stdout as pipe:
            report = await read_line(pipe.fileno())
        word, *rest = report.split() or ["silent"]
        if word == "started":
            container = ProcessContainer(launch.folder, int(rest[0]), rest[1])
            _when_gone(shim.pid, partial(_runs, shim), partial(_reap, shim, container))
            return container
        await _reaped(shim)
        # A shim that says nothing found another one in its folder: a fork that was given up, or one from before a
        # restart.
        found = await self.find(launch.folder) if word == "silent" else None
        if found is None:
            raise CannotStart(start_problem(launch.arguments[0], int(rest[0]) if rest else 0))
        return found

    async def find(self, folder: Path) -> ProcessContainer | None:
        """Looks for ``pid``; a shim that was started just before the server died gets a second to write it."""
        for _ in range(round(_PUBLISH_SECONDS / _POLL_SECONDS)):
            if not folder.exists() or (folder / "pid").exists():
                break
            await asyncio.sleep(_POLL_SECONDS)
        try:
            shim_pid, shim_started, pid, started = (folder / "pid").read_text().split()
            container = ProcessContainer(folder, int(pid), started)
            shim = int(shim_pid)
        except FileNotFoundError:
            return None
        except ValueError:
            container = ProcessContainer(folder, 0, "unknown")
            container.ended.set_result(_unreadable(folder / "pid"))
            return container
        if not (folder / "exit").exists() and start_time(shim) == shim_started and _alive(shim):
            _when_gone(shim, lambda: _alive(shim), container.shim_is_gone)
        else:
            container.shim_is_gone()
        return container

    # The arguments are the seam's.
    def inside(self, launch: Launch, words: Sequence[str], *, terminal: bool = False) -> Program:  # noqa: ARG002
        """A process with the container's environment, working folder and mounts."""
        found = shutil.which(words[0], path=launch.environment.get("PATH", "/usr/bin:/bin"))
        if found is None:
            text = f'exec: "{words[0]}": executable file not found in $PATH: unknown'
            raise CannotStart(f"CannotStartContainerError: failed to create new container runtime task: {text}")
        if not launch.mounts and not launch.read_only_root:
            return Program((found, *words[1:]), launch.environment, launch.cwd)
        pid = (launch.folder / "pid").read_text().split()[2]
        joined = (sys.executable, "-I", "-S", str(_NAMESPACE), pid, str(launch.cwd), found, *words[1:])
        return Program(joined, launch.environment, launch.folder)

    async def close(self) -> None:
        """Nothing: shims are the containers', not ours."""


LOADER = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
"""The part of our environment that the shim gets: a Python with its own library path does not start without it."""


def read_exit(folder: Path) -> Ended | None:
    """What the shim recorded; ``None`` if it has not."""
    try:
        words = (folder / "exit").read_text().split()
    except FileNotFoundError:
        return None
    try:
        if words[0] == "failed":
            return Ended(None, float(words[2]), _cause(int(words[1])))
        return Ended(int(words[0]), float(words[1]))
    except (ValueError, IndexError):
        return _unreadable(folder / "exit")


def _unreadable(path: Path) -> Ended:
    """Whatever it was, it is unknown now; it must not be started again."""
    _log.warning("%s is damaged: how its container ended, and whether it has, cannot be known; it counts as lost", path)
    return Ended(None, path.stat().st_mtime)


def _runs(shim: subprocess.Popen[bytes]) -> bool:
    return shim.poll() is None


def _reap(shim: subprocess.Popen[bytes], container: ProcessContainer) -> None:
    shim.wait()
    container.shim_is_gone()


async def _reaped(shim: subprocess.Popen[bytes]) -> None:
    gone = asyncio.Event()
    _when_gone(shim.pid, partial(_runs, shim), gone.set)
    await gone.wait()
    shim.wait()


def words_of(launch: Launch) -> bytes:
    """What a shim must know, in its format. Raises ``CannotStart``: a NUL character in it."""
    pairs = (f"{name}={value}" for name, value in launch.environment.items())
    words = (
        str(launch.executable),
        str(launch.cwd),
        limits_word(launch.ulimits),
        mounts_word(launch.mounts, launch.read_only_root),
        str(len(launch.arguments)),
        *launch.arguments,
        *pairs,
    )
    if any("\0" in word for word in words):
        raise CannotStart("CannotStartContainerError: a NUL character in the command or the environment")
    return "\0".join(words).encode()


def anonymous_file(content: bytes) -> contextlib.AbstractContextManager[int]:
    """A file without a name, so that secrets in the environment are on no disk (Linux) or in no folder (elsewhere)."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("skylift")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return _closing(descriptor)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def read_line(descriptor: int) -> str:
    """Everything until the other side closes: one short line."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    done: asyncio.Future[None] = loop.create_future()
    parts: list[bytes] = []

    def read() -> None:
        part = os.read(descriptor, 4096)
        parts.append(part)
        if not part and not done.done():
            done.set_result(None)

    loop.add_reader(descriptor, read)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)
    return b"".join(parts).decode()


def _when_gone(pid: int, alive: Callable[[], bool], tell: Callable[[], object]) -> None:
    """Calls ``tell`` when the process has ended: by pidfd if there is one, otherwise by polling ``alive``."""
    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):
        _poll(loop, alive, tell)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        loop.call_soon(tell)
        return

    def gone() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        tell()

    loop.add_reader(descriptor, gone)


def _poll(loop: asyncio.AbstractEventLoop, alive: Callable[[], bool], tell: Callable[[], object]) -> None:
    if alive():
        loop.call_later(_POLL_SECONDS, _poll, loop, alive, tell)
    else:
        tell()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start_problem(word: str, number: int) -> str:
    """Why a program does not start, in a container runtime's words; ``number`` is an errno, or 0."""
    cause = _cause(number).lower() if 0 < number < MOUNTING else _cause(number)
    if number >= MOUNTING:
        return f"CannotCreateContainerError: {cause}"
    return f'CannotStartContainerError: failed to create new container runtime task: exec: "{word}": {cause}: unknown'


def _cause(number: int) -> str:
    """What a shim's number means: an errno, more than ``MOUNTING``, or 0."""
    if number < MOUNTING:
        return os.strerror(number) if number else "the container's shim ended"
    return (
        f"its volumes cannot be mounted: {os.strerror(number - MOUNTING)}. That needs a user and mount namespace, "
        "which some machines do not allow (skylift doctor looks). Use skylift up --runner podman there."
    )
