"""Waits for a job or a service, asynchronously: one request for each look, patient with an API that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.job_log import LogCursor, new_lines
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable

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
        message: why, for people.
        cursor: how far the log was read.
    """

    state: str
    message: str = ""
    cursor: LogCursor = field(default_factory=LogCursor)


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
        record = await client.get(wire.job(job), f"the question for job {job}")
        state = str((record.get("state") or {}).get("current_state", ""))
        if state != last:
            tell(f"Job {job}: {state}")
            last = state
        newest = str(record.get("last_job_run_id") or "")
        if cursor is not None and run not in {"", newest}:  # the end of the try before, which is over
            cursor = await _told(client, run, cursor, tell)
        run = newest
        if state in wire.JOB_DONE:
            return WatchEnd(state, reason_of(record))
        if state not in wire.JOB_UNDERWAY:
            raise AnyscaleUnavailable(
                f"Anyscale says {state or 'nothing'} of job {job}, a state that skylift does not know"
            )
        if cursor is not None and time.monotonic() >= log_due:
            log_due = time.monotonic() + LOG_SECONDS
            cursor = await _told(client, run, cursor, tell)
        return None

    found = await _until(look, pace)
    if cursor is not None and found.state in wire.JOB_DONE:
        cursor = await _told(client, run, cursor, tell)
    return WatchEnd(found.state, found.message, cursor or LogCursor())


async def watch_service(
    client: AnyscaleClient, service: str, version: str, canary: bool, pace: Pace, tell: Callable[[str], None]
) -> WatchEnd:
    """Waits until a service's rollout is over: RUNNING, or for a partial canary until that version is RUNNING.

    Args:
        version: of the rollout, as ``apply`` answered; empty: not known.
        canary: only a part of the traffic goes to the new version, so the service stays ROLLING_OUT.
    """
    last = ""

    async def look() -> WatchEnd | None:
        nonlocal last
        record = await client.get(wire.service(service), f"the question for service {service}")
        state = service_state(record, version, canary)
        if state != last:
            tell(f"Service {service}: {state}")
            last = state
        if state == "RUNNING" or state in wire.SERVICE_FAILED:
            return WatchEnd(state, str(record.get("error_message") or ""))
        return None

    return await _until(look, pace)


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


def reason_of(record: dict[str, Any]) -> str:
    """Why a job is where it is, in Anyscale's words."""
    state = record.get("state") or {}
    words = [str(state[name]).strip() for name in ("error", "operation_message") if state.get(name)]
    return " ".join(dict.fromkeys(words))


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
