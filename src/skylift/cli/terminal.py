"""What a person sees: one line that says what is being done now and for how long, and lines that stay.

On a terminal the line moves; in a file or a CI log each new stage is one plain line. Colours follow rich's rules:
only on a terminal, never with ``NO_COLOR``.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from skylift.core.clock import Clock

BESIDE = 14
"""Columns that spinner and clock take beside the text of the live line."""

DETAIL_SECONDS = 3.0
"""In a file or a CI log, at most one line about the details of one subject in so long."""


def out() -> Console:
    """The console for results (standard output). Width is only limited on a terminal, so that pipes get whole lines."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """The console for progress and errors (standard error)."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_table(console: Console, table: Table) -> None:
    """Prints a table with whole cells, also where the terminal is narrower: an id that is cut is no id."""
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    before = console.width
    console.width = max(before, needed)
    console.print(table, crop=False, soft_wrap=False)
    console.width = before


def seconds(amount: float) -> str:
    """A duration for people: ``0.4 s``, ``12 s``, ``3 min 05 s``."""
    if amount < 10:
        return f"{amount:.1f} s"
    if amount < 60:
        return f"{amount:.0f} s"
    return f"{int(amount) // 60} min {int(amount) % 60:02d} s"


class Stages:
    """A live line. ``now`` changes it, ``done`` leaves a line for good; use it as a context."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._begun = clock()
        self._now = ""
        self._subject = ""
        self._printed = self._begun
        self._live: Progress | None = None
        if console.is_terminal:
            self._live = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
            )
            self._line = self._live.add_task("starting")

    def now(self, text: str) -> None:
        """Says what is being done now. The same text again says nothing; without a terminal, details come not too often."""
        if text == self._now:
            return
        self._now = text
        if self._live is not None:
            room = max(20, self._console.width - BESIDE)
            self._live.update(self._line, description=_plain(text if len(text) <= room else text[: room - 1] + "…"))
        elif self._is_news(text):
            self._console.print(f"[{seconds(self.elapsed)}] {text}", markup=False)

    def done(self, text: str) -> None:
        """Says for good that something is done, with the time since the beginning."""
        self._now = ""
        self._console.print(f"[green]✓[/] {_plain(text)} [dim]({seconds(self.elapsed)})[/]")

    def _is_news(self, text: str) -> bool:
        """Whether a plain line is worth it: another subject (all before the last colon), or some time has passed."""
        subject, now = text.rpartition(": ")[0] or text, self._clock()
        if subject == self._subject and now - self._printed < DETAIL_SECONDS:
            return False
        self._subject, self._printed = subject, now
        return True

    @property
    def elapsed(self) -> float:
        """Seconds since this was made."""
        return self._clock() - self._begun

    def __enter__(self) -> Stages:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def _plain(text: str) -> str:
    """Text from elsewhere must not be read as rich's markup."""
    return text.replace("[", r"\[")
