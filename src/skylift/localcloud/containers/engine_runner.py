"""Runs containers as real OCI containers, with podman or docker: the other implementation of ``Runner``.

The engine keeps what must survive us: the container goes on when the server dies, and its output and exit code wait in
the engine's store. So there is no shim. A container's name follows from its folder, and ``find`` asks the engine. When
a container has ended, its exit code is written to ``exit`` in its folder, its output to ``log``, and then the engine is
told to forget it, in this order.

Containers share the machine's network, so the loopback addresses that ECS assigns, and the endpoint, work for them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from skylift.localcloud.containers.oci import CLIENT_NAMES, PODMAN, ClientOutput, OciEngine
from skylift.localcloud.containers.program import Program
from skylift.localcloud.containers.runner import CannotStart, Ended, Launch, Runner

_UNBORN = frozenset({"created", "configured", "initialized"})
_BIRTH_SECONDS = 3.0
"""Seconds for a ``start`` that was in progress when the server died."""
_POLL_SECONDS = 0.1
_LAST_LINES_SECONDS = 1.0
"""After the end ``logs --follow`` may hang (podman 4.3, sometimes); all output is read once more anyway."""


class EngineContainer:
    """A container of the engine."""

    def __init__(self, runner: EngineRunner, folder: Path, pid: int | None) -> None:
        self.folder = folder
        self.pid = pid
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._runner = runner

    def signal(self, number: int) -> None:
        """Sends a signal to its first process, which as PID 1 has no default action except for SIGKILL."""
        if not self.ended.done():
            if number == signal.SIGKILL:
                (self.folder / "killed").touch()
            self._runner.send(self.folder, number)


class EngineRunner(Runner):
    """Containers of podman or docker, from images in its store."""

    def __init__(self, engine: OciEngine) -> None:
        self._engine = engine
        self._work: set[asyncio.Task[Any]] = set()
        self._limits: bool | None = None

    async def start(self, launch: Launch) -> EngineContainer:
        """Creates the container, then starts it: 0.3 s with podman. Raises ``CannotStart`` with the engine's text."""
        launch.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = name_of(launch.folder)
        limited = bool(launch.memory) and await self._can_limit()
        made = await self._create(name, launch, limited)
        if made.code != 0 and await self._state(name) in _UNBORN:  # left by a server that died exactly here
            await self._remove(name)
            made = await self._create(name, launch, limited)
        if made.code != 0:
            raise CannotStart(f"CannotCreateContainerError: {made.reason}")
        if limited:
            (launch.folder / "limited").touch()
        # When memory ran out, podman's conmon leaves a file named oom where it was started.
        begun = await self._engine.run("start", name, cwd=launch.folder)
        if begun.code != 0:
            await self._remove(name)
            raise CannotStart(f"CannotStartContainerError: {begun.reason}")
        return await self._attend(launch.folder)

    async def find(self, folder: Path) -> EngineContainer | None:
        """Asks the engine; removes a container that never ran, and treats it as never started."""
        name = name_of(folder)
        ended = _read_exit(folder)
        if ended is not None:
            await self._remove(name)
            container = EngineContainer(self, folder, None)
            container.ended.set_result(ended)
            return container
        deadline = time.monotonic() + _BIRTH_SECONDS
        while (state := await self._state(name)) in _UNBORN and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        if state in _UNBORN:
            await self._remove(name)
        return await self._attend(folder) if state and state not in _UNBORN else None

    def inside(self, launch: Launch, words: Sequence[str], *, terminal: bool = False) -> Program:
        """The engine's ``exec``; if the program does not exist, that shows only when it runs."""
        options = ("--interactive", "--tty") if terminal else ("--interactive",)
        client = (str(self._engine.program), "exec", *options, name_of(launch.folder))
        return Program((*client, *words), self._engine.environ, Path("/"))

    async def close(self) -> None:
        """Stops following containers; they go on."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def send(self, folder: Path, number: int) -> None:
        """Makes the engine send a signal, in the background. Harmless if the container is gone."""
        self._begin(self._engine.run("kill", "--signal", str(number), name_of(folder)))

    async def _create(self, name: str, launch: Launch, limited: bool) -> ClientOutput:
        hidden, listed = _split(launch.environment)
        with _environment_file(launch.folder, listed) as file:
            options = [
                *("--name", name, "--label", f"skylift.folder={launch.folder}"),
                *("--pull", "never", "--network", "host", "--entrypoint", launch.arguments[0]),
                *("--workdir", str(launch.cwd), "--env-file", str(file)),
                *(word for one in hidden for word in ("--env", one)),
                *(("--memory", str(launch.memory), "--memory-swap", str(launch.memory)) if limited else ()),
                *(("--user", launch.user) if launch.user else ()),
                *_mounts_of(launch, self._engine.kind == PODMAN),
                *(f"--ulimit={name}={soft}:{hard}" for name, soft, hard in launch.ulimits),
                *(_of_podman(launch.folder) if self._engine.kind == PODMAN else ("--log-driver", "json-file")),
            ]
            words = (*options, launch.image, *launch.arguments[1:])
            if any("\0" in word for word in (*words, *hidden.values(), *listed.values())):
                raise CannotStart("CannotStartContainerError: a NUL character in the command or the environment")
            return await self._engine.run("create", *words, extra=hidden)

    async def _attend(self, folder: Path) -> EngineContainer:
        """Takes over a started container. If the engine has no limit, ECS watches its memory."""
        about = await self._inspect(name_of(folder))
        pid = None if (folder / "limited").exists() else int(about.get("Pid") or 0) or None
        container = EngineContainer(self, folder, pid)
        self._begin(self._follow(container))
        return container

    async def _follow(self, container: EngineContainer) -> None:
        name = name_of(container.folder)
        following = asyncio.ensure_future(self._copy_log(container.folder, "logs", "--follow", name))
        try:
            await self._engine.run("wait", name)
            await asyncio.wait([following], timeout=_LAST_LINES_SECONDS)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        about = await self._inspect(name)
        await self._copy_log(container.folder, "logs", name)  # output between the last read and the end
        ended = _how_ended(container.folder, about)
        _write_exit(container.folder, ended)
        await self._remove(name)
        container.ended.set_result(ended)

    async def _copy_log(self, folder: Path, *words: str) -> None:
        """Writes all output from its beginning: the same bytes at the same positions, so that a reader never sees a
        gap."""
        with open(os.open(folder / "log", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            copying = await self._engine.follow(file, *words)
            try:
                await copying.wait()
            finally:
                if copying.returncode is None:
                    copying.kill()
                    await copying.wait()

    async def _can_limit(self) -> bool:
        """Whether the engine can limit memory: podman of an ordinary user needs cgroups v2, and otherwise ignores
        limits."""
        if self._limits is None:
            if self._engine.kind == PODMAN:
                told = await self._engine.run("info", "--format", "{{.Host.CgroupControllers}}")
                self._limits = "memory" in told.out
            else:
                self._limits = True
        return self._limits

    async def _state(self, name: str) -> str:
        """``running``, ``exited`` ...; empty if there is no such container."""
        return str((await self._inspect(name)).get("Status", "")).lower()

    async def _inspect(self, name: str) -> dict[str, Any]:
        answer = await self._engine.run("container", "inspect", "--format", "{{json .State}}", name)
        return dict(json.loads(answer.out)) if answer.code == 0 else {}

    async def _remove(self, name: str) -> None:
        await self._engine.run("rm", "--force", name)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def name_of(folder: Path) -> str:
    """The container's name in the engine; two local clouds on one machine never use the same."""
    return f"skylift-{folder.name}-{hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()}"


def _of_podman(folder: Path) -> tuple[str, ...]:
    """No environment from the host or containers.conf; a log driver that needs no systemd; and a word in
    the process list (of the container's monitor) by which ``skylift down`` sees whose it is, if the server is
    gone."""
    return "--unsetenv-all", "--http-proxy=false", "--log-driver", "k8s-file", "--conmon-pidfile", f"{folder}/monitor"


def _mounts_of(launch: Launch, podman: bool) -> list[str]:
    """Podman gives a read-only container writable /tmp and the like, which ECS does not."""
    volumes = [f"{one.source}:{one.target}:{'ro' if one.read_only else 'rw'}" for one in launch.mounts]
    locked = ["--read-only", *(["--read-only-tmpfs=false"] if podman else [])] if launch.read_only_root else []
    return [*locked, *(word for volume in volumes for word in ("--volume", volume))]


def _split(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Variables that the client can pass in its own environment, and those (PATH ...) that would affect the client.

    Neither way shows a value in the process list. The first is exact; a line of the file cannot contain a line break.
    """
    listed = {name: value for name, value in environment.items() if CLIENT_NAMES.fullmatch(name)}
    broken = [name for name, value in listed.items() if "\n" in value]
    if broken:
        raise CannotStart(f"CannotStartContainerError: a line break in {', '.join(broken)} cannot be passed on")
    return {name: value for name, value in environment.items() if name not in listed}, listed


@contextlib.contextmanager
def _environment_file(folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    file = folder / "environment"
    file.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.writelines(f"{name}={value}\n" for name, value in environment.items())
        yield file
    finally:
        file.unlink(missing_ok=True)


def _how_ended(folder: Path, about: Mapping[str, Any]) -> Ended:
    """An exit code of 137 that nobody requested comes from the kernel, for memory: podman does not always report
    OOMKilled (4.3, cgroups v1)."""
    if not about:  # somebody else removed it
        return Ended(None, time.time())
    code = int(about["ExitCode"])
    killed = code == 128 + signal.SIGKILL and (folder / "limited").exists() and not (folder / "killed").exists()
    return Ended(code, _seconds(str(about["FinishedAt"])), out_of_memory=killed or bool(about.get("OOMKilled")))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _write_exit(folder: Path, ended: Ended) -> None:
    new = folder / "exit.new"
    with new.open("w") as file:
        file.write(f"{'lost' if ended.code is None else ended.code} {ended.at}{' oom' if ended.out_of_memory else ''}")
        file.flush()
        os.fsync(file.fileno())
    new.rename(folder / "exit")


def _read_exit(folder: Path) -> Ended | None:
    try:
        code, at, *oom = (folder / "exit").read_text().split()
    except FileNotFoundError:
        return None
    return Ended(None if code == "lost" else int(code), float(at), out_of_memory=bool(oom))
