"""Operations of Insights: StartQuery, GetQueryResults, StopQuery, DescribeQueries, GetLogRecord, GetLogGroupFields.

A query reads its events into a temporary database on disk, in a thread, and runs there as one SQL statement. Its result
is kept for a day, in memory; of finished queries the last ``MOST_KEPT``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from skylift.localcloud.logs.batches import LogBatch, Place
from skylift.localcloud.logs.events import EventOperations
from skylift.localcloud.logs.insights.commands import MOST_ROWS, parse_query
from skylift.localcloud.logs.insights.compiler import CompiledQuery, compile_query
from skylift.localcloud.logs.insights.functions import Value, install
from skylift.localcloud.logs.insights.syntax import MalformedQuery
from skylift.localcloud.logs.operations import Request, name_of
from skylift.localcloud.logs.patterns.json_pattern import document_of
from skylift.localcloud.logs.put_rules import invalid
from skylift.localcloud.logs.reading import EventRange, read_all, read_page_before
from skylift.localcloud.logs.store import LogGroup
from skylift.localcloud.logs.tokens import digits_of, page_token, page_words, place_of
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

MOST_KEPT, MOST_RUNNING = 100, 30
DEFAULT_ROWS, PAGE_ROWS = 10_000, 10_000
_SAMPLED = 1_000
_AT_ONCE = 5_000
_STEPS = 20_000
"""Of SQLite's machine, between two looks whether a query was stopped."""

Row = list[dict[str, str]]


@dataclass
class LogQuery:
    """One query."""

    id: str
    text: str
    group: str
    created: int
    status: str = "Running"
    rows: list[Row] = field(default_factory=list)
    statistics: dict[str, float] = field(default_factory=dict)
    ended: int = 0
    task: asyncio.Task[None] | None = None
    stopped: bool = False


class QueryOperations(EventOperations):
    """Insights."""

    queries: dict[str, LogQuery]

    def start_query(self, caller: Caller, request: Request) -> Request:
        """Begins a query; a query that cannot be read is refused."""
        if request.get("queryLanguage", "CWLI") != "CWLI":
            raise invalid("Only the query language CWLI is served here.")
        groups = self._queried(request)
        if request["startTime"] > request["endTime"]:
            raise invalid("End time should not be before start time.")
        try:
            commands = parse_query(request["queryString"])
            query = compile_query(commands, request.get("limit", DEFAULT_ROWS), self.store.now())
        except MalformedQuery as error:
            raise AwsError("MalformedQueryException", str(error)) from None
        if sum(one.status == "Running" for one in self.queries.values()) >= MOST_RUNNING:
            raise AwsError("LimitExceededException", f"There are {MOST_RUNNING} queries running already.")
        made = LogQuery(str(uuid.uuid4()), request["queryString"], groups[0].name, self.store.now())
        self.queries[made.id] = made
        begin, end = _milliseconds(request["startTime"]), _milliseconds(request["endTime"], last=True)
        ranges = [
            (f"{caller.account}:{one.name}", EventRange(one.id, one.widest, None, self._start(one, begin), end))
            for one in groups
        ]
        made.task = asyncio.ensure_future(self._run(made, query, ranges))
        self._forget_old()
        return {"queryId": made.id}

    def get_query_results(self, _caller: Caller, request: Request) -> Request:
        """What there is so far: nothing until it has ended."""
        found = self._query(request["queryId"])
        question, most = ["query", found.id], request.get("maxItems") or PAGE_ROWS
        skip = int(page_words(request["nextToken"], question)["skip"]) if request.get("nextToken") else 0
        page = found.rows[skip : skip + most]
        more = skip + most < len(found.rows)
        return {
            "queryLanguage": "CWLI",
            "results": page,
            "statistics": {"logGroupsScanned": 1.0, **found.statistics, "resultCount": float(len(found.rows))},
            "status": found.status,
            "nextToken": page_token({"skip": skip + most}, question) if more else None,
        }

    def stop_query(self, _caller: Caller, request: Request) -> Request:
        """Ends a running one."""
        found = self._query(request["queryId"])
        if found.status != "Running":
            raise invalid(f"Query is not running: {found.id} has status {found.status}.")
        found.stopped, found.status = True, "Cancelled"
        return {"success": True}

    def describe_queries(self, _caller: Caller, request: Request) -> Request:
        """The latest first."""
        wanted = {"logGroupName": request.get("logGroupName"), "status": request.get("status")}
        shown = [
            {
                "queryLanguage": "CWLI",
                "queryId": one.id,
                "queryString": one.text,
                "status": one.status,
                "createTime": one.created,
                "logGroupName": one.group,
                "queryDuration": (one.ended or self.store.now()) - one.created,
                "bytesScanned": one.statistics.get("bytesScanned", 0.0),
            }
            for one in reversed(self.queries.values())
        ]
        found = [one for one in shown if all(value in {None, one[name]} for name, value in wanted.items())]
        return {"queries": found[: request.get("maxResults", 1000)]}

    async def get_log_record(self, caller: Caller, request: Request) -> Request:
        """One event, by its pointer (``@ptr``)."""
        place = place_of(request["logRecordPointer"])
        sql = "SELECT id, stream, ingested, times, ends, text, log_group FROM batch WHERE id = ?"

        def read(disk: sqlite3.Connection) -> dict[str, str] | None:
            row = disk.execute(sql, (place.batch,)).fetchone() if place is not None else None
            event = LogBatch(*row[:6]).event(place.number) if row is not None and place is not None else None
            named = disk.execute(
                "SELECT g.name, s.name FROM stream s JOIN log_group g ON g.id = s.log_group WHERE s.id = ?",
                (event.stream if event is not None else None,),
            ).fetchone()
            if event is None or named is None or event.place != place:
                return None
            return {
                "@ptr": digits_of(event.place),
                "@timestamp": str(event.place.time),
                "@message": event.message,
                "@logStream": named[1],
                "@log": f"{caller.account}:{named[0]}",
                **_fields(event.message),
            }

        found = await self.read(read)
        if found is None:
            raise AwsError("ResourceNotFoundException", "The specified log record does not exist.")
        return {"logRecord": found}

    async def get_log_group_fields(self, _caller: Caller, request: Request) -> Request:
        """The fields of the last thousand events, each with how many percent of them have it."""
        group = self.group_of(request)
        streams = await self.read(
            lambda disk: [one for (one,) in disk.execute("SELECT id FROM stream WHERE log_group = ?", (group.id,))]
        )
        last = request["time"] * 1000 + 8 * 60_000 if "time" in request else self.store.now() + 2 * 3_600_000

        def read(disk: sqlite3.Connection) -> list[str]:
            messages = list[str]()
            for stream in streams:
                wanted = EventRange(group.id, group.widest, [stream], group.oldest(self.store.now()), last)
                page = read_page_before(disk, wanted, Place(last, 0, 0), _SAMPLED - len(messages))
                messages += [event.message for event in page.events]
                if len(messages) >= _SAMPLED:
                    break
            return messages

        messages = await self.read(read)
        always = ("@ingestionTime", "@log", "@logStream", "@message", "@timestamp")
        counts = Counter(name for message in messages for name in _fields(message))
        counts |= Counter(dict.fromkeys(always, len(messages))) if messages else Counter()
        shares = {name: round(100 * count / len(messages)) for name, count in counts.items()}
        return {"logGroupFields": [{"name": name, "percent": share} for name, share in sorted(shares.items())]}

    async def end_queries(self) -> None:
        """Stops all."""
        tasks = [one.task for one in self.queries.values() if one.task is not None]
        for one in self.queries.values():
            one.stopped = True
        await asyncio.gather(*tasks, return_exceptions=True)

    def _queried(self, request: Request) -> list[LogGroup]:
        given = [
            *([request["logGroupName"]] if "logGroupName" in request else []),
            *request.get("logGroupNames", []),
            *request.get("logGroupIdentifiers", []),
        ]
        if not given:
            raise invalid("Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be specified.")
        return [self.group_named(name_of(one)) for one in dict.fromkeys(given)]

    def _start(self, group: LogGroup, begin: int) -> int:
        return max(begin, group.oldest(self.store.now()))

    def _query(self, number: str) -> LogQuery:
        found = self.queries.get(number)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"Query does not exist: {number}")
        return found

    def _forget_old(self) -> None:
        ended = [one.id for one in self.queries.values() if one.status != "Running"]
        for number in ended[: max(0, len(ended) - MOST_KEPT)]:
            del self.queries[number]

    async def _run(self, made: LogQuery, query: CompiledQuery, ranges: Sequence[tuple[str, EventRange]]) -> None:
        try:
            rows, statistics = await asyncio.to_thread(self._answer, made, query, ranges)
            if not made.stopped:
                made.rows, made.statistics, made.status = rows, statistics, "Complete"
        except (sqlite3.Error, ValueError):
            made.status = "Cancelled" if made.stopped else "Failed"
        finally:
            made.ended = self.store.now()
            made.task = None

    def _answer(
        self, made: LogQuery, query: CompiledQuery, ranges: Sequence[tuple[str, EventRange]]
    ) -> tuple[list[Row], dict[str, float]]:
        with contextlib.closing(sqlite3.connect("", isolation_level=None)) as work:
            install(work)
            work.set_progress_handler(lambda: int(made.stopped), _STEPS)
            work.execute("PRAGMA cache_size = -8192")
            work.execute(
                "CREATE TABLE event (ptr TEXT, ts INTEGER, ingested INTEGER, log TEXT, stream TEXT, message TEXT)"
            )
            scanned = sum(self._load(work, made, log, one) for log, one in ranges)
            count = work.execute("SELECT count(*) FROM event").fetchone()[0]
            matched = work.execute(query.counted).fetchone()[0]
            names = ", ".join(["ptr", *(sql for _, sql in query.columns)] if query.over_events else _columns(query))
            rows = [_row(query, values) for values in work.execute(f"SELECT {names} FROM ({query.sql})")]  # noqa: S608
        statistics = {"recordsMatched": matched, "recordsScanned": count, "bytesScanned": scanned}
        return rows[:MOST_ROWS], {name: float(value) for name, value in statistics.items()}

    def _load(self, work: sqlite3.Connection, made: LogQuery, log: str, wanted: EventRange) -> int:
        """Copies events into the temporary table; returns their bytes."""
        size, rows = 0, list[tuple[Any, ...]]()
        insert = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)"
        with self.store.reading() as disk:
            names = dict(disk.execute("SELECT id, name FROM stream WHERE log_group = ?", (wanted.group,)).fetchall())
            work.execute("BEGIN")
            for event in read_all(disk, wanted):
                size += len(event.message)
                stream = names.get(event.stream, "")
                rows.append((digits_of(event.place), event.place.time, event.ingested, log, stream, event.message))
                if len(rows) >= _AT_ONCE:
                    work.executemany(insert, rows)
                    rows.clear()
                    if made.stopped:
                        break
            work.executemany(insert, rows)
            work.execute("COMMIT")
        return size


def _columns(query: CompiledQuery) -> list[str]:
    return [sql for _, sql in query.columns]


def _row(query: CompiledQuery, values: Sequence[Value]) -> Row:
    pointer = str(values[0]) if query.over_events else None
    shown = values[1:] if query.over_events else values
    row = [
        {"field": name, "value": _text(value, time=sql in query.times)}
        for (name, sql), value in zip(query.columns, shown, strict=True)
        if value is not None
    ]
    if pointer is not None and all(name != "@ptr" for name, _ in query.columns):
        row.append({"field": "@ptr", "value": pointer})
    return row


def _text(value: Value, *, time: bool) -> str:
    if time and value is not None:
        at = datetime.fromtimestamp(float(value) / 1000, UTC)
        return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"
    if isinstance(value, float):
        return (
            str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else f"{value:.6f}".rstrip("0").rstrip(".")
        )
    return str(value)


def _fields(message: str) -> dict[str, str]:
    """The fields of a message that is JSON, by their dotted names."""
    found = dict[str, str]()

    def walk(value: Any, name: str) -> None:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, one in inner:
            walk(one, f"{name}.{key}" if name else str(key))
        if not isinstance(value, dict | list) and name:
            found[name] = str(value)

    walk(document_of(message), "")
    return found


def _milliseconds(value: int, *, last: bool = False) -> int:
    """A time of a query, in seconds or milliseconds; ``last``: the end of what it means."""
    if value >= 100_000_000_000:
        return value + int(last)
    return value * 1000 + (1000 if last else 0)
