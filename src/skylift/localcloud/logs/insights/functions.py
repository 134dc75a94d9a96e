"""The functions of Insights' language that SQLite lacks, in Python. Pure.

A value is a number, a text or nothing. Two values compare as numbers if both are some, else as texts; nothing compares
with nothing.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import statistics
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Value = str | float | int | None


def number(value: Value) -> float | int | None:
    """A value as a number."""
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            return None
        return found if math.isfinite(found) else None
    return value


class JsonFields:
    """Finds fields in messages that are JSON; the last message is remembered, as one row asks for several."""

    def __init__(self) -> None:
        self._message: str | None = None
        self._document: Any = None

    def __call__(self, message: str, name: str) -> Value:
        """A field's value, e.g. of ``request.path``."""
        if message != self._message:
            self._message, self._document = message, _document(message)
        return _shown(_found(self._document, name))


def _document(message: str) -> Any:
    begin = message.find("{")
    if begin < 0:
        return None
    try:
        return json.loads(message[begin:])
    except (ValueError, RecursionError):
        return None


def _found(value: Any, name: str) -> Any:
    if isinstance(value, list):
        head, _, rest = name.partition(".")
        inner = value[int(head)] if head.isdigit() and int(head) < len(value) else None
        return _found(inner, rest) if rest else inner
    if not isinstance(value, dict):
        return None
    if name in value:
        return value[name]
    head, _, rest = name.partition(".")
    return _found(value.get(head), rest) if rest else None


def _shown(value: Any) -> Value:
    if isinstance(value, bool):
        return int(value)
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[Value, Value], int | None]:
    def compare(left: Value, right: Value) -> int | None:
        if left is None or right is None:
            return None
        one, other = number(left), number(right)
        return int(test(one, other) if one is not None and other is not None else test(str(left), str(right)))

    return compare


@lru_cache(maxsize=64)
def _regex(text: str) -> re.Pattern[str]:
    return re.compile(text)


def matches(value: Value, text: str) -> int | None:
    """Whether a regular expression is found in a value."""
    return None if value is None else int(_regex(text).search(str(value)) is not None)


def contains(value: Value, text: str) -> int | None:
    """Whether a value contains a text."""
    return None if value is None else int(str(text) in str(value))


def group_of(value: Value, text: str, group: int) -> str | None:
    """What a group of a regular expression found in a value."""
    match = _regex(text).search(str(value)) if value is not None else None
    return match[group] if match is not None else None


def arithmetic(sign: str, left: Value, right: Value) -> float | int | None:
    """``+``, ``-``, ``*``, ``/``, ``%``, ``^``."""
    one, other = number(left), number(right)
    if one is None or other is None:
        return None
    try:
        found = _SIGNS[sign](one, other)
    except (ArithmeticError, ValueError):
        return None
    return int(found) if isinstance(found, float) and found.is_integer() and abs(found) < 1 << 53 else found


_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
    "%": math.fmod,
    "^": lambda one, other: float(one) ** other,
}


def _mathematics(function: Callable[[float], float]) -> Callable[[Value], float | int | None]:
    def call(value: Value) -> float | int | None:
        given = number(value)
        try:
            return None if given is None else function(given)
        except (ValueError, OverflowError):
            return None

    return call


def _textual(function: Callable[..., Value]) -> Callable[..., Value]:
    def call(value: Value, *more: Value) -> Value:
        return None if value is None else function(str(value), *more)

    return call


def _substr(text: str, begin: Value, length: Value = None) -> str:
    first = int(number(begin) or 0)
    return text[first:] if length is None else text[first : first + int(number(length) or 0)]


def _extreme(choose: Callable[..., Any]) -> Callable[..., Value]:
    def call(*values: Value) -> Value:
        numbers = [one for one in map(number, values) if one is not None]
        found: Value = choose(numbers) if numbers else None
        return found

    return call


def _blank(value: Value) -> int:
    return int(value is None or not str(value).strip())


SCALARS: dict[str, tuple[int, Callable[..., Value]]] = {
    "i_eq": (2, _compared(lambda one, other: one == other)),
    "i_ne": (2, _compared(lambda one, other: one != other)),
    "i_lt": (2, _compared(lambda one, other: one < other)),
    "i_le": (2, _compared(lambda one, other: one <= other)),
    "i_gt": (2, _compared(lambda one, other: one > other)),
    "i_ge": (2, _compared(lambda one, other: one >= other)),
    "i_matches": (2, matches),
    "i_contains": (2, contains),
    "i_group": (3, group_of),
    "i_arithmetic": (3, arithmetic),
    "i_number": (1, number),
    "i_abs": (1, _mathematics(abs)),
    "i_ceil": (1, _mathematics(math.ceil)),
    "i_floor": (1, _mathematics(math.floor)),
    "i_log": (1, _mathematics(math.log)),
    "i_sqrt": (1, _mathematics(math.sqrt)),
    "i_greatest": (-1, _extreme(max)),
    "i_least": (-1, _extreme(min)),
    "i_isempty": (1, lambda value: int(value is None or value == "")),
    "i_isblank": (1, _blank),
    "i_ispresent": (1, lambda value: int(value is not None)),
    "i_concat": (-1, lambda *values: "".join(str(one) for one in values if one is not None)),
    "i_strlen": (1, _textual(len)),
    "i_trim": (-1, _textual(lambda text, chars=None: text.strip(chars))),
    "i_ltrim": (-1, _textual(lambda text, chars=None: text.lstrip(chars))),
    "i_rtrim": (-1, _textual(lambda text, chars=None: text.rstrip(chars))),
    "i_toupper": (1, _textual(str.upper)),
    "i_tolower": (1, _textual(str.lower)),
    "i_substr": (-1, _textual(_substr)),
    "i_replace": (3, _textual(lambda text, old, new: text.replace(str(old), str(new)))),
}
"""By their names in SQL, with the number of their arguments (-1: any)."""


class Percentile:
    """``pct(field, 95)``: the value below which so many percent are, between two neighbours."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._percent = 50.0

    def step(self, value: Value, percent: Value) -> None:
        """One row."""
        given = number(value)
        if given is not None:
            self._values.append(float(given))
        self._percent = float(number(percent) or 0)

    def finalize(self) -> float | None:
        """The result."""
        if not self._values:
            return None
        ordered = sorted(self._values)
        place = (len(ordered) - 1) * min(max(self._percent, 0), 100) / 100
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class StandardDeviation:
    """``stddev(field)``, of a sample."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: Value) -> None:
        """One row."""
        given = number(value)
        if given is not None:
            self._values.append(float(given))

    def finalize(self) -> float | None:
        """The result."""
        if not self._values:
            return None
        return statistics.stdev(self._values) if len(self._values) > 1 else 0.0


def install(disk: sqlite3.Connection) -> None:
    """Makes the functions known to a connection."""
    for name, (count, function) in SCALARS.items():
        disk.create_function(name, count, function, deterministic=True)
    disk.create_function("i_json", 2, JsonFields())
    disk.create_aggregate("i_pct", 2, Percentile)  # type: ignore[arg-type]  # its finalize may give nothing
    disk.create_aggregate("i_stddev", 1, StandardDeviation)  # type: ignore[arg-type]  # as above
