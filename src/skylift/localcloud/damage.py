"""Damaged state: describes a file that cannot be read, and says what to do.

Nothing here repairs or overwrites anything. A reader that finds a damaged file serves everything else, refuses requests
for the file's content with this text, and does not touch the file until somebody has repaired it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from skylift.core.errors import Refused, Unavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Damage:
    """One file that cannot be read.

    Attributes:
        path: the file.
        why: what is wrong with it, e.g. ``it is empty``.
        holds: its content, as a noun, e.g. ``the queues of SQS``.
        without: what happens if one goes on without it: a sentence.
        copy: an older, whole copy beside it; ``None`` if there is none.
        aside: the command that moves it aside; empty: ``mv``.
    """

    path: Path
    why: str
    holds: str
    without: str = ""
    copy: Path | None = None
    aside: str = ""

    def __str__(self) -> str:
        """What is wrong, and what to do."""
        name = shlex.quote(str(self.path))
        aside = self.aside or f"mv {name} {name}.damaged"
        restore = f"To go back to the copy before it: {aside} && cp {shlex.quote(str(self.copy))} {name}. "
        return (
            f"{self.path} is damaged ({self.why}). It holds {self.holds}; nothing of it is overwritten. "
            f"{restore if self.copy is not None else ''}"
            f"To go on without it: {aside}.{f' {self.without}' if self.without else ''} Do it while skylift is stopped."
        )


class Damaged(Refused):
    """A file of state cannot be read; the text is the advice."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage


def copy_of(path: Path) -> Path:
    """Where the previous copy of a file is."""
    return path.with_name(f"{path.name}.before")


def damaged(path: Path, why: str, holds: str, without: str = "") -> Damaged:
    """The error to raise; it names the previous copy if there is one."""
    copy = copy_of(path)
    return Damaged(Damage(path, why, holds, without, copy if copy.exists() else None))


def read_state(path: Path, parse: Callable[[str], T], holds: str, without: str = "") -> T:
    """A small text file of state, parsed.

    Args:
        parse: raises ``ValueError``, ``KeyError`` or ``TypeError`` if the text is not valid.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: it cannot be read, or is not valid.
    """
    try:
        text = path.read_text()
        if not text.strip():
            raise ValueError("it is empty")
        return parse(text)
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise damaged(path, "it is not text", holds, without) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, _said(error), holds, without) from error


def json_object(text: str) -> dict[str, Any]:
    """For ``read_state``: the text as a JSON object."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _said(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error}"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


class Refusing:
    """Wraps one of our providers: while its state is damaged, every operation is refused with advice."""

    def __init__(self, provider: Any, damage: Damage | None) -> None:
        self._damage = damage
        self._provider = provider
        self.service: str = provider.service
        self.blocking: bool = provider.blocking

    def refuse_all(self, damage: Damage) -> None:
        """From now on every operation is refused."""
        self._damage = damage

    def __getattr__(self, name: str) -> Any:
        """An operation of the provider, under its own name; or its refusal."""
        found = getattr(self._provider, name)
        if self._damage is None or not callable(found):
            return found

        def refuse(_caller: Any, _request: Any) -> Any:
            raise DamagedNow(str(self._damage))

        return refuse


class DamagedNow(Unavailable):
    """Like ``Damaged``, for callers: it will work once the owner has acted."""

    for_callers = True
