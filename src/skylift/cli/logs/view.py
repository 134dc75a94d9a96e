"""Reads logs for people: the server's file, and an environment's log groups in CloudWatch Logs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from skylift.aws.errors import calling
from skylift.cli.account import exists
from skylift.cli.logs.airflow_tasks import Which, messages, parsed, tries
from skylift.cli.logs.lines import Rename, readable, when
from skylift.cli.runs.patience import patiently
from skylift.core.errors import Refused
from skylift.core.names import log_group

COMPONENTS = {
    "scheduler": ("SchedulerLogs", "scheduler"),
    "triggerer": ("SchedulerLogs", "triggerer"),
    "api-server": ("WebserverLogs", ""),
    "dag-processor": ("DagProcessingLogs", ""),
    "worker": ("WorkerLogs", ""),
    "task": ("TaskLogs", ""),
}
"""From component to the module of its log group, and a word in its streams' names where two share a group."""

FOLLOW_SECONDS = 1.0
LOOK_BACK = (10.0, 600.0, 86400.0, math.inf)
"""How many seconds before the last line the last lines are looked for, again and again until there are enough."""


def show_component(
    logs: Any,
    environment: str,
    component: str,
    lines: int,
    follow: bool,
    write: Callable[[str], None],
    rename: Rename = str,
) -> None:
    """Writes the newest lines of a component, oldest first; with ``follow`` it never ends.

    Args:
        rename: for paths in containers (``lines.of_project``).

    Raises:
        Refused: the environment has no such log group.
    """
    module, word = COMPONENTS[component]
    group = log_group_of(logs, environment, module)
    seen: set[str] = set()
    since = 0
    events = _newest(logs, group, word, lines)
    while True:
        for event in events:
            since = max(since, event["timestamp"])
            if event["eventId"] in seen:
                continue
            seen.add(event["eventId"])
            text = readable(event["message"], rename)
            if text is not None:
                one = parsed(event["logStreamName"])
                write(f"{when(event['timestamp'])} {f'[{one.label}] ' if one else ''}{text}")
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)
        # Lines of several containers arrive out of order: look back a little, and skip those already shown.
        look = partial(_events, logs, group, word, max(0, since - 10_000))
        events = patiently(look, _nothing, "CloudWatch Logs", limit=math.inf)


def show_tries(
    logs: Any,
    environment: str,
    which: Which,
    lines: int | None,
    follow: bool,
    write: Callable[[str], None],
    rename: Rename,
) -> None:
    """Writes the logs of tries of Airflow tasks, each under its own heading; with ``follow`` it never ends.

    Args:
        lines: at most this many of each, the newest; ``None``: all.

    Raises:
        Refused: the environment has no such log group, or there is no such try.
    """
    group = log_group_of(logs, environment, "TaskLogs")
    found = tries(logs, group, which)
    shown: dict[str, int] = {}
    heading = ""
    while True:
        for one in found:
            there = _messages(logs, group, one.stream, math.inf if follow else 0.0)
            begin = shown.get(one.stream, max(0, len(there) - lines) if lines is not None else 0)
            texts = [(at, readable(message, rename)) for at, message in there[begin:]]
            if one.stream != heading and (texts or not shown.get(one.stream)):
                heading = one.stream
                write(f"=== {one.label} of {one.dag_id}, run {one.run_id}")
            for at, text in texts:
                if text is not None:
                    write(f"{when(at)} {text}")
            shown[one.stream] = len(there)
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)
        found = patiently(lambda: tries(logs, group, which), _nothing, "CloudWatch Logs", limit=math.inf)


def follow_file(path: Path, lines: int, follow: bool, write: Callable[[str], None]) -> None:
    """Writes the last lines of a file; with ``follow`` it never ends.

    Raises:
        Refused: the file does not exist.
    """
    if not path.exists():
        raise Refused(f"There is no log yet ({path}): skylift has not run here. Start it with: skylift up")
    with path.open(errors="replace") as file:
        for line in file.readlines()[-lines:]:
            write(line.rstrip("\n"))
        begun = ""
        while follow:
            begun += file.readline()
            if begun.endswith("\n"):
                write(begun.rstrip("\n"))
                begun = ""
            elif path.exists() and path.stat().st_size < file.tell():
                file.seek(0)  # the server has emptied its log
            else:
                time.sleep(FOLLOW_SECONDS / 4)


def _newest(logs: Any, group: str, word: str, lines: int) -> list[dict[str, Any]]:
    """The last lines, oldest first. CloudWatch gives the oldest first, so it is asked for those near the last one, and
    for more only where these are not enough."""
    with calling(f"logs DescribeLogStreams {group}"):
        found = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    last = max((one.get("lastEventTimestamp", 0) for one in found["logStreams"]), default=0)
    events: list[dict[str, Any]] = []
    for back in LOOK_BACK:
        since = int(max(0.0, last - back * 1000))
        events = _events(logs, group, word, since)
        if len(events) >= lines or not since:
            break
    return events[-lines:]


def _events(logs: Any, group: str, word: str, since: int) -> list[dict[str, Any]]:
    with calling(f"logs FilterLogEvents {group}"):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
        found = [event for page in pages for event in page["events"] if word in event["logStreamName"]]
    return sorted(found, key=lambda event: event["timestamp"])


def _messages(logs: Any, group: str, stream: str, limit: float) -> list[tuple[int, str]]:
    return patiently(lambda: messages(logs, group, stream), _nothing, "CloudWatch Logs", limit)


def log_group_of(logs: Any, environment: str, module: str) -> str:
    """The log group of a module of an environment. Raises ``Refused`` if there is none."""
    group = log_group(environment, module)
    if not exists(lambda: logs.describe_log_streams(logGroupName=group, limit=1), f"log group {group}"):
        raise Refused(f"There is no log group {group}: the environment {environment} has not begun to write it.")
    return group


def _nothing(_text: str) -> None:
    return
