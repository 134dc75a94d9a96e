"""Programs that run inside a container in addition to its own: health checks and shells."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOGIN = Path(__file__).with_name("login.py")


@dataclass(frozen=True)
class Program:
    """What this machine must start to run something inside a container.

    Attributes:
        arguments: the program and its arguments; the first is a path.
        environment: the whole environment.
        cwd: working folder.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path


async def exit_code(program: Program, seconds: float) -> int | None:
    """Runs it without input and drops its output. ``None`` if it did not end in time (it is killed) or cannot be
    started."""
    try:
        process = await asyncio.create_subprocess_exec(
            *program.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(program.environment),
            cwd=program.cwd,
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        return await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            _kill_session(process.pid)
            await process.wait()


class InteractiveProgram:
    """One program inside a container, used interactively: through a terminal, or through pipes.

    ``output`` yields pairs of a stream (``o`` standard output, ``r`` standard error) and bytes, until the end.
    """

    def __init__(self, process: asyncio.subprocess.Process, master: int | None) -> None:
        self._process = process
        self._master = master
        self.output: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(64)
        self._readers = [asyncio.create_task(reader) for reader in self._reading()]
        self._ending = asyncio.create_task(self._end_of_output())

    @classmethod
    async def begin(cls, program: Program, terminal: bool) -> InteractiveProgram:
        """Starts it. Raises ``OSError``."""
        if not terminal:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *program.arguments,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=dict(program.environment),
                cwd=program.cwd,
                start_new_session=True,
            )
            return cls(process, None)
        master, slave = os.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(_LOGIN),
                *program.arguments,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={**program.environment, **_loader()},
                cwd=program.cwd,
            )
        except OSError:
            os.close(master)
            raise
        finally:
            os.close(slave)
        os.set_blocking(master, False)
        return cls(process, master)

    def resize(self, rows: int, columns: int) -> None:
        """Sets the terminal's size."""
        if self._master is not None:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def write(self, data: bytes) -> None:
        """Input; dropped if nobody reads it any longer."""
        if self._master is not None:
            await _write_all(self._master, data)
        elif self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(data)
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()

    async def end_input(self) -> None:
        """There is no more input."""
        if self._master is not None:
            await self.write(b"\x04")
        elif self._process.stdin is not None:
            self._process.stdin.close()

    async def close(self) -> int:
        """Ends it, if it has not ended. Returns its exit code; 128 + n after signal n."""
        if self._process.returncode is None:
            _kill_session(self._process.pid)
        code = await self._process.wait()
        for task in (*self._readers, self._ending):
            task.cancel()
        await asyncio.gather(*self._readers, self._ending, return_exceptions=True)
        if self._master is not None:
            os.close(self._master)
            self._master = None
        return code if code >= 0 else 128 - code

    async def _end_of_output(self) -> None:
        await self._process.wait()
        await asyncio.wait(self._readers, timeout=1.0)  # its background processes may hold the streams open
        await self.output.put(None)

    def _reading(self) -> list[Coroutine[Any, Any, None]]:
        if self._master is not None:
            return [self._read_terminal(self._master)]
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return [self._read_pipe("o", self._process.stdout), self._read_pipe("r", self._process.stderr)]

    async def _read_pipe(self, word: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(65536):
            await self.output.put((word, data))

    async def _read_terminal(self, master: int) -> None:
        while True:
            await _readable(master)
            try:
                data = os.read(master, 65536)
            except BlockingIOError:
                continue
            except OSError:  # Linux: EIO when nobody has the other side open
                return
            if not data:
                return
            await self.output.put(("o", data))


def _kill_session(pid: int) -> None:
    """Works even if it has no session yet: ``login.py`` may not have run so far."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _loader() -> Mapping[str, str]:
    """The part of our environment that ``login.py`` itself needs to start; it removes it again."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def _write_all(descriptor: int, data: bytes) -> None:
    """Writes to a terminal that may be full: then waits until it is read."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            await asyncio.sleep(0.01)
        except OSError:
            return
