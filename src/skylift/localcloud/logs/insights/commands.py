"""Insights' commands: a query's text becomes a list of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from skylift.localcloud.logs.insights.syntax import (
    FieldName,
    FunctionCall,
    Literal,
    MalformedQuery,
    QueryExpression,
    QueryWords,
    RegexLiteral,
    words_of,
)

MOST_ROWS = 100_000
_NOT_SERVED = frozenset({"pattern", "diff", "anomaly", "unnest", "unmask", "lookup", "join", "source", "filterindex"})
_GROUP = re.compile(r"\(\?<([A-Za-z]\w*)>")


@dataclass(frozen=True)
class NamedColumn:
    """An expression and the name of its column."""

    name: str
    expression: QueryExpression


@dataclass(frozen=True)
class FieldsCommand:
    """``fields`` (adds columns), or ``display`` (shows only these)."""

    columns: tuple[NamedColumn, ...]
    only: bool


@dataclass(frozen=True)
class FilterCommand:
    """``filter``."""

    condition: QueryExpression


@dataclass(frozen=True)
class ParseCommand:
    """``parse``: a regular expression with named groups, on a field."""

    source: QueryExpression
    regex: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class StatsCommand:
    """``stats ... by ...``."""

    aggregates: tuple[NamedColumn, ...]
    by: tuple[NamedColumn, ...]


@dataclass(frozen=True)
class SortCommand:
    """``sort``: expressions, and whether each descends."""

    keys: tuple[tuple[QueryExpression, bool], ...]


@dataclass(frozen=True)
class LimitCommand:
    """``limit``."""

    rows: int


@dataclass(frozen=True)
class DedupCommand:
    """``dedup``: the first row of each."""

    keys: tuple[QueryExpression, ...]


QueryCommand = FieldsCommand | FilterCommand | ParseCommand | StatsCommand | SortCommand | LimitCommand | DedupCommand


def parse_query(text: str) -> list[QueryCommand]:
    """Reads a query. Raises ``MalformedQuery``."""
    pieces, depth = [[]], 0  # type: ignore[var-annotated]  # of words
    for word in words_of(text):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(word.text, 0) if word.kind == "sign" else 0
        if word.kind == "sign" and word.text == "|" and not depth:
            pieces.append([])
        else:
            pieces[-1].append(word)
    if not any(pieces):
        raise MalformedQuery("the query is empty")
    return [_command(QueryWords(words, text)) for words in pieces if words]


def _command(words: QueryWords) -> QueryCommand:
    word = words.peek()
    verb = words.name().lower()
    if verb in _NOT_SERVED:
        raise MalformedQuery(f"the command {verb} is not served here (at position {word.place + 1})")
    read = _VERBS.get(verb)
    if read is None:
        raise MalformedQuery(f"unexpected symbol found {word.text} at position {word.place + 1}")
    command = read(words)
    if not words.ended:
        raise words.unexpected()
    return command


def _named(words: QueryWords) -> tuple[NamedColumn, ...]:
    """``expression [as name], ...``."""
    found = list[NamedColumn]()
    while True:
        begin = words.peek().place
        expression = words.expression()
        written = words.between(begin)
        name = words.name() if words.takes("as") else _shown(expression, written)
        found.append(NamedColumn(name, expression))
        if not words.takes(","):
            return tuple(found)


def _shown(expression: QueryExpression, written: str) -> str:
    return expression.name if isinstance(expression, FieldName) else written


def _fields(words: QueryWords) -> FieldsCommand:
    return FieldsCommand(_named(words), only=False)


def _display(words: QueryWords) -> FieldsCommand:
    return FieldsCommand(_named(words), only=True)


def _filter(words: QueryWords) -> FilterCommand:
    return FilterCommand(words.expression())


def _stats(words: QueryWords) -> StatsCommand:
    aggregates = _named(words)
    for one in aggregates:
        if not isinstance(one.expression, FunctionCall):
            raise MalformedQuery(f"stats needs a function: {one.name}")
    return StatsCommand(aggregates, _named(words) if words.takes("by") else ())


def _sort(words: QueryWords) -> SortCommand:
    keys = list[tuple[QueryExpression, bool]]()
    while True:
        key = words.expression()
        descending = words.takes("desc") or not words.takes("asc")
        keys.append((key, descending))
        if not words.takes(","):
            return SortCommand(tuple(keys))


def _limit(words: QueryWords) -> LimitCommand:
    word = words.next()
    if word.kind != "number" or not word.text.isdigit() or not 1 <= int(word.text) <= MOST_ROWS:
        raise MalformedQuery(f"limit must be between 1 and {MOST_ROWS}")
    return LimitCommand(int(word.text))


def _dedup(words: QueryWords) -> DedupCommand:
    return DedupCommand(tuple(one.expression for one in _named(words)))


def _parse(words: QueryWords) -> ParseCommand:
    source: QueryExpression = FieldName("@message")
    if words.peek().kind in {"name", "quoted"}:
        source = FieldName(words.name())
    pattern = words.expression()
    if isinstance(pattern, RegexLiteral):
        regex = _GROUP.sub(r"(?P<\1>", pattern.text)
        names = tuple(compiled(regex).groupindex)
        if not names:
            raise MalformedQuery("parse: the regular expression has no named group, as in (?<name>...)")
        return ParseCommand(source, regex, names)
    if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
        raise words.unexpected()
    words.wants("as")
    names = tuple(one.name for one in _named(words))
    pieces = pattern.value.split("*")
    if len(pieces) - 1 != len(names):
        raise MalformedQuery(f"parse: {len(pieces) - 1} wildcards, but {len(names)} names")
    return ParseCommand(source, _glob(pieces), names)


def _glob(pieces: list[str]) -> str:
    """The expression of a pattern with wildcards: each is as short as can be, the last one at an end as long."""
    text = re.escape(pieces[0])
    for number, piece in enumerate(pieces[1:], 1):
        last = number == len(pieces) - 1
        text += "(.*)$" if last and not piece else f"(.*?){re.escape(piece)}"
    return f"(?s){text}"


def compiled(text: str) -> re.Pattern[str]:
    """A regular expression. Raises ``MalformedQuery``."""
    try:
        return re.compile(text)
    except re.error as error:
        raise MalformedQuery(f"the regular expression /{text}/ cannot be read: {error}") from None


_VERBS: Mapping[str, Callable[[QueryWords], QueryCommand]] = {
    "fields": _fields,
    "display": _display,
    "filter": _filter,
    "parse": _parse,
    "stats": _stats,
    "sort": _sort,
    "limit": _limit,
    "dedup": _dedup,
}
