"""Texts of IAM policies that stand for many: ``*``, ``?``, and policy variables such as ``${aws:username}``.

A variable's value stands for itself: a ``*`` in it is no wildcard. A variable without a value (and without a default)
makes the whole text match nothing. In an ARN, a wildcard stays within its part; only in the last part (the resource's
name, which may have colons) it may match anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

ContextValues = str | tuple[str, ...]
"""The value of a context key; a tuple for keys that have several."""

Context = Mapping[str, ContextValues]
"""The context of a request: keys in lower case."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"\s*([^,]*?)\s*,\s*'([^']*)'\s*")
_ESCAPED = frozenset("*?$")
_ARN_COLONS = 5


class Spelling(Enum):
    """What a text is, which decides how it is compared."""

    ACTION = auto()
    """The case does not count."""
    ARN = auto()
    """A wildcard does not cross the parts of an ARN."""
    TEXT = auto()


@dataclass(frozen=True)
class _Variable:
    """``${key}`` or ``${key, 'default'}``."""

    key: str
    default: str | None

    def value(self, context: Context) -> str | None:
        """Its text in a request; ``None`` if there is none, or more than one."""
        found = context.get(self.key)
        if isinstance(found, tuple):
            return None
        return self.default if found is None else found


class _Wildcard(Enum):
    """What stands for other letters."""

    MANY = "*"
    ONE = "?"


_Token = str | _Variable | _Wildcard


class Pattern:
    """One text of a policy, prepared for many comparisons."""

    __slots__ = ("_fixed", "_flags", "_tokens", "_within", "text")

    def __init__(self, text: str, spelling: Spelling = Spelling.TEXT, *, variables: bool = True) -> None:
        """``variables``: whether ``${...}`` means anything (not in policies of version 2008-10-17)."""
        self.text = text
        self._flags = re.DOTALL | (re.IGNORECASE if spelling is Spelling.ACTION else 0)
        self._tokens = _tokens(text, variables)
        self._within = spelling is Spelling.ARN and text.startswith("arn:")
        plain = not any(isinstance(one, _Variable) for one in self._tokens)
        self._fixed = self._compile({}) if plain else None

    def matches(self, value: str, context: Context) -> bool:
        """Whether the text stands for this value, in a request with this context."""
        pattern = self._fixed or self._compile(context)
        return pattern is not None and pattern.fullmatch(value) is not None

    def equals(self, value: str, context: Context, *, ignore_case: bool = False) -> bool:
        """Whether the text, with its variables filled in, is this value. ``*`` and ``?`` are letters here."""
        words: list[str] = []
        for token in self._tokens:
            word = _word(token, context)
            if word is None:
                return False
            words.append(word)
        text = "".join(words)
        return text.casefold() == value.casefold() if ignore_case else text == value

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def _compile(self, context: Context) -> re.Pattern[str] | None:
        parts, colons = [], 0
        for number, token in enumerate(self._tokens, 1):
            if isinstance(token, _Wildcard):
                last = colons >= _ARN_COLONS or (token is _Wildcard.MANY and number == len(self._tokens))
                letter = "[^:]" if self._within and not last else "."
                parts.append(letter + ("*" if token is _Wildcard.MANY else ""))
                continue
            word = _word(token, context)
            if word is None:
                return None
            colons += word.count(":")
            parts.append(re.escape(word))
        return re.compile("".join(parts), self._flags)


def _word(token: _Token, context: Context) -> str | None:
    if isinstance(token, _Variable):
        return token.value(context)
    return token.value if isinstance(token, _Wildcard) else token


def _tokens(text: str, variables: bool) -> tuple[_Token, ...]:
    found: list[_Token] = []
    end = 0
    for match in _VARIABLE.finditer(text) if variables else ():
        found += _split(text[end : match.start()])
        inner = match[1].strip()
        if inner in _ESCAPED:
            found.append(inner)
        else:
            default = _DEFAULT.fullmatch(match[1])
            found.append(_Variable((default[1] if default else inner).lower(), default[2] if default else None))
        end = match.end()
    return (*found, *_split(text[end:]))


def _split(text: str) -> list[_Token]:
    parts = re.split(r"([*?])", text)
    return [_Wildcard(part) if part in {"*", "?"} else part for part in parts if part]
