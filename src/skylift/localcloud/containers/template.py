"""Starts containers by forking templates: processes that have imported once what many containers need.

``TemplateRunner`` is a ``Runner``. Containers that ask for a template (``Launch.template``) come from the one made
for the same program and the same decisive variables. All others, and these too if anything is unusual, get a plain
start. The result is the same: a shim with the same files, beside a container with its own session, folders and
environment. If both ways ever try the same folder, the link that a shim makes for itself (``pid``) decides.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skylift.core.settings import Setting, whole_number
from skylift.core.templates import base_of, hints_of
from skylift.localcloud.containers.program import Program
from skylift.localcloud.containers.runner import (
    CannotStart,
    Launch,
    ProcessRunner,
    Runner,
    RunningContainer,
    anonymous_file,
    read_line,
    start_problem,
    words_of,
)
from skylift.localcloud.containers.template_process import READY

TEMPLATES = Setting(
    "templates",
    whole_number(0, 20),
    3,
    "Most templates (preloaded processes from which the local cloud forks containers, 200 MB each) at a time; the "
    "least recently used one is replaced. 0: no container is forked.",
)

IDLE_SECONDS = 900.0
"""A template that was not needed for this long ends; containers that came from it go on."""

FORK_SECONDS = 20.0
"""A template that does not answer for this long is ended, and the container gets a plain start."""

MEMORY_NEEDED = 1 << 30
"""Bytes that must be available on the machine for a new template."""

_START_SECONDS = 60.0
_AGAIN_SECONDS = 30.0
"""After a failed start we wait this long before the next try, and use plain starts meanwhile."""

_log = logging.getLogger(__name__)


class TemplateRunner(Runner):
    """Forks what it can from templates, and leaves the rest to ``plain``.

    Args:
        plain: starts everything else, and finds every container again.
        folder: ours alone; templates have their HOME in it, and their output.
        most: how many templates at once, 0 for none.
        idle_seconds, fork_seconds: see the constants of these names.
    """

    def __init__(
        self,
        plain: ProcessRunner,
        folder: Path,
        *,
        most: int = 3,
        idle_seconds: float = IDLE_SECONDS,
        fork_seconds: float = FORK_SECONDS,
    ) -> None:
        self._plain = plain
        self._folder = folder
        self._most = most
        self._fork_seconds = fork_seconds
        self._idle_seconds = idle_seconds
        self._templates: dict[str, asyncio.Task[Template | None]] = {}
        self._not_before: dict[str, float] = {}
        self._asked: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    async def start(self, launch: Launch) -> RunningContainer:
        """A fork of a template, or a plain start."""
        template = await self._template_for(launch) if launch.template and self._most else None
        if template is not None:
            try:
                if await template.fork(launch, self._fork_seconds):
                    found = await self._plain.find(launch.folder)
                    if found is not None:
                        return found
            except (OSError, TimeoutError) as error:
                template.end()
                _log.warning("template %s: %s; a plain start instead", template.folder.name, error or "no answer")
        return await self._plain.start(launch)

    async def find(self, folder: Path) -> RunningContainer | None:
        """The container of that folder, however it was started."""
        return await self._plain.find(folder)

    def inside(self, launch: Launch, words: Sequence[str], *, terminal: bool = False) -> Program:
        """As in any container that is a process."""
        return self._plain.inside(launch, words, terminal=terminal)

    async def close(self) -> None:
        """Ends all templates; containers go on."""
        if self._timer is not None:
            self._timer.cancel()
        tasks, self._templates = self._templates, {}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for task in tasks.values():
            if not task.cancelled() and (template := task.result()) is not None:
                template.end()

    async def _template_for(self, launch: Launch) -> Template | None:
        """The template for this kind of container; several that wait for it share its start. ``None``: make a plain
        start."""
        key = key_of(launch)
        task = self._templates.get(key)
        if task is not None and task.done() and not _lives(task):
            del self._templates[key]
            task = None
        if task is None:
            if not self._may_start(key):
                return None
            task = self._templates[key] = asyncio.create_task(self._start(key, launch))
        template = await asyncio.shield(task)
        if template is not None:
            template.used = time.monotonic()
        return template

    def _may_start(self, key: str) -> bool:
        """If there is no more room, one is made only for a second request of its kind: an option that one ECS task
        overrides must not cost the others their template."""
        living = [other for other, task in self._templates.items() if not task.done() or _lives(task)]
        first, full = key not in self._asked, len(living) >= self._most
        self._asked.add(key)
        if (first and full) or time.monotonic() < self._not_before.get(key, 0.0):
            return False
        if _available() < MEMORY_NEEDED:
            return False
        if full:
            self._end([min(living, key=lambda other: _used(self._templates[other]))])
        return True

    async def _start(self, key: str, launch: Launch) -> Template | None:
        try:
            template = await start_template(self._folder, launch)
        except (OSError, TemplateFailed, TimeoutError) as error:
            self._not_before[key] = time.monotonic() + _AGAIN_SECONDS
            _log.warning("no template for %s, plain starts instead: %s", launch.template, error or "it took too long")
            return None
        if template.omitted and not self._told:
            self._told = True
            _log.info("templates work, but containers cost more CPU than they need: %s", template.omitted)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds / 4, self._end_idle)
        return template

    def _end_idle(self) -> None:
        oldest = time.monotonic() - self._idle_seconds
        self._end([key for key, task in self._templates.items() if task.done() and _used(task) < oldest])
        again = bool(self._templates)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._idle_seconds / 4, self._end_idle) if again else None

    def _end(self, keys: list[str]) -> None:
        for key in keys:
            task = self._templates.pop(key)
            if task.done() and not task.cancelled() and (template := task.result()) is not None:
                template.end()


class TemplateFailed(Exception):
    """A template could not be made; the text is the last line that it printed."""


@dataclass
class Template:
    """A process that forks on demand.

    Attributes:
        process: its process.
        control: our end of its socket.
        folder: its HOME.
        used: when it was last needed, on the monotonic clock.
        omitted: what it could not do to make its containers cheaper, or nothing.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket
    folder: Path
    used: float = field(default_factory=time.monotonic)
    omitted: str = ""

    @property
    def lives(self) -> bool:
        """Whether it can be used."""
        return self.process.poll() is None

    async def fork(self, launch: Launch, seconds: float) -> bool:
        """Forks a container from it; false if it does not answer because it died or cannot fork.

        Raises:
            CannotStart: the program cannot be started.
            OSError, TimeoutError: it cannot be reached, or does not answer at all.
        """
        launch.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        words = bytes(launch.folder) + b"\0" + words_of(launch)
        reading, writing = os.pipe()
        with open(reading, "rb", buffering=0) as pipe:
            try:
                with anonymous_file(words) as spec:
                    socket.send_fds(self.control, [b"f"], [spec, writing])
            finally:
                os.close(writing)
            report = await asyncio.wait_for(read_line(pipe.fileno()), seconds)
        word, *rest = report.split() or ["silent"]
        if word == "failed":
            raise CannotStart(start_problem(launch.arguments[0], int(rest[0])))
        return word == "started"

    def end(self) -> None:
        """Ends it. Its containers go on."""
        self.control.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


async def start_template(parent: Path, launch: Launch) -> Template:
    """Starts one and waits until it is ready.

    Raises:
        CannotPrepare, OSError, TimeoutError: there is none now.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # No other string in memory looks like this name: the image's module finds by it everything that remembers HOME.
    folder = Path(tempfile.mkdtemp(prefix="template-", dir=parent))
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    environment = {
        **hints_of(launch.environment),
        **base_of(launch.environment),
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }
    with theirs, open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [str(launch.executable), "-m", "skylift.localcloud.containers.template_process", launch.template],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    template = Template(process, ours, folder)
    assert process.stdout is not None
    try:
        with process.stdout as pipe:
            report = await asyncio.wait_for(read_line(pipe.fileno()), _START_SECONDS)
        if not report.encode().startswith(READY):
            raise TemplateFailed(_last_line(folder / "log"))
        template.omitted = report.encode().removeprefix(READY).decode().strip()
    except BaseException:  # even if we are cancelled: no template without an owner
        template.end()
        raise
    return template


def key_of(launch: Launch) -> str:
    """Identifies what a template is made for: equal for containers that may come from the same one."""
    words = (str(launch.executable), launch.template, *(f"{k}={v}" for k, v in base_of(launch.environment).items()))
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _lives(task: asyncio.Task[Template | None]) -> bool:
    template = task.result() if task.done() and not task.cancelled() else None
    return template is not None and template.lives


def _used(task: asyncio.Task[Template | None]) -> float:
    template = task.result() if task.done() and not task.cancelled() else None
    return template.used if template is not None else time.monotonic()


def _available() -> int:
    """Bytes of memory that the machine can still give; a large number if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return sys.maxsize
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), sys.maxsize)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
