"""OCI images and the engine (podman or docker) that keeps and runs them, used through its command line.

podman and docker share the command line, and it needs no socket and no podman daemon.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from skylift.core.errors import Refused
from skylift.core.settings import Setting

PROCESS, PODMAN, DOCKER = "process", "podman", "docker"


def _runner(text: str) -> str:
    if text not in {PROCESS, PODMAN, DOCKER}:
        raise ValueError("expected process, podman or docker")
    return text


RUNNER = Setting(
    "runner",
    _runner,
    PROCESS,
    "How the local cloud runs containers: process (processes on this machine, from skylift's own images), podman or "
    "docker (OCI images; the engine must be on the PATH).",
)
CLIENT_NAMES = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|LANG|LC_.*|LD_.*|XDG_.*|DBUS_.*|CONTAINER.*|_?CONTAINERS_.*|STORAGE_.*|BUILDAH_.*"
    r"|DOCKER_.*|REGISTRY_.*|NOTIFY_SOCKET|LISTEN_.*|GO[A-Z]+|SSL_CERT_.*|.*_proxy|.*_PROXY"
)
"""Variables that an engine's client reads itself."""


@dataclass(frozen=True)
class OciImage:
    """An image in the engine's store; its programs and folders are inside it.

    Attributes:
        reference: the name that was requested.
        entrypoint: its ENTRYPOINT.
        default_command: its CMD.
        environment: its ENV.
        cwd: its WORKDIR, or ``/``.
        template: none: forked containers are processes of this machine.
    """

    reference: str
    entrypoint: tuple[str, ...]
    default_command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str = "/"
    template: str = ""

    def executable(self, word: str) -> Path | None:
        """The word itself: only the engine can look into the image."""
        return Path(word)


@dataclass(frozen=True)
class ClientOutput:
    """What a command of the engine's client gave."""

    code: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """The last line of its error output, without ``Error:``."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return lines[-1].removeprefix("Error: ").strip() if lines else f"exit code {self.code}"


class OciEngine:
    """The client of one engine.

    Attributes:
        program: path of the client.
        kind: ``podman`` or ``docker``.
        environ: the part of our environment that the client needs.
    """

    def __init__(self, program: Path, kind: str, environ: Mapping[str, str] = os.environ) -> None:
        self.program = program
        self.kind = kind
        self.environ = {name: value for name, value in environ.items() if CLIENT_NAMES.fullmatch(name)}

    async def run(self, *words: str, extra: Mapping[str, str] | None = None, cwd: Path | None = None) -> ClientOutput:
        """Runs the client. ``extra``: variables for it, from which ``--env NAME`` takes its values; ``cwd``: where."""
        client = await asyncio.create_subprocess_exec(
            self.program,
            *words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**(extra or {}), **self.environ},
            cwd=cwd,
        )
        out, err = await client.communicate()
        return ClientOutput(client.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))

    async def follow(self, file: IO[bytes], *words: str) -> asyncio.subprocess.Process:
        """Starts the client with both outputs going to a file."""
        return await asyncio.create_subprocess_exec(
            self.program, *words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.environ
        )

    def run_now(self, *words: str) -> ClientOutput:
        """Like ``run``, for worker threads."""
        done = subprocess.run(
            [str(self.program), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environ,
            check=False,
        )
        return ClientOutput(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def chosen_engine(memory: Path, environ: Mapping[str, str] = os.environ) -> OciEngine | None:
    """The engine that ``RUNNER`` names; ``None`` for processes.

    Args:
        memory: file that keeps the choice: after a kill, the next server must find the containers.

    Raises:
        Refused: an unknown word, or the engine is not installed.
    """
    if RUNNER.env not in environ and memory.exists():
        environ = {**environ, RUNNER.env: memory.read_text().strip()}
    kind = RUNNER.read(environ)
    engine = None if kind == PROCESS else find_engine(kind, environ)
    memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    memory.write_text(kind + "\n")
    return engine


def find_engine(kind: str, environ: Mapping[str, str] = os.environ) -> OciEngine:
    """The engine of that kind. Raises ``Refused`` if its client is not on the PATH."""
    program = shutil.which(kind, path=environ.get("PATH"))
    if program is None:
        raise Refused(f"{RUNNER.env}={kind}, but there is no {kind} on the PATH. Install it, or use process.")
    return OciEngine(Path(program), kind, environ)


class OciImages:
    """The images in an engine's store; missing ones are pulled. Several threads may use it."""

    asks = True
    """``find`` runs the client each time (50 ms), because a tag may name another image by now."""

    def __init__(self, engine: OciEngine) -> None:
        self._engine = engine

    def find(self, reference: str) -> OciImage | None:
        """The image, if the engine has it."""
        answer = self._engine.run_now("image", "inspect", "--format", "{{json .Config}}", reference)
        return _image(reference, json.loads(answer.out)) if answer.code == 0 else None

    def build(self, reference: str, progress: Callable[[str], None]) -> OciImage:
        """Pulls it. Raises ``Refused``, with the engine's reason, if that fails."""
        found = self.find(reference)
        if found is not None:
            return found
        progress(f"pulling {reference}")
        pulled = self._engine.run_now("pull", "--quiet", reference)
        found = self.find(reference) if pulled.code == 0 else None
        if found is None:
            raise Refused(f"CannotPullContainerError: {reference}: {pulled.reason}")
        return found


def _image(reference: str, config: Mapping[str, object]) -> OciImage:
    pairs = (str(pair).partition("=") for pair in _words(config, "Env"))
    return OciImage(
        reference,
        _words(config, "Entrypoint"),
        _words(config, "Cmd"),
        {name: value for name, _, value in pairs},
        str(config.get("WorkingDir") or "/"),
    )


def _words(config: Mapping[str, object], name: str) -> tuple[str, ...]:
    found = config.get(name) or ()
    return tuple(str(word) for word in found) if isinstance(found, list | tuple) else ()
