"""Splits the expressions of JSON and space-delimited patterns into tokens, and holds the constants that they compare
with.

A constant is text (with ``*`` as a wildcard), a number, or a regular expression between percent signs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

MOST_REGEXES = 2
"""In one JSON or space-delimited pattern (user guide, "Filter pattern syntax")."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<operator>&&|\|\||!=|<=|>=|[=<>()])
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<regex>%[^%]+%)
    | (?P<selector>\$(?:\.?\[(?:\*|\d+|'[^']*'|"[^"]*")\]|\.(?:\*|[\w\-@:\#/+]+))+)
    | (?P<word>(?:\.\.\.|[^\s"%()=!<>&|,\[\]{}$])+)
    )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_IN_REGEX = re.compile(r"(?:\\x[0-9A-Fa-f]{2}|\\.|[A-Za-z0-9_#=@/;,:\-\s^$?\[\]{}|*+.])+")
_COMPARISONS = frozenset({"=", "!=", "<", ">", "<=", ">="})


class InvalidPattern(ValueError):
    """The text is not a pattern; the message is AWS's where it is known."""


class Token(NamedTuple):
    """One token: its kind (``operator``, ``string``, ``regex``, ``selector``, ``word``) and its text."""

    kind: str
    text: str


def tokens_of(text: str) -> list[Token]:
    """All tokens of an expression. Raises ``InvalidPattern``."""
    found, place = list[Token](), 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise InvalidPattern("Invalid filter pattern")
        found.append(Token(match.lastgroup, match[match.lastgroup]))
        place = match.end()
    return found


def compiled_regex(text: str) -> re.Pattern[str]:
    """The expression between two percent signs. Raises ``InvalidPattern`` for what AWS does not take in one."""
    inner = text[1:-1]
    if not _IN_REGEX.fullmatch(inner):
        raise InvalidPattern(f"Invalid character(s) in term '{text}'")
    try:
        return re.compile(inner, re.ASCII)
    except re.error as error:
        raise InvalidPattern(f"Invalid filter pattern: the regular expression {text} cannot be read: {error}") from None


@dataclass(frozen=True)
class Constant:
    """What a value is compared with.

    Attributes:
        text: as written, without quotes.
        number: the same as a number, if it is one and was not quoted.
        regex: the expression between percent signs.
    """

    text: str
    number: float | None = None
    regex: re.Pattern[str] | None = None

    @cached_property
    def wild(self) -> re.Pattern[str] | None:
        """The text as an expression, if it has wildcards."""
        if self.regex is not None or "*" not in self.text:
            return None
        return re.compile(".*".join(map(re.escape, self.text.split("*"))), re.DOTALL)

    @property
    def literal(self) -> str:
        """The longest piece of text that every equal value contains; empty: there is none."""
        return "" if self.regex is not None else max(self.text.split("*"), key=len)

    def equals_text(self, value: str) -> bool:
        """Whether a text is equal to it, as the wildcards and the regular expression say."""
        if self.regex is not None:
            return self.regex.search(value) is not None
        return value == self.text if self.wild is None else self.wild.fullmatch(value) is not None


def constant_of(token: Token) -> Constant:
    """The constant that a token is. Raises ``InvalidPattern``."""
    if token.kind == "string":
        return Constant(re.sub(r"\\(.)", r"\1", token.text[1:-1]))
    if token.kind == "regex":
        return Constant(token.text, regex=compiled_regex(token.text))
    if token.kind != "word":
        raise InvalidPattern("Invalid filter pattern")
    number = float(token.text) if _NUMBER.fullmatch(token.text) else None
    return Constant(token.text, number)


class PatternCondition(Protocol):
    """A part of an expression."""

    @property
    def needles(self) -> frozenset[str]:
        """Every event that matches contains one of these texts; empty: nothing is known."""
        ...

    @property
    def regexes(self) -> int:
        """How many regular expressions are in it."""
        ...

    def holds(self, event: Any) -> bool:
        """Whether an event fulfils it."""
        ...


@dataclass(frozen=True)
class AllOf(PatternCondition):
    """``&&``."""

    parts: tuple[PatternCondition, ...]

    @property
    def needles(self) -> frozenset[str]:
        """Those of the part that says most: the one with the longest needle."""
        known = [part.needles for part in self.parts if part.needles]
        return max(known, key=lambda needles: (-len(needles), max(map(len, needles)))) if known else frozenset()

    @property
    def regexes(self) -> int:
        """Of all parts."""
        return sum(part.regexes for part in self.parts)

    def holds(self, event: Any) -> bool:
        """Whether all do."""
        return all(part.holds(event) for part in self.parts)


@dataclass(frozen=True)
class AnyOf(PatternCondition):
    """``||``."""

    parts: tuple[PatternCondition, ...]

    @property
    def needles(self) -> frozenset[str]:
        """Those of all parts, if each has some."""
        known = [part.needles for part in self.parts]
        return frozenset().union(*known) if all(known) else frozenset()

    @property
    def regexes(self) -> int:
        """Of all parts."""
        return sum(part.regexes for part in self.parts)

    def holds(self, event: Any) -> bool:
        """Whether one does."""
        return any(part.holds(event) for part in self.parts)


class ExpressionParser:
    """Reads ``a && (b || c)``; what a single condition is, its user says.

    Args:
        tokens: of the whole expression.
        leaf: reads one condition from the front of the parser.
    """

    def __init__(self, tokens: Sequence[Token], leaf: Callable[[ExpressionParser], PatternCondition]) -> None:
        self._tokens = tokens
        self._leaf = leaf
        self._place = 0
        self._depth = 0

    def whole(self) -> PatternCondition:
        """The expression, up to its end. Raises ``InvalidPattern``."""
        found = self._any()
        if self._place < len(self._tokens):
            raise InvalidPattern("Invalid filter pattern")
        if found.regexes > MOST_REGEXES:
            raise InvalidPattern(f"Invalid filter pattern: more than {MOST_REGEXES} regular expressions")
        return found

    def peek(self) -> Token:
        """The next token; an empty one at the end."""
        return self._tokens[self._place] if self._place < len(self._tokens) else Token("", "")

    def take(self, *kinds: str) -> Token:
        """The next token, which must be of one of the kinds. Raises ``InvalidPattern``."""
        token = self.peek()
        if token.kind not in kinds:
            raise InvalidPattern("Invalid filter pattern")
        self._place += 1
        return token

    def comparison(self) -> str:
        """The next token, which must compare. Raises ``InvalidPattern``."""
        token = self.take("operator")
        if token.text not in _COMPARISONS:
            raise InvalidPattern("Invalid filter pattern")
        return token.text

    def _any(self) -> PatternCondition:
        parts = [self._all()]
        while self.peek() == Token("operator", "||"):
            self._place += 1
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> PatternCondition:
        parts = [self._one()]
        while self.peek() == Token("operator", "&&"):
            self._place += 1
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _one(self) -> PatternCondition:
        if self.peek() != Token("operator", "("):
            return self._leaf(self)
        self._place += 1
        self._depth += 1
        if self._depth > 50:
            raise InvalidPattern("Invalid filter pattern: it is nested too deeply")
        inner = self._any()
        self._depth -= 1
        if self.take("operator").text != ")":
            raise InvalidPattern("Invalid filter pattern")
        return inner


def number_of(text: str) -> float | None:
    """A text as a number, if it is one."""
    return float(text) if _NUMBER.fullmatch(text) else None


def compare(operator: str, left: float, right: float) -> bool:
    """An ordering comparison."""
    if operator == "<":
        return left < right
    if operator == ">":
        return left > right
    return left <= right if operator == "<=" else left >= right
