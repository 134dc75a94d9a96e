"""Patterns of terms: ``ERROR "two words" -debug``, ``?WARN ?ERROR``, ``%5[0-9]{2}%``; case counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from skylift.localcloud.logs.patterns.lexer import InvalidPattern, compiled_regex

_TERM = re.compile(
    r'\s*(?P<sign>[?\-]?)(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<regex>%[^%]+%)|(?P<word>[^\s"%]+))(?=\s|$)'
)
_WORD = re.compile(r"\w+")
"""Terms with other characters must stand in double quotation marks."""


@dataclass(frozen=True)
class Term:
    """One term: a text that a message contains, or a regular expression that is found in it."""

    text: str
    regex: re.Pattern[str] | None = None

    def is_in(self, message: str) -> bool:
        """Whether a message has it."""
        return self.text in message if self.regex is None else self.regex.search(message) is not None


@dataclass(frozen=True)
class TermsPattern:
    """All of ``wanted``, none of ``unwanted``; or any of ``either``, which counts only when it stands alone."""

    wanted: tuple[Term, ...]
    either: tuple[Term, ...]
    unwanted: tuple[Term, ...]

    @cached_property
    def needles(self) -> frozenset[str]:
        """Every message that matches contains one of these texts; empty: nothing is known."""
        if self._alone:
            known = [term.text for term in self.either if term.regex is None]
            return frozenset(known) if len(known) == len(self.either) else frozenset()
        known = [term.text for term in self.wanted if term.regex is None]
        return frozenset({max(known, key=len)}) if known else frozenset()

    def matches(self, message: str) -> bool:
        """Whether a message matches."""
        if self._alone:
            return any(term.is_in(message) for term in self.either)
        return all(term.is_in(message) for term in self.wanted) and not any(
            term.is_in(message) for term in self.unwanted
        )

    def values(self, message: str) -> Mapping[str, str]:  # noqa: ARG002  as in FilterPattern
        """Terms have no fields."""
        return {}

    @property
    def _alone(self) -> bool:
        """``?`` together with other terms is ignored (user guide, "Filter pattern syntax")."""
        return bool(self.either) and not self.wanted and not self.unwanted


def parse_terms(text: str) -> TermsPattern:
    """Reads such a pattern. Raises ``InvalidPattern``."""
    by_sign: dict[str, list[Term]] = {"": [], "?": [], "-": []}
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TERM.match(text, place)
        if match is None:
            raise InvalidPattern(f"Invalid character(s) in term '{text[place:].split()[0]}'")
        by_sign[match["sign"]].append(_term(match))
        place = match.end()
    return TermsPattern(tuple(by_sign[""]), tuple(by_sign["?"]), tuple(by_sign["-"]))


def _term(match: re.Match[str]) -> Term:
    if match["regex"]:
        return Term(match["regex"], compiled_regex(match["regex"]))
    if match["word"] is None:
        text = re.sub(r"\\(.)", r"\1", match["quoted"])
        if not text:
            raise InvalidPattern("Invalid filter pattern: Invalid character(s) in term '\"\"'")
        return Term(text)
    if not _WORD.fullmatch(match["word"]):
        raise InvalidPattern(f"Invalid character(s) in term '{match['word']}'")
    return Term(match["word"])
