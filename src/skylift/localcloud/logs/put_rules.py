"""What PutLogEvents takes of a batch, and what it refuses (API reference of PutLogEvents). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import gt
from typing import Any

from skylift.localcloud.logs.batches import EVENT_OVERHEAD
from skylift.wire.errors import AwsError

MOST_BATCH_BYTES = 1_048_576
MOST_EVENT_BYTES = 1_048_576
MOST_EVENTS = 10_000
_HOUR, _DAY = 3_600_000, 86_400_000
MOST_AHEAD, MOST_BEHIND, MOST_SPAN = 2 * _HOUR, 14 * _DAY, _DAY


@dataclass(frozen=True)
class AcceptedEvents:
    """Which events of a batch are stored: ``events[first:last]``; and what the answer says of the others."""

    first: int
    last: int
    rejected: Mapping[str, int] | None


def check_size(size: int, longest: int) -> None:
    """Raises ``AwsError`` for a batch, or an event in it, that is too long.

    Args:
        size: of the batch, with 26 bytes for each event.
        longest: of its longest message.
    """
    if longest + EVENT_OVERHEAD > MOST_EVENT_BYTES:
        raise invalid(f"Log event too large: {longest + EVENT_OVERHEAD} bytes exceeds limit of {MOST_EVENT_BYTES}")
    if size > MOST_BATCH_BYTES:
        raise invalid(f"Upload too large: {size} bytes exceeds limit of {MOST_BATCH_BYTES}")


def split(events: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[str]]:
    """Times and messages of a batch that obeys the model. It has thousands of events, so its list is not checked where
    all requests are, but here: as a whole, and one by one only if something is wrong. Raises ``AwsError``."""
    try:
        times, messages = [event["timestamp"] for event in events], [event["message"] for event in events]
        fine = 1 <= len(events) <= MOST_EVENTS and "" not in messages and min(times) >= 0
    except KeyError:
        fine = False
    if not fine:
        raise _refusal(events)
    return times, messages


def _refusal(events: Sequence[Mapping[str, Any]]) -> AwsError:
    failures = list[str]()
    if not 1 <= len(events) <= MOST_EVENTS:
        words = "greater than or equal to 1" if not events else f"less than or equal to {MOST_EVENTS}"
        failures.append(f"Value at 'logEvents' failed to satisfy constraint: Member must have length {words}")
    for number, event in enumerate(events, 1):
        path = f"logEvents.{number}.member"
        failures += [
            f"Value null at '{path}.{name}' failed to satisfy constraint: Member must not be null"
            for name in ("timestamp", "message")
            if name not in event
        ]
        if event.get("message") == "":
            failures.append(
                f"Value '' at '{path}.message' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            )
        if event.get("timestamp", 0) < 0:
            failures.append(
                f"Value '{event['timestamp']}' at '{path}.timestamp' failed to satisfy constraint: "
                "Member must have value greater than or equal to 0"
            )
        if len(failures) >= 10:
            break
    noun = "error" if len(failures) == 1 else "errors"
    return invalid(f"{len(failures)} validation {noun} detected: {'; '.join(failures)}")


def accepted(times: Sequence[int], now: int, retention_days: int) -> AcceptedEvents:
    """Which of a batch's events are taken. Raises ``AwsError`` for a batch that is not in order, or too wide.

    Args:
        times: milliseconds since the epoch.
        now: the same.
        retention_days: of the group; 0: for ever.
    """
    if any(map(gt, times, islice(times, 1, None))):
        raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
    if times[-1] - times[0] > MOST_SPAN:
        raise invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    if times[0] >= now - MOST_BEHIND and times[-1] <= now + MOST_AHEAD and not retention_days:
        return AcceptedEvents(0, len(times), None)
    rejected = dict[str, int]()
    too_new = next((number for number, one in enumerate(times) if one > now + MOST_AHEAD), len(times))
    if too_new < len(times):
        rejected["tooNewLogEventStartIndex"] = too_new
    too_old = sum(one < now - MOST_BEHIND for one in times)
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    expired = sum(one < now - retention_days * _DAY for one in times) if retention_days else 0
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    first = max(too_old, expired)
    return AcceptedEvents(first, max(first, too_new), rejected or None)


def invalid(message: str) -> AwsError:
    """``InvalidParameterException``."""
    return AwsError("InvalidParameterException", message)
