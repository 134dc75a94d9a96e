"""Translates Insights' commands to one SQL statement of SQLite. Pure.

Each command is a subquery of the one before. Until the first ``stats`` the columns of the event go along, and a name
that no command made is looked for in the message's JSON.
"""

# ruff: noqa: S608  names of columns are made here, and texts are quoted; nobody's words become SQL

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from skylift.localcloud.logs.insights.commands import (
    DedupCommand,
    FieldsCommand,
    FilterCommand,
    LimitCommand,
    ParseCommand,
    QueryCommand,
    SortCommand,
    StatsCommand,
    compiled,
)
from skylift.localcloud.logs.insights.functions import SCALARS
from skylift.localcloud.logs.insights.syntax import (
    FieldName,
    FunctionCall,
    ListOf,
    Literal,
    MalformedQuery,
    QueryExpression,
    RegexLiteral,
)

SYSTEM = {
    "@timestamp": "ts",
    "@ingestionTime": "ingested",
    "@message": "message",
    "@logStream": "stream",
    "@log": "log",
    "@ptr": "ptr",
}
_TIMES = frozenset({"@timestamp", "@ingestionTime"})
_COMPARISONS = {"=": "i_eq", "!=": "i_ne", "<": "i_lt", "<=": "i_le", ">": "i_gt", ">=": "i_ge"}
_PERIOD = re.compile(r"(\d+)\s*([a-z]+)")
_UNITS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "mo": 30 * 86_400_000,
    "q": 91 * 86_400_000,
    "y": 365 * 86_400_000,
}
_LONG_UNITS = {"second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "hr": "h", "day": "d", "week": "w"}
_AGGREGATES = {
    "count_distinct": "count(DISTINCT {0})",
    "sum": "sum(i_number({0}))",
    "avg": "avg(i_number({0}))",
    "stddev": "i_stddev({0})",
}


@dataclass
class CompiledQuery:
    """SQL over the table ``event``, and what its columns are.

    Attributes:
        columns: names that are shown, each with its SQL column.
        times: SQL columns that are times.
        counted: a statement that counts the events that the filters let through.
        over_events: whether a row is an event.
    """

    sql: str
    columns: list[tuple[str, str]]
    times: set[str]
    over_events: bool
    counted: str


@dataclass
class _Stage:
    sql: str = "SELECT ptr, ts, ingested, log, stream, message FROM event"
    names: dict[str, str] = field(default_factory=lambda: dict(SYSTEM))
    times: set[str] = field(default_factory=lambda: {SYSTEM[name] for name in _TIMES})
    over_events: bool = True
    ordered: bool = False
    made: int = 0
    shown: list[str] = field(default_factory=list)
    only: list[str] | None = None


def compile_query(commands: Sequence[QueryCommand], limit: int, now: int) -> CompiledQuery:
    """Translates. Raises ``MalformedQuery``.

    Args:
        limit: rows, if the query does not say.
        now: milliseconds since the epoch.
    """
    stage, filtered = _Stage(), ""
    compiler = _Compiler(stage, now)
    for command in commands:
        compiler.add(command)
        if stage.over_events and isinstance(command, FilterCommand):
            filtered = stage.sql
    limits = [one.rows for one in commands if isinstance(one, LimitCommand)]
    if stage.over_events and not stage.ordered:
        stage.sql = f"SELECT * FROM ({stage.sql}) ORDER BY ts DESC, ptr DESC"
    if not limits:
        stage.sql = f"SELECT * FROM ({stage.sql}) LIMIT {limit}"
    names = stage.only if stage.only is not None else stage.shown or list(_default(stage))
    columns = [(name, stage.names[name]) for name in dict.fromkeys(names)]
    counted = f"SELECT count(*) FROM ({filtered or 'SELECT 1 FROM event'})"
    return CompiledQuery(stage.sql, columns, stage.times, stage.over_events, counted)


def _default(stage: _Stage) -> Sequence[str]:
    return ("@timestamp", "@message") if stage.over_events else list(stage.names)


class _Compiler:
    def __init__(self, stage: _Stage, now: int) -> None:
        self._stage = stage
        self._now = now

    def add(self, command: QueryCommand) -> None:
        """Puts one command around what there is."""
        stage = self._stage
        if isinstance(command, FieldsCommand):
            names = [self._column(one.name, one.expression) for one in command.columns]
            if command.only:
                stage.only = names
            else:
                stage.shown += names
        elif isinstance(command, FilterCommand):
            stage.sql = f"SELECT * FROM ({stage.sql}) WHERE {self._sql(command.condition)}"
        elif isinstance(command, ParseCommand):
            self._parse(command)
        elif isinstance(command, StatsCommand):
            self._stats(command)
        elif isinstance(command, SortCommand):
            keys = [
                f"{self._sql(key)} {'DESC' if descending else 'ASC'} NULLS LAST" for key, descending in command.keys
            ]
            stage.sql, stage.ordered = f"SELECT * FROM ({stage.sql}) ORDER BY {', '.join(keys)}", True
        elif isinstance(command, LimitCommand):
            latest = " ORDER BY ts DESC, ptr DESC" if stage.over_events and not stage.ordered else ""
            stage.sql = f"SELECT * FROM ({stage.sql}){latest} LIMIT {command.rows}"
        else:
            self._dedup(command)

    def _column(self, name: str, expression: QueryExpression) -> str:
        """Adds a column unless it is there; returns its name."""
        stage = self._stage
        if isinstance(expression, FieldName) and expression.name in stage.names and name == expression.name:
            return name
        sql, time = self._sql(expression), self._is_time(expression)
        stage.made += 1
        column = f"c{stage.made}"
        stage.sql = f"SELECT *, {sql} AS {column} FROM ({stage.sql})"
        stage.names[name] = column
        if time:
            stage.times.add(column)
        return name

    def _parse(self, command: ParseCommand) -> None:
        stage = self._stage
        expression = compiled(command.regex)
        source, text = self._sql(command.source), _quoted(command.regex)
        made = list[str]()
        for number, name in enumerate(command.names, 1):
            group = expression.groupindex.get(name, number)
            stage.made += 1
            made.append(f"i_group({source}, {text}, {group}) AS c{stage.made}")
            stage.names[name] = f"c{stage.made}"
        stage.sql = f"SELECT *, {', '.join(made)} FROM ({stage.sql})"

    def _stats(self, command: StatsCommand) -> None:
        stage, names, times, made = self._stage, dict[str, str](), set[str](), list[str]()
        for number, one in enumerate([*command.by, *command.aggregates]):
            column = f"s{stage.made}_{number}"
            is_key = number < len(command.by)
            made.append(f"{self._sql(one.expression) if is_key else self._aggregate(one.expression)} AS {column}")
            names[one.name] = column
            if self._is_time(one.expression):
                times.add(column)
        keys = [f"s{stage.made}_{number}" for number in range(len(command.by))]
        grouped = f" GROUP BY {', '.join(keys)}" if keys else ""
        stage.sql = f"SELECT {', '.join(made)} FROM ({stage.sql}){grouped}"
        if keys:
            stage.sql += f" ORDER BY {', '.join(keys)}"
        stage.made += 1
        stage.names, stage.times, stage.over_events = names, times, False
        stage.ordered, stage.shown, stage.only = bool(keys), [], None

    def _dedup(self, command: DedupCommand) -> None:
        stage = self._stage
        keys = ", ".join(self._sql(key) for key in command.keys)
        there = " AND ".join(f"{self._sql(key)} IS NOT NULL" for key in command.keys)
        order = "" if stage.ordered or not stage.over_events else " ORDER BY ts DESC, ptr DESC"
        stage.made += 1
        place, rank = f"n{stage.made}", f"r{stage.made}"
        numbered = f"SELECT *, row_number() OVER () AS {place} FROM (SELECT * FROM ({stage.sql}){order})"
        window = f"row_number() OVER (PARTITION BY {keys} ORDER BY {place})"
        ranked = f"SELECT *, {window} AS {rank} FROM ({numbered}) WHERE {there}"
        stage.sql, stage.ordered = f"SELECT * FROM ({ranked}) WHERE {rank} = 1 ORDER BY {place}", True

    def _aggregate(self, expression: QueryExpression) -> str:
        if not isinstance(expression, FunctionCall):
            raise MalformedQuery("stats needs a function")
        name, given = expression.name, expression.arguments
        if name == "count" and (not given or given == (FieldName("*"),)):
            return "count(*)"
        if name in {"+", "-", "*", "/", "%", "^"}:
            inner = [str(one.value) if isinstance(one, Literal) else self._aggregate(one) for one in given]
            return f"i_arithmetic('{name}', {inner[0]}, {inner[1]})"
        arguments = [self._sql(one) for one in given]
        if name == "pct" and len(arguments) == 2:
            return f"i_pct({arguments[0]}, {arguments[1]})"
        if len(arguments) != 1:
            raise MalformedQuery(f"{name} takes one argument")
        (argument,) = arguments
        if name in {"min", "max"}:
            return f"{name}(coalesce(i_number({argument}), {argument}))"
        if name in {"earliest", "latest"}:
            if not self._stage.over_events:
                raise MalformedQuery(f"{name} needs events")
            way = "min" if name == "earliest" else "max"
            timed = f"printf('%020d', ts) || {argument}"
            return f"substr({way}(CASE WHEN {argument} IS NOT NULL THEN {timed} END), 21)"
        if name in {"sortsfirst", "sortslast"}:
            return f"{'min' if name == 'sortsfirst' else 'max'}({argument})"
        if name == "count":
            return f"count({argument})"
        if name not in _AGGREGATES:
            raise MalformedQuery(f"{name} is not a function of stats")
        return _AGGREGATES[name].format(argument)

    def _sql(self, expression: QueryExpression) -> str:
        if isinstance(expression, Literal):
            return _quoted(expression.value) if isinstance(expression.value, str) else repr(expression.value)
        if isinstance(expression, FieldName):
            return self._named(expression.name)
        if isinstance(expression, FunctionCall):
            return self._call(expression)
        raise MalformedQuery("a list or a regular expression cannot stand here")

    def _named(self, name: str) -> str:
        if name in self._stage.names:
            return self._stage.names[name]
        return f"i_json(message, {_quoted(name)})" if self._stage.over_events else "NULL"

    def _call(self, call: FunctionCall) -> str:
        name, given = call.name, call.arguments
        if name in {"and", "or"}:
            return f"({self._sql(given[0])} {name.upper()} {self._sql(given[1])})"
        if name == "not":
            return f"(NOT coalesce({self._sql(given[0])}, 0))"
        if name == "like":
            return self._like(given[0], given[1])
        if name == "in":
            if not isinstance(given[1], ListOf):
                raise MalformedQuery("in needs a list: [1, 2]")
            each = [f"i_eq({self._sql(given[0])}, {self._sql(one)})" for one in given[1].items]
            return f"({' OR '.join(each) or '0'})"
        if name in _COMPARISONS:
            return f"{_COMPARISONS[name]}({self._sql(given[0])}, {self._sql(given[1])})"
        if name in {"+", "-", "*", "/", "%", "^"}:
            return f"i_arithmetic('{name}', {self._sql(given[0])}, {self._sql(given[1])})"
        return self._function(name, given)

    def _function(self, name: str, given: Sequence[QueryExpression]) -> str:
        if name in {"bin", "datefloor", "dateceil"}:
            return self._floored(name, given)
        if name == "now":
            return str(self._now // 1000)
        if name in {"frommillis", "tomillis"} and len(given) == 1:
            return f"CAST(i_number({self._sql(given[0])}) AS INTEGER)"
        arguments = [self._sql(one) for one in given]
        if name == "coalesce" and len(arguments) > 1:
            return f"coalesce({', '.join(arguments)})"
        if name == "strcontains" and len(arguments) == 2:
            return f"i_contains({arguments[0]}, {arguments[1]})"
        count = SCALARS.get(f"i_{name}", (None,))[0]
        if count is None or (count >= 0 and count != len(arguments)) or not arguments:
            raise MalformedQuery(f"{name} is not a function, or takes other arguments")
        return f"i_{name}({', '.join(arguments)})"

    def _like(self, value: QueryExpression, pattern: QueryExpression) -> str:
        if isinstance(pattern, RegexLiteral):
            compiled(pattern.text)
            return f"i_matches({self._sql(value)}, {_quoted(pattern.text)})"
        if isinstance(pattern, Literal) and isinstance(pattern.value, str) and set("%_") & set(pattern.value):
            pieces = [{"%": ".*", "_": "."}.get(one, re.escape(one)) for one in pattern.value]
            anchored = f"(?s)^{''.join(pieces)}$"
            return f"i_matches({self._sql(value)}, {_quoted(anchored)})"
        return f"i_contains({self._sql(value)}, {self._sql(pattern)})"

    def _floored(self, name: str, given: Sequence[QueryExpression]) -> str:
        source = "ts" if name == "bin" else self._sql(given[0])
        period = given[-1] if given else None
        text = period.name if isinstance(period, FieldName) else ""
        match = _PERIOD.fullmatch(text)
        unit = match[2].removesuffix("s") if match is not None and len(match[2]) > 1 and match[2] != "ms" else ""
        unit = _LONG_UNITS.get(unit, match[2] if match is not None else "")
        if match is None or unit not in _UNITS or (name == "bin" and not self._stage.over_events):
            raise MalformedQuery(f"{name} needs a period such as 5m")
        width = int(match[1]) * _UNITS[unit]
        up = width - 1 if name == "dateceil" else 0
        return f"((CAST({source} AS INTEGER) + {up}) / {width} * {width})"

    def _is_time(self, expression: QueryExpression) -> bool:
        if isinstance(expression, FieldName):
            return self._stage.names.get(expression.name, "") in self._stage.times
        if not isinstance(expression, FunctionCall):
            return False
        if expression.name in {"bin", "datefloor", "dateceil", "frommillis"}:
            return True
        return expression.name in {"min", "max", "earliest", "latest", "sortsfirst", "sortslast"} and any(
            self._is_time(one) for one in expression.arguments
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("\0", "") + "'"
