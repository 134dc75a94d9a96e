"""Waits for a job or a service, asynchronously: one request for each look, patient with an API that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.job_log import LogCursor, new_lines
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable, required
from skylift.anyscale.status import reason_of

PATIENCE_SECONDS = 600.0
"""How long Anyscale may be silent, or say nothing that we understand, while something is waited for."""
_LINES_AT_ONCE = 100
"""Then others have a turn on the triggerer's event loop."""
LOG_SECONDS = 15.0
"""Least time between two questions for a job's log."""

UNREACHABLE, REFUSED, TIMED_OUT = "unreachable", "refused", "timed out"
"""Ends of waiting that are not the job's own end."""


@dataclass(frozen=True)
class WatchEnd:
    """How waiting ended.

    Attributes:
        state: Anyscale's, or one of ``UNREACHABLE``, ``REFUSED``, ``TIMED_OUT``.
        message: why, for people; of ``TIMED_OUT``: what it was at last.
    """

    state: str
    message: str = ""


@dataclass(frozen=True)
class Pace:
    """How waiting goes.

    Attributes:
        poll_seconds: between two looks.
        deadline: Unix time at which it ends.
        patience_seconds: see ``PATIENCE_SECONDS``.
    """

    poll_seconds: float
    deadline: float
    patience_seconds: float = PATIENCE_SECONDS


async def watch_job(
    client: AnyscaleClient, job: str, pace: Pace, tell: Callable[[str], None], cursor: LogCursor | None
) -> WatchEnd:
    """Waits for a job's end. Never raises for what Anyscale does.

    Args:
        tell: gets changes of state and the log's lines.
        cursor: where the log begins; ``None``: it is not followed.
    """
    last = ""
    log_due = time.monotonic()
    run = ""

    async def look() -> WatchEnd | None:
        nonlocal last, cursor, log_due, run
        doing = f"the question for job {job}"
        record = await client.get(wire.job(job), doing)
        state = str(required(required(record, "state", doing), "current_state", doing))
        if state != last:
            tell(f"Job {job}: {state}")
            last = state
        newest = str(record.get("last_job_run_id") or "")
        if cursor is not None and run not in {"", newest}:  # the end of the try before, which is over
            cursor = await _told(client, run, cursor, tell)
        run = newest
        word = wire.JOB_WORDS.get(state)
        if word in wire.JOB_OVER:
            return WatchEnd(state, reason_of(record))
        if word is None:
            raise AnyscaleUnavailable(f"Anyscale says {state} of job {job}, a state that skylift does not know")
        if cursor is not None and time.monotonic() >= log_due:
            log_due = time.monotonic() + LOG_SECONDS
            cursor = await _told(client, run, cursor, tell)
        return None

    found = await _until(look, pace)
    if cursor is not None and wire.JOB_WORDS.get(found.state) in wire.JOB_OVER:
        await _told(client, run, cursor, tell)
    return WatchEnd(TIMED_OUT, last) if found.state == TIMED_OUT else found


async def watch_service(
    client: AnyscaleClient, service: str, version: str, canary: bool, pace: Pace, tell: Callable[[str], None]
) -> WatchEnd:
    """Waits until a service's rollout is over: RUNNING, or for a partial canary until that version is RUNNING.

    Args:
        version: of the rollout, as ``apply`` answered; empty: not known.
        canary: only a part of the traffic goes to the new version, so the service stays ROLLING_OUT.
    """
    last = waits_for = ""

    async def look() -> WatchEnd | None:
        nonlocal last, waits_for
        doing = f"the question for service {service}"
        record = await client.get(wire.service(service), doing)
        required(record, "current_state", doing)
        state = service_state(record, version, canary)
        if state != last:
            tell(f"Service {service}: {state}")
            last = state
        why = str(record.get("error_message") or "")
        if state == "RUNNING" or state in wire.SERVICE_FAILED:
            return WatchEnd(state, why)
        waits_for = f"{state}: {why}" if why else state
        return None

    found = await _until(look, pace)
    return WatchEnd(TIMED_OUT, waits_for) if found.state == TIMED_OUT else found


def service_state(record: dict[str, Any], version: str, canary: bool) -> str:
    """The state of what is rolled out. Just after ``apply``, the service may still show the old version's."""
    state = str(record.get("current_state", ""))
    canary_version = record.get("canary_version") or {}
    if canary and canary_version:
        return str(canary_version.get("current_state") or state)
    primary = record.get("primary_version") or {}
    if state == "RUNNING" and version and primary.get("id") not in {None, version}:
        return "ROLLING_OUT"
    return state


async def _told(client: AnyscaleClient, run: str, cursor: LogCursor, tell: Callable[[str], None]) -> LogCursor:
    """A log that cannot be read is no reason for a job to fail."""
    try:
        lines, following = await new_lines(client, run, cursor)
    except (AnyscaleRefused, AnyscaleUnavailable) as error:
        tell(f"(the job's log cannot be read now: {error})")
        return cursor
    for number, line in enumerate(lines, 1):
        tell(line)
        if number % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return following


async def _until(look: Callable[[], Awaitable[WatchEnd | None]], pace: Pace) -> WatchEnd:
    silent_since: float | None = None
    while True:
        wait = pace.poll_seconds
        try:
            found = await look()
            silent_since = None
            if found is not None:
                return found
        except AnyscaleRefused as error:
            return WatchEnd(REFUSED, str(error))
        except AnyscaleUnavailable as error:
            silent_since = silent_since or time.monotonic()
            wait = max(wait, error.wait)
            silent = time.monotonic() - silent_since
            if silent >= pace.patience_seconds:
                return WatchEnd(UNREACHABLE, f"for {silent:.0f} s: {error}")
        left = pace.deadline - time.time()
        if left <= 0:
            return WatchEnd(TIMED_OUT)
        await asyncio.sleep(min(wait, max(left, 0.05)))
