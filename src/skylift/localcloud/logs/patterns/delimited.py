"""Patterns for messages that are fields between spaces: ``[ip, user, ..., status = 4*, bytes > 1000]``.

A field may stand in quotation marks or square brackets. Without ``...`` a message must have exactly the fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skylift.localcloud.logs.patterns.lexer import (
    MOST_REGEXES,
    AllOf,
    Constant,
    ExpressionParser,
    InvalidPattern,
    PatternCondition,
    compare,
    constant_of,
    number_of,
    tokens_of,
)

_FIELD = re.compile(r'"([^"]*)"|\[([^\]]*)\]|(\S+)')
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|%[^%]*%|[^,"%]+|["%]')
_NAME = re.compile(r"[\w\-.]+")
REST = "..."


@dataclass(frozen=True)
class FieldComparison(PatternCondition):
    """``status = 4*``, about the field's text."""

    operator: str
    constant: Constant

    @property
    def needles(self) -> frozenset[str]:
        """The text that it must be equal to; numbers may be written in several ways."""
        text = self.constant.literal
        return frozenset({text}) if self.operator == "=" and self.constant.number is None and text else frozenset()

    @property
    def regexes(self) -> int:
        """One, if the constant is one."""
        return int(self.constant.regex is not None)

    def holds(self, event: str) -> bool:
        """Whether a field compares so."""
        if self.operator in {"=", "!="}:
            return self._equals(event) == (self.operator == "=")
        number = number_of(event)
        if number is None or self.constant.number is None:
            return False
        return compare(self.operator, number, self.constant.number)

    def _equals(self, text: str) -> bool:
        number = number_of(text) if self.constant.number is not None else None
        return number == self.constant.number if number is not None else self.constant.equals_text(text)


@dataclass(frozen=True)
class FieldSpec:
    """One field of the pattern: its name, and what it must be."""

    name: str
    condition: PatternCondition | None = None


@dataclass(frozen=True)
class DelimitedPattern:
    """Fields in order; ``rest`` is the place of ``...``, or -1."""

    fields: tuple[FieldSpec, ...]
    rest: int

    @property
    def needles(self) -> frozenset[str]:
        """Every message that matches contains one of these texts; empty: nothing is known."""
        return AllOf(tuple(one.condition for one in self.fields if one.condition is not None)).needles

    def matches(self, message: str) -> bool:
        """Whether a message has such fields."""
        values = self._aligned(fields_of(message))
        return values is not None and all(
            one.condition is None or one.condition.holds(value) for one, value in zip(self.fields, values, strict=True)
        )

    def values(self, message: str) -> Mapping[str, str]:
        """The fields by name; one without a name is called by its number."""
        found = fields_of(message)
        values = self._aligned(found)
        if values is None:
            return {}
        return {
            f"${one.name or number}": value
            for number, (one, value) in enumerate(zip(self.fields, values, strict=True), 1)
        }

    def _aligned(self, values: Sequence[str]) -> Sequence[str] | None:
        """The values of our fields, without those of ``...``; ``None``: their number differs."""
        if self.rest < 0:
            return values if len(values) == len(self.fields) else None
        after = len(self.fields) - self.rest
        if len(values) < len(self.fields):
            return None
        return [*values[: self.rest], *(values[len(values) - after :] if after else ())]


def fields_of(message: str) -> list[str]:
    """A message's fields."""
    return [next(one for one in match.groups() if one is not None) for match in _FIELD.finditer(message)]


def parse_delimited(text: str) -> DelimitedPattern:
    """Reads such a pattern, with its brackets. Raises ``InvalidPattern``."""
    if not text.endswith("]"):
        raise InvalidPattern("If a filter pattern starts with '[' it must end with ']'")
    fields, rest = list[FieldSpec](), -1
    for piece in _split(text[1:-1]):
        if piece.strip() != REST:
            fields.append(_field(piece.strip()))
        elif rest >= 0:
            raise InvalidPattern("Invalid filter pattern: more than one ellipsis")
        else:
            rest = len(fields)
    if sum(one.condition.regexes for one in fields if one.condition is not None) > MOST_REGEXES:
        raise InvalidPattern(f"Invalid filter pattern: more than {MOST_REGEXES} regular expressions")
    return DelimitedPattern(tuple(fields), rest)


def _split(text: str) -> list[str]:
    """At the commas outside of quotation marks and regular expressions."""
    pieces, place = [""], 0
    while place < len(text):
        match = _PIECE.match(text, place)
        if match is None:  # a comma
            pieces.append("")
            place += 1
        else:
            pieces[-1] += match[0]
            place = match.end()
    return pieces


def _field(text: str) -> FieldSpec:
    if not text or _NAME.fullmatch(text):
        return FieldSpec(text)
    names = set[str]()

    def leaf(parser: ExpressionParser) -> PatternCondition:
        names.add(parser.take("word").text)
        return FieldComparison(parser.comparison(), constant_of(parser.take("string", "regex", "word")))

    condition = ExpressionParser(tokens_of(text), leaf).whole()
    if len(names) > 1:
        raise InvalidPattern("Invalid filter pattern")
    return FieldSpec(names.pop(), condition)
