"""A setting is declared once: name, type, default, meaning.

The environment variable, the Airflow option, ``--help``, the documents and the validation all use the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from skylift.core.errors import Refused

T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One setting.

    Attributes:
        name: lower case with underscores, e.g. ``listen_port``.
        parse: makes the value from text; raises ``ValueError`` with advice when it cannot.
        default: the value if nothing is set; ``None`` with ``required`` means that there is none.
        meaning: one or two sentences for people: what it does, unit, limits.
        required: whether it must be set.
        secret: never printed.
        variable: the environment variable, if it is not ``SKYLIFT_<NAME>``.
    """

    name: str
    parse: Callable[[str], T]
    default: T | None
    meaning: str
    required: bool = False
    secret: bool = False
    variable: str = ""

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return self.variable or f"SKYLIFT_{self.name.upper()}"

    def read(self, environ: Mapping[str, str]) -> T:
        """Its value from an environment.

        Raises:
            Refused: it is required but missing, or cannot be parsed; the text names the variable.
        """
        text = environ.get(self.env, "")
        if text == "":
            if self.required:
                raise Refused(f"{self.env} is not set: {self.meaning}")
            return self.default  # type: ignore[return-value]  # None is T's None when nothing is required
        try:
            return self.parse(text)
        except ValueError as error:
            from skylift.core.secrecy import quoted  # lazy: patterns that only an error needs; containers read settings

            shown = "its value" if self.secret else quoted(self.name, text)
            raise Refused(f"{self.env}: {shown} cannot be used: {error}. It is: {self.meaning}") from error


def read_all(settings: Iterable[Setting[Any]], environ: Mapping[str, str]) -> dict[str, Any]:
    """Values of all settings by name. Raises ``Refused`` on the first that is wrong."""
    return {setting.name: setting.read(environ) for setting in settings}


def flag(text: str) -> bool:
    """Parses true/false as Airflow does: ``true, t, yes, y, 1, on`` and their opposites, any case."""
    word = text.strip().lower()
    if word in {"true", "t", "yes", "y", "1", "on"}:
        return True
    if word in {"false", "f", "no", "n", "0", "off"}:
        return False
    raise ValueError("expected true or false")


def whole_number(least: int, most: int) -> WholeNumber:
    """A parser of whole numbers between two bounds, both included."""
    return WholeNumber(least, most)


@dataclass(frozen=True)
class WholeNumber:
    """A parser of whole numbers between two bounds, both included; as text, the bounds."""

    least: int
    most: int

    def __call__(self, text: str) -> int:
        number = int(text)
        if not self.least <= number <= self.most:
            raise ValueError(f"expected a whole number from {self}")
        return number

    def __str__(self) -> str:
        return f"{self.least} to {self.most}"
