"""Reads logs for people: the server's file, and an environment's log groups in CloudWatch Logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skylift.aws.errors import calling
from skylift.cli.account import exists
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
"""Component: module of its log group, and the word that its streams' names hold where two share a group."""

FOLLOW_SECONDS = 1.0


def show_component(
    logs: Any, environment: str, component: str, lines: int, follow: bool, write: Callable[[str], None]
) -> None:
    """Writes the newest lines of a component, oldest first; with ``follow`` goes on for ever.

    Raises:
        Refused: the environment has no such log group.
    """
    module, word = COMPONENTS[component]
    group = log_group(environment, module)
    if not _group_exists(logs, group):
        raise Refused(f"There is no log group {group}: the environment {environment} has not begun to write it.")
    seen: set[str] = set()
    since = 0
    events = _events(logs, group, word, since)[-lines:]
    while True:
        for event in events:
            if event["eventId"] not in seen:
                seen.add(event["eventId"])
                when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                write(f"{when:%Y-%m-%d %H:%M:%S} {event['message'].rstrip()}")
            since = max(since, event["timestamp"])
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)
        # Lines of several containers arrive out of order: look back a little, and skip what was shown.
        events = _events(logs, group, word, max(0, since - 10_000))


def follow_file(path: Path, lines: int, follow: bool, write: Callable[[str], None]) -> None:
    """Writes the last lines of a file; with ``follow`` goes on for ever.

    Raises:
        Refused: the file is not there.
    """
    if not path.exists():
        raise Refused(f"There is no log yet ({path}): skylift has not run here. Start it with: skylift up")
    with path.open(errors="replace") as file:
        for line in file.readlines()[-lines:]:
            write(line.rstrip("\n"))
        while follow:
            line = file.readline()
            if line:
                write(line.rstrip("\n"))
            else:
                time.sleep(FOLLOW_SECONDS / 4)


def _events(logs: Any, group: str, word: str, since: int) -> list[dict[str, Any]]:
    with calling(f"logs FilterLogEvents {group}"):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
        found = [event for page in pages for event in page["events"] if word in event["logStreamName"]]
    return sorted(found, key=lambda event: event["timestamp"])


def _group_exists(logs: Any, group: str) -> bool:
    return exists(lambda: logs.describe_log_streams(logGroupName=group, limit=1), f"log group {group}")
