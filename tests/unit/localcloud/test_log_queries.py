"""Insights' query language, run by SQLite over a handful of events."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.localcloud.logs.insights.commands import parse_query
from skylift.localcloud.logs.insights.compiler import compile_query
from skylift.localcloud.logs.insights.functions import install
from skylift.localcloud.logs.insights.operations import _row as row_of
from skylift.localcloud.logs.insights.syntax import MalformedQuery

pytestmark = pytest.mark.unit
MINUTE = 60_000
EVENTS = [
    (0, "web", {"level": "INFO", "status": 200, "latency": 10.5, "user": {"name": "ann"}}),
    (30_000, "web", {"level": "ERROR", "status": 500, "latency": 30, "user": {"name": "bob"}}),
    (MINUTE, "db", {"level": "INFO", "status": 200, "latency": 20, "tags": ["x", "y"]}),
    (MINUTE + 1, "web", "GET /index.html took 42 ms [main]"),
    (2 * MINUTE, "db", {"level": "ERROR", "status": 503, "latency": 40}),
]


def answer(query: str, limit: int = 10_000) -> list[dict[str, str]]:
    """The rows, without pointers."""
    compiled = compile_query(parse_query(query), limit, 5 * MINUTE)
    disk = sqlite3.connect(":memory:")
    install(disk)
    disk.execute("CREATE TABLE event (ptr TEXT, ts INTEGER, ingested INTEGER, log TEXT, stream TEXT, message TEXT)")
    for number, (at, stream, message) in enumerate(EVENTS):
        text = message if isinstance(message, str) else json.dumps(message)
        disk.execute("INSERT INTO event VALUES (?, ?, ?, '0:g', ?, ?)", (f"p{number}", at, at, stream, text))
    names = [*(["ptr"] if compiled.over_events else []), *(sql for _, sql in compiled.columns)]
    rows = [row_of(compiled, values) for values in disk.execute(f"SELECT {', '.join(names)} FROM ({compiled.sql})")]
    return [{one["field"]: one["value"] for one in row if one["field"] != "@ptr"} for row in rows]


def test_without_a_word_more_than_a_filter_the_latest_come_first() -> None:
    assert answer('filter level = "ERROR"') == [
        {"@timestamp": "1970-01-01 00:02:00.000", "@message": json.dumps(EVENTS[4][2])},
        {"@timestamp": "1970-01-01 00:00:30.000", "@message": json.dumps(EVENTS[1][2])},
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("fields status | sort @timestamp asc | limit 2", [{"status": "200"}, {"status": "500"}]),
        ("fields user.name as who | filter ispresent(who) | sort who", [{"who": "bob"}, {"who": "ann"}]),
        ("fields tags.1 | filter tags.1 = 'y'", [{"tags.1": "y"}]),
        ("filter status >= 500 and latency < 35 | fields latency", [{"latency": "30"}]),
        ("filter not (status = 200) and ispresent(status) | stats count(*)", [{"count(*)": "2"}]),
        ("filter @message like /took (\\d+)/ | fields @logStream", [{"@logStream": "web"}]),
        ("filter @message not like 'ERROR' | stats count() as n", [{"n": "3"}]),
        ("filter @message like '%index%' | stats count() as n", [{"n": "1"}]),
        ("filter status in [500, 503] | stats count(*) as n", [{"n": "2"}]),
        ("filter level not in ['INFO'] and ispresent(level) | stats count(*) as n", [{"n": "2"}]),
        ("stats avg(latency) as a, min(latency), max(latency) as m, sum(latency)",
         [{"a": "25.125", "min(latency)": "10.5", "m": "40", "sum(latency)": "100.5"}]),
        ("stats count(*) as n by level | sort n desc, level | filter ispresent(level)",
         [{"level": "INFO", "n": "2"}, {"level": "ERROR", "n": "2"}]),
        ("filter ispresent(status) | stats count(*) by bin(1m)",
         [{"bin(1m)": f"1970-01-01 00:0{number}:00.000", "count(*)": n} for number, n in enumerate("211")]),
        ("stats count_distinct(level) as kinds, pct(latency, 50) as half, stddev(latency) as s",
         [{"kinds": "2", "half": "25", "s": "12.717278"}]),
        ("stats earliest(status) as first, latest(status) as last, max(@timestamp) as t",
         [{"first": "200", "last": "503", "t": "1970-01-01 00:02:00.000"}]),
        ('parse @message "GET * took * ms [*]" as path, ms, thread | filter ms > 40 | fields path, ms * 2 as d, thread',
         [{"path": "/index.html", "d": "84", "thread": "main"}]),
        ("parse @message /took (?<ms>\\d+) ms/ | filter ispresent(ms) | display ms", [{"ms": "42"}]),
        ("sort @timestamp asc | dedup level | display level", [{"level": "INFO"}, {"level": "ERROR"}]),
        ("fields concat(toupper(@logStream), '-', strlen(@logStream)) as c | sort @timestamp asc | limit 1",
         [{"c": "WEB-3"}]),
        ("fields floor(latency) as f, latency % 4 as r, 2 ^ 3 as p | filter f = 10",
         [{"f": "10", "r": "2.5", "p": "8"}]),
        ("stats sum(latency) / count(*) as mean", [{"mean": "20.1"}]),
        ("stats count(*) as n by level | stats max(n) as most", [{"most": "2"}]),
        ("fields `level` # a comment\n| filter `level` = 'INFO' | limit 1", [{"level": "INFO"}]),
        ("fields coalesce(level, 'none') as l | sort @timestamp desc | limit 2 | display l",
         [{"l": "ERROR"}, {"l": "none"}]),
        ("fields datefloor(@timestamp, 1h) as h | limit 1 | display h", [{"h": "1970-01-01 00:00:00.000"}]),
        ("filter level = \"it's\"", []),
    ],
)  # fmt: skip
def test_a_query(query: str, expected: list[Any]) -> None:
    assert answer(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "", "feilds @message", "filter", "filter status =", "stats by level", "limit 0", "limit x", "pattern @message",
        "fields @message | | ", "parse @message 'a*b*' as one", "parse @message /no group/", "stats median(latency)",
        "fields nofunction(1)", "filter @message like /(/", "stats count(*) by bin(5 parsecs)", "fields a b",
        "sort @timestamp sideways", "fields 'x", "filter (status = 1", "filter [1]",
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused(query: str) -> None:
    if query.endswith("| | "):
        assert answer(query), "an empty command between two bars is none"
        return
    with pytest.raises(MalformedQuery):
        answer(query)


def test_the_limit_of_the_request_counts_where_the_query_has_none() -> None:
    assert len(answer("fields @message", limit=2)) == 2
    assert len(answer("fields @message | limit 3", limit=2)) == 3


@given(st.text("fieldsltr@messag |=<>'\"/()[],*.123`#\n", max_size=60))
def test_any_text_is_a_query_or_refused(text: str) -> None:
    try:
        rows = answer(text)
    except MalformedQuery:
        return
    assert len(rows) <= len(EVENTS)
