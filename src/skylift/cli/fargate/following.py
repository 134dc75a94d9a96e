"""Follows a DAG folder into the bucket, and the container's log to the terminal, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from watchfiles import watch

from skylift.aws.account_calls import AccountCalls
from skylift.cli.terminal import counted
from skylift.core.errors import Unavailable
from skylift.deploy.fargate import storage
from skylift.deploy.fargate.wanted import Named

LOOK_BACK = 10_000
"""Milliseconds: lines of several containers do not arrive in order."""


def follow_dags(calls: AccountCalls, named: Named, folder: Path, say: Callable[[str], None]) -> None:
    """Copies what changes in the folder. Never returns."""
    say(f"Following {folder}: a saved file is in Airflow within seconds. Ctrl-C ends this, not Airflow.")
    storage.sync(calls, named, folder)
    for _ in watch(folder, step=200, raise_interrupt=True):
        try:
            if count := storage.sync(calls, named, folder):
                say(f"{counted(count, 'file')} copied to {named.dags}")
        except Unavailable as error:
            say(f"not copied yet, the next change tries again: {error}")


def follow_log(calls: AccountCalls, named: Named, lines: int, follow: bool, write: Callable[[str], None]) -> None:
    """Writes the newest lines, oldest first; with ``follow`` never returns."""
    seen: set[str] = set()
    since, first = 0, True
    while True:
        request = {"logGroupName": named.log_group, "startTime": since}
        found = calls.pages("logs", "filter_log_events", "events", **request)
        found.sort(key=lambda one: int(one["timestamp"]))
        for event in found[-lines:] if first else found:
            if event["eventId"] not in seen:
                seen.add(event["eventId"])
                write(str(event["message"]).rstrip())
        if found:
            since = max(0, int(found[-1]["timestamp"]) - LOOK_BACK)
            seen &= {str(one["eventId"]) for one in found}
        if not follow:
            return
        first = False
        time.sleep(1.0)
