"""The words of Insights' query language, and its expressions as trees. Pure.

A query is commands between ``|``: ``fields``, ``display``, ``filter``, ``parse``, ``stats``, ``sort``, ``limit``,
``dedup``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class MalformedQuery(ValueError):
    """The text is not a query, or one that is not served; the message says where and why."""


class Word(NamedTuple):
    """One token: ``name``, ``quoted`` (a name between backticks), ``text``, ``number``, ``regex`` or ``sign``."""

    kind: str
    text: str
    place: int


@dataclass(frozen=True)
class Literal:
    """A number or a text."""

    value: str | float | int


@dataclass(frozen=True)
class RegexLiteral:
    """``/.../``."""

    text: str


@dataclass(frozen=True)
class FieldName:
    """``@message``, ``status``, ``request.path``."""

    name: str


@dataclass(frozen=True)
class FunctionCall:
    """A function, an operator (named by its sign) or an aggregate; ``text`` is how it was written."""

    name: str
    arguments: tuple[QueryExpression, ...]
    text: str = ""


@dataclass(frozen=True)
class ListOf:
    """``[1, 2, 3]``."""

    items: tuple[QueryExpression, ...]


QueryExpression = Literal | RegexLiteral | FieldName | FunctionCall | ListOf

_WORD = re.compile(
    r"""\s*(?:\#[^\n]*(?:\n|$)\s*)*(?:
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<quoted>`[^`]+`)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w]))
    | (?P<name>[@A-Za-z_][\w]*(?:\.[\w@$\-]*[\w@$])*|\d+[a-z]+)
    | (?P<sign>=~|!=|<=|>=|[|,()\[\]=<>+\-*/^%])
    )""",
    re.VERBOSE,
)
_REGEX = re.compile(r"\s*/((?:[^/\\\n]|\\.)+)/")


def words_of(query: str) -> list[Word]:
    """All tokens. Raises ``MalformedQuery``."""
    found, place, end = list[Word](), 0, len(query.rstrip())
    while place < end:
        match = _WORD.match(query, place)
        before = found[-1].text.lower() if found else ""
        in_parse = _in_parse(found)
        if before in {"like", "=~"} or (in_parse and _REGEX.match(query, place) and before != ")"):
            regex = _REGEX.match(query, place)
            if regex is not None:
                found.append(Word("regex", regex[1], place))
                place = regex.end()
                continue
        if match is None or match.lastgroup is None:
            if not query[place:].strip() or query[place:].lstrip().startswith("#"):
                return found
            raise MalformedQuery(f"unexpected symbol found {query[place:].split()[0]} at position {place + 1}")
        found.append(Word(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        place = match.end()
    return found


def _in_parse(found: Sequence[Word]) -> bool:
    """Whether the next word may be the regular expression of ``parse``."""
    for back, word in enumerate(reversed(found)):
        if word.text == "|" or back > 2:
            return False
        if word.text.lower() == "parse":
            return True
    return False


class QueryWords:
    """The words of one command, read from the front."""

    def __init__(self, words: Sequence[Word], query: str) -> None:
        self._words = words
        self._query = query
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether all were read."""
        return self._at >= len(self._words)

    def peek(self) -> Word:
        """The next one; an empty one at the end."""
        return Word("", "", len(self._query)) if self.ended else self._words[self._at]

    def next(self) -> Word:
        """Takes the next one. Raises ``MalformedQuery``."""
        word = self.peek()
        if self.ended:
            raise MalformedQuery("unexpected end of the query")
        self._at += 1
        return word

    def takes(self, *texts: str) -> bool:
        """Takes the next word if it is one of these."""
        if self.peek().kind not in {"text", "quoted"} and self.peek().text.lower() in texts:
            self._at += 1
            return True
        return False

    def wants(self, text: str) -> None:
        """Takes the next word, which must be this one. Raises ``MalformedQuery``."""
        if not self.takes(text):
            raise self.unexpected()

    def unexpected(self) -> MalformedQuery:
        """The error for the next word."""
        word = self.peek()
        if self.ended:
            return MalformedQuery("unexpected end of the query")
        return MalformedQuery(f"unexpected symbol found {word.text} at position {word.place + 1}")

    def name(self) -> str:
        """A name. Raises ``MalformedQuery``."""
        word = self.peek()
        if word.kind not in {"name", "quoted"}:
            raise self.unexpected()
        self._at += 1
        return word.text.strip("`")

    def between(self, begin: int) -> str:
        """The text from a place to the last word that was read."""
        last = self._words[self._at - 1]
        return self._query[begin : last.place + len(last.text)]

    # Expressions, from the loosest to the tightest.

    def expression(self) -> QueryExpression:
        """``a or b``."""
        left = self._and()
        while self.takes("or"):
            left = FunctionCall("or", (left, self._and()))
        return left

    def _and(self) -> QueryExpression:
        left = self._not()
        while self.takes("and"):
            left = FunctionCall("and", (left, self._not()))
        return left

    def _not(self) -> QueryExpression:
        return FunctionCall("not", (self._not(),)) if self.takes("not") else self._comparison()

    def _comparison(self) -> QueryExpression:
        left = self._sum()
        negated = self.takes("not")
        if self.takes("like", "=~"):
            found: QueryExpression = FunctionCall("like", (left, self._sum()))
        elif self.takes("in"):
            found = FunctionCall("in", (left, self._sum()))
        elif negated:
            raise self.unexpected()
        else:
            sign = self.peek().text
            if self.peek().kind != "sign" or not self.takes("=", "!=", "<", "<=", ">", ">="):
                return left
            found = FunctionCall(sign, (left, self._sum()))
        return FunctionCall("not", (found,)) if negated else found

    def _sum(self) -> QueryExpression:
        left = self._product()
        while self.peek().kind == "sign" and self.peek().text in {"+", "-"}:
            left = FunctionCall(self.next().text, (left, self._product()))
        return left

    def _product(self) -> QueryExpression:
        left = self._power()
        while self.peek().kind == "sign" and self.peek().text in {"*", "/", "%"}:
            left = FunctionCall(self.next().text, (left, self._power()))
        return left

    def _power(self) -> QueryExpression:
        left = self._unary()
        return FunctionCall("^", (left, self._power())) if self.takes("^") else left

    def _unary(self) -> QueryExpression:
        if self.takes("-"):
            return FunctionCall("-", (Literal(0), self._unary()))
        return self._primary()

    def _primary(self) -> QueryExpression:
        word = self.next()
        if word.kind == "number":
            return Literal(float(word.text) if re.search(r"[.eE]", word.text) else int(word.text))
        if word.kind == "text":
            return Literal(re.sub(r"\\(.)", r"\1", word.text[1:-1]))
        if word.kind == "regex":
            return RegexLiteral(word.text)
        if word.kind == "quoted":
            return FieldName(word.text.strip("`"))
        if word.text == "(":
            inner = self.expression()
            self.wants(")")
            return inner
        if word.text == "[":
            return ListOf(tuple(self._items("]")))
        if word.kind != "name":
            self._at -= 1
            raise self.unexpected()
        if not self.takes("("):
            return FieldName(word.text)
        arguments = tuple(self._items(")"))
        return FunctionCall(word.text.lower(), arguments, self.between(word.place))

    def _items(self, end: str) -> list[QueryExpression]:
        items = list[QueryExpression]()
        if self.takes(end):
            return items
        while True:
            star = self.peek().text == "*" and self.peek().kind == "sign"
            items.append(FieldName(self.next().text) if star else self.expression())
            if self.takes(end):
                return items
            self.wants(",")
