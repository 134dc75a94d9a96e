"""A command at a terminal: what it shows is read as it comes, and what a person would type is typed when it asks."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class AtTerminal:
    """A running command whose standard streams are a terminal.

    Attributes:
        shown: all that it has shown.
    """

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self.shown = ""

    def until(self, text: str, seconds: float = 300) -> None:
        """Waits until it has shown a text."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} was not shown in {seconds:.0f} s:\n{self.shown}"
            assert self._read() or self._process.poll() is None, f"it ended without {text!r}:\n{self.shown}"

    def type(self, text: str) -> None:
        """Types."""
        os.write(self._terminal, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal gives it to the command.

        A person sees a question and then presses it: the command waits by then. A signal in the microseconds between
        Python's last look at signals and its read of the terminal is not noticed before the next key.
        """
        deadline, asleep = time.monotonic() + 30, 0
        while asleep < 5 and time.monotonic() < deadline:
            asleep = asleep + 1 if _sleeps(self._process.pid) else 0
            time.sleep(0.02)
        self._process.send_signal(signal.SIGINT)

    def end(self, seconds: float = 300) -> int:
        """Waits for its end; its exit code."""
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"it did not end in {seconds:.0f} s:\n{self.shown}"
            self._read()
        while self._read():
            pass
        return self._process.wait()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], 0.1)
        if not ready:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def at_terminal(program: Path, *words: str, environ: Mapping[str, str]) -> Iterator[AtTerminal]:
    """Runs a command at a terminal of 200 columns; ends it, should it still run."""
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [str(program), *words],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**environ, "COLUMNS": "200", "TERM": "xterm"},
        start_new_session=True,
        # Whoever runs the tests in the background may have Ctrl-C ignored; at a terminal nobody has.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    os.close(other)
    try:
        yield AtTerminal(process, terminal)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(terminal)


def _sleeps(pid: int) -> bool:
    """Whether a process waits for something (state S of proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
