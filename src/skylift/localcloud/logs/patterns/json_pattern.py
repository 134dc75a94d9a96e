"""Patterns for messages that are JSON: ``{ ($.user.id = 1) && ($.tags[0] != "x*" || $.gone NOT EXISTS) }``.

A comparison with something that is not there is never true, whatever the operator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.localcloud.logs.patterns.lexer import (
    Constant,
    ExpressionParser,
    InvalidPattern,
    PatternCondition,
    compare,
    constant_of,
    number_of,
    tokens_of,
)

_STEP = re.compile(r"""\.?\[(?:(\*)|(\d+)|'([^']*)'|"([^"]*)")\]|\.(?:(\*)|([\w\-@:#/+]+))""")
_WORDS = {"TRUE": True, "FALSE": False, "NULL": None}
_LIKE_A_NUMBER = re.compile(r"[\d.eE+\-]*")
"""One number may be written in several ways."""
_NEEDLE = re.compile(r"[ !#-.0-\[\]-~]+")
"""Characters that JSON has no need to escape (``/`` may be)."""
ESCAPE = "\\u"
"""Any character may be escaped like this: a message that has one must always be looked at."""
_MOST_WILDCARDS = 1
"""In one selector (user guide, "Filter pattern syntax")."""

MISSING = object()
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # json.loads without its two looks for spaces
Steps = tuple[str | int | None, ...]
"""Keys, indexes, and ``None`` for a wildcard."""


class JsonSelector:
    """``$.a.b[0]``, ``$['a key']``, ``$.list[*].flag``."""

    def __init__(self, text: str) -> None:
        """Raises ``InvalidPattern``."""
        self.text = text
        steps = list[str | int | None]()
        place = 1
        while place < len(text):
            match = _STEP.match(text, place)
            if match is None:
                raise InvalidPattern("Invalid filter pattern")
            star, index, single, double, dot_star, name = match.groups()
            if star or dot_star:
                steps.append(None)
            elif index is not None:
                steps.append(int(index))
            else:
                steps.append(next(one for one in (single, double, name) if one is not None))
            place = match.end()
        self.steps: Steps = tuple(steps)
        self.wild = None in steps
        if self.steps.count(None) > _MOST_WILDCARDS:
            raise InvalidPattern("Invalid filter pattern: a selector may have one wildcard")

    @property
    def needle(self) -> str:
        """The longest key that the message must contain."""
        keys = [step for step in self.steps if isinstance(step, str) and _NEEDLE.fullmatch(step)]
        return max(keys, key=len, default="")

    def find(self, value: Any) -> Iterator[Any]:
        """All values that it selects."""
        return _found(value, self.steps)

    def only(self, value: Any) -> Any:
        """The value that it selects, if it has no wildcard; ``MISSING``: none. Quicker than ``find``."""
        try:
            for step in self.steps:
                if isinstance(step, str) is not isinstance(value, dict) or isinstance(value, str):
                    return MISSING
                value = value[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
        return value


def _found(value: Any, steps: Steps) -> Iterator[Any]:
    for number, step in enumerate(steps):
        if step is None:
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            for one in inner:
                yield from _found(one, steps[number + 1 :])
            return
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return
        elif not isinstance(value, list) or step >= len(value):
            return
        value = value[step]
    yield value


@dataclass(frozen=True)
class JsonComparison(PatternCondition):
    """``$.a = 1``."""

    selector: JsonSelector
    operator: str
    constant: Constant

    @property
    def needles(self) -> frozenset[str]:
        """The text that it must be equal to, or the key."""
        key, text = self.selector.needle, self.constant.literal
        if self.operator == "=" and _NEEDLE.fullmatch(text) and not _LIKE_A_NUMBER.fullmatch(text):
            key = text
        return frozenset({key, ESCAPE}) if key else frozenset()

    @property
    def regexes(self) -> int:
        """One, if the constant is one."""
        return int(self.constant.regex is not None)

    def holds(self, event: Any) -> bool:
        """Whether one of the selected values compares so."""
        if self.selector.wild:
            return any(self._compares(value) for value in self.selector.find(event))
        value = self.selector.only(event)
        return value is not MISSING and self._compares(value)

    def _compares(self, value: Any) -> bool:
        if isinstance(value, dict | list | bool) or value is None:
            return False
        if self.operator in {"=", "!="}:
            return self._equals(value) == (self.operator == "=")
        number = value if isinstance(value, int | float) else number_of(value)
        return number is not None and self.constant.number is not None and self._ordered(number, self.constant.number)

    def _ordered(self, number: float, constant: float) -> bool:
        return compare(self.operator, number, constant)

    def _equals(self, value: str | float) -> bool:
        if isinstance(value, str):
            return self.constant.equals_text(value)
        if self.constant.number is not None:
            return value == self.constant.number
        return self.constant.equals_text(json.dumps(value))


@dataclass(frozen=True)
class JsonState(PatternCondition):
    """``$.a IS TRUE``, ``IS NULL``, ``EXISTS``, ``NOT EXISTS``."""

    selector: JsonSelector
    word: str

    @property
    def needles(self) -> frozenset[str]:
        """The key, unless it must be missing."""
        key = self.selector.needle
        return frozenset({key, ESCAPE}) if key and self.word != "NOT EXISTS" else frozenset()

    @property
    def regexes(self) -> int:
        """None."""
        return 0

    def holds(self, event: Any) -> bool:
        """Whether what is selected is so."""
        values = list(self.selector.find(event))
        if self.word == "NOT EXISTS":
            return not values
        return bool(values) if self.word == "EXISTS" else any(value is _WORDS[self.word] for value in values)


@dataclass(frozen=True)
class JsonPattern:
    """An expression about a message's JSON object."""

    condition: PatternCondition
    selectors: tuple[JsonSelector, ...]

    @property
    def needles(self) -> frozenset[str]:
        """Every message that matches contains one of these texts; empty: nothing is known."""
        return self.condition.needles

    def matches(self, message: str) -> bool:
        """Whether a message is JSON and matches."""
        event = document_of(message)
        return event is not None and self.condition.holds(event)

    def values(self, message: str) -> Mapping[str, str]:
        """The selected values, as texts."""
        event = document_of(message)
        found = {one.text: next(one.find(event), None) for one in self.selectors}
        return {name: _shown(value) for name, value in found.items() if value is not None}


def document_of(message: str) -> Any:
    """A message's JSON object or array; ``None``: it is none."""
    if message[:1] not in {"{", "["} or message[-1:].isspace():
        message = message.strip()
        if message[:1] not in {"{", "["}:
            return None
    try:
        found, end = _scan(message, 0)
    except (ValueError, RecursionError, StopIteration):
        return None
    return found if end == len(message) else None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def parse_json(text: str) -> JsonPattern:
    """Reads such a pattern, with its braces. Raises ``InvalidPattern``."""
    if not text.endswith("}"):
        raise InvalidPattern("If a filter pattern starts with '{' it must end with '}'")
    selectors = list[JsonSelector]()

    def leaf(parser: ExpressionParser) -> PatternCondition:
        selector = JsonSelector(parser.take("selector").text)
        selectors.append(selector)
        token = parser.peek()
        if token.kind != "word":
            return JsonComparison(selector, parser.comparison(), constant_of(parser.take("string", "regex", "word")))
        word = parser.take("word").text.upper()
        if word in {"NOT", "IS"}:
            second = parser.take("word").text.upper()
            if word == "IS" and second in _WORDS:
                return JsonState(selector, second)
            word = f"{word} {second}"
        if word not in {"EXISTS", "NOT EXISTS"}:
            raise InvalidPattern("Invalid filter pattern")
        return JsonState(selector, word)

    condition = ExpressionParser(tokens_of(text[1:-1]), leaf).whole()
    return JsonPattern(condition, tuple(selectors))
