"""Logs for people: the last lines, then each new one once, as it was written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from skylift.cli.logs.view import follow_file, show_component
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit
PATIENCE = 60.0


class Enough(Exception):
    """Ends somebody who follows for ever."""


class Page:
    """What is written, until there are so many lines; ``then`` is called after each."""

    def __init__(self, most: int, then: Callable[[int], None] = lambda _: None) -> None:
        self.lines: list[str] = []
        self._most, self._then = most, then

    def write(self, line: str) -> None:
        self.lines.append(line)
        self._then(len(self.lines))
        if len(self.lines) >= self._most:
            raise Enough


class Logs:
    """CloudWatch Logs with one group, in memory; ``late`` is what arrives after a look at all of it."""

    def __init__(self, *events: dict[str, Any], late: list[dict[str, Any]] | None = None) -> None:
        self.looks: list[tuple[str, int]] = []
        self._events, self._late = [*events], late or []

    def describe_log_streams(self, logGroupName: str, limit: int, **_order: Any) -> dict[str, Any]:
        if logGroupName != "airflow-flight-Scheduler":
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeLogStreams")  # type: ignore[typeddict-item]
        return {"logStreams": [{"lastEventTimestamp": one["timestamp"]} for one in self._events[-1:]]}

    def get_paginator(self, operation: str) -> Logs:
        assert operation == "filter_log_events"
        return self

    def paginate(self, logGroupName: str, startTime: int) -> list[dict[str, Any]]:
        self.looks.append((logGroupName, startTime))
        found = [one for one in self._events if one["timestamp"] >= startTime]
        if startTime == 0:
            self._events, self._late = self._events + self._late, []
        return [{"events": found[:1]}, {"events": found[1:]}]


def event(number: int, second: int, message: str = "", stream: str = "scheduler/airflow/1") -> dict[str, Any]:
    text = message or f"line {number}\n"
    return {"eventId": str(number), "timestamp": second * 1000, "message": text, "logStreamName": stream}


def test_a_file_is_followed_line_by_line_without_blank_ones(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    file.write_text("one\ntwo\nthree\n")

    def more(lines: int) -> None:
        if lines == 2:
            with file.open("a") as end:
                end.write("four\n\nsix\n")

    page = Page(5, more)
    with pytest.raises(Enough):
        follow_file(file, 2, follow=True, write=page.write)
    assert page.lines == ["two", "three", "four", "", "six"]


def test_a_line_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    file.write_text("")
    page = Page(1)
    caught: list[BaseException] = []

    def follow() -> None:
        try:
            follow_file(file, 10, follow=True, write=page.write)
        except Enough as error:
            caught.append(error)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    with file.open("a") as end:
        end.write("here it is\n")
    thread.join(PATIENCE)
    assert (page.lines, len(caught)) == (["here it is"], 1)


def test_without_follow_a_file_ends(tmp_path: Path) -> None:
    file, page = tmp_path / "server.log", Page(9)
    file.write_bytes(b"one\ntwo\n\xff\n")
    follow_file(file, 2, follow=False, write=page.write)
    assert page.lines == ["two", "�"]
    with pytest.raises(Refused, match="skylift up"):
        follow_file(tmp_path / "none.log", 2, follow=False, write=page.write)


def test_a_component_shows_its_own_newest_lines_in_their_order() -> None:
    logs = Logs(event(3, 30), event(1, 10), event(2, 20), event(4, 25, stream="triggerer/airflow/1"))
    page = Page(9)
    show_component(logs, "flight", "scheduler", 2, follow=False, write=page.write)
    assert page.lines == ["1970-01-01 00:00:20 line 2", "1970-01-01 00:00:30 line 3"]
    assert logs.looks == [("airflow-flight-Scheduler", 15_000)]
    page = Page(9)
    show_component(logs, "flight", "triggerer", 2, follow=False, write=page.write)
    assert page.lines == ["1970-01-01 00:00:25 line 4"]


def test_the_last_lines_are_found_without_reading_all() -> None:
    logs = Logs(event(1, 10), event(2, 50_000), event(3, 90_000), event(4, 90_005))
    page = Page(9)
    show_component(logs, "flight", "scheduler", 2, follow=False, write=page.write)
    assert [line[-6:] for line in page.lines] == ["line 3", "line 4"]
    assert [start for _, start in logs.looks] == [89_995_000]
    show_component(logs, "flight", "scheduler", 4, follow=False, write=Page(9).write)
    assert logs.looks[-1] == ("airflow-flight-Scheduler", 0)


def test_a_component_is_followed_each_line_once_and_late_ones_too() -> None:
    logs = Logs(event(1, 10), event(2, 30), late=[event(3, 22), event(4, 31), event(5, 15)])
    page = Page(4)
    with pytest.raises(Enough):
        show_component(logs, "flight", "scheduler", 5, follow=True, write=page.write)
    # 22 is within the ten seconds that lines of several containers may be late; 15 was there before the window.
    assert [line.removeprefix("1970-01-01 00:00:") for line in page.lines] == [
        "10 line 1", "30 line 2", "22 line 3", "31 line 4"
    ]  # fmt: skip
    assert ("airflow-flight-Scheduler", 20_000) in logs.looks


def test_an_environment_without_logs_is_told() -> None:
    with pytest.raises(Refused, match="airflow-flight-Task: the environment flight has not begun to write it"):
        show_component(Logs(), "flight", "task", 5, follow=False, write=print)
