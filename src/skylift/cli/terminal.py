"""Output for people: one live line with the current step and its duration, and lines that stay.

On a terminal the line is updated in place; in a file or a CI log each new stage is one plain line. Colours follow
rich's rules: only on a terminal, never with ``NO_COLOR``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from skylift.cli.called import as_typed
from skylift.core.clock import Clock
from skylift.core.errors import Refused

BESIDE = 14
"""Columns of the live line that the spinner and the clock take."""

DETAIL_SECONDS = 3.0
"""In a file or a CI log: seconds between two lines of details about the same subject."""


class ForPeople(Console):
    """A console that prints each of our commands as it can be typed."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Like rich's."""
        super().print(*(as_typed(one) if isinstance(one, str) else one for one in objects), **how)


class Left(Exception):
    """Ctrl-C while something continues without the command. Its text says what, and how to return to it; may be
    empty."""


@contextmanager
def goes_on(text: str | Callable[[], str]) -> Iterator[None]:
    """While this is entered, Ctrl-C ends the command with this text (see ``Left``)."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        raise Left(text if isinstance(text, str) else text()) from None


YES_OPTION = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def agree(question: str, yes: bool, otherwise: str, *, costs: bool = False) -> None:
    """Asks for confirmation, but not with ``--yes`` or when standard input is no terminal, as in a script.

    Args:
        otherwise: what to say when the answer is no.
        costs: it costs money, so a script must say ``--yes``.

    Raises:
        Refused: the answer is no, or nobody can be asked about what costs money.
    """
    nobody = sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty()
    if costs and nobody and not yes:
        raise Refused(f"{otherwise} It costs money, and here is no terminal to ask at: repeat the command with --yes.")
    if yes or nobody:
        return
    with goes_on(otherwise):
        if not click.confirm(question, err=True):
            raise Refused(otherwise)


def out() -> Console:
    """The console for results (standard output). It neither cuts nor wraps lines, so they can be copied."""
    return ForPeople(highlight=False, soft_wrap=True)


def err() -> Console:
    """The console for progress and errors (standard error)."""
    return ForPeople(stderr=True, highlight=False, soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Prints a table with complete cells, even when the terminal is narrower: a shortened id is useless."""
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    before = console.width
    console.width = max(before, needed)
    console.print(table, crop=False, soft_wrap=False)
    console.width = before


def counted(number: int, what: str) -> str:
    """How many: ``1 file``, ``2 files``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


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
        """Shows the current step. Repeating a text shows nothing new; without a terminal, details are printed less
        often."""
        if text == self._now:
            return
        self._now = text
        if self._live is not None:
            room = max(20, self._console.width - BESIDE)
            self._live.update(self._line, description=plain(text if len(text) <= room else text[: room - 1] + "…"))
        elif self._is_news(text):
            self._console.print(f"[{seconds(self.elapsed)}] {text}", markup=False)

    def done(self, text: str) -> None:
        """Prints that something is done, with the time since the beginning."""
        self._keep("[green]✓[/]", text)

    def failed(self, text: str) -> None:
        """Prints that something has failed, with the time since the beginning."""
        self._keep("[bold red]✗[/]", text)

    def note(self, text: str) -> None:
        """Prints something that the user should know, although nothing has failed."""
        self._console.print(f"[yellow]![/] {plain(text)}")

    def _keep(self, mark: str, text: str) -> None:
        self._now = ""
        self._console.print(f"{mark} {plain(text)} [dim]({seconds(self.elapsed)})[/]")

    def _is_news(self, text: str) -> bool:
        """Whether to print a plain line: the subject (before the last colon) is new, or some time has passed."""
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


def plain(text: str) -> str:
    """The text with rich's markup escaped."""
    return escape(text)
