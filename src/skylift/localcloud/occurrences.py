"""When a schedule expression of AWS is due: ``at(...)``, ``rate(...)`` and ``cron(...)`` in a time zone. Pure.

Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

LAST = "skylift:LastOccurrence"
"""Where a schedule's record has the time of the last occurrence that was fired; callers do not see it."""

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_RATE = re.compile(r"rate\(([1-9]\d{0,8}) (minute|hour|day)s?\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
_MOST_STEPS = 1_000
Cron = Callable[[str, datetime], datetime | None]
"""A cron expression's next time after another, by the clock on the wall; ``ValueError`` if it is none."""


class InvalidSchedule(ValueError):
    """An expression or a time zone that AWS refuses."""


def next_occurrence(schedule: Mapping[str, Any], cron: Cron) -> float | None:
    """When a schedule is due next, or was due; ``None``: never again.

    Args:
        schedule: as CreateSchedule got it, with ``CreationDate`` and ``LAST``.
        cron: understands cron expressions.

    Raises:
        InvalidSchedule: in AWS's words.
    """
    expression, zone = str(schedule["ScheduleExpression"]), zone_of(schedule)
    last: float | None = schedule.get(LAST)
    if at := _AT.fullmatch(expression):
        try:
            moment = datetime.fromisoformat(at[1]).replace(tzinfo=zone).timestamp()
        except ValueError:
            raise _invalid(expression) from None
        return moment if last is None else None
    created, begin = float(schedule["CreationDate"]), moment_of(schedule.get("StartDate"))
    if rate := _RATE.fullmatch(expression):
        found: float | None = (begin or created) if last is None else last + int(rate[1]) * _SECONDS[rate[2]]
    else:
        after = created if last is None else last
        found = _next_by_the_wall(expression, zone, max(after, (begin or 0.0) - 0.001), cron)
    end = moment_of(schedule.get("EndDate"))
    return None if found is None or (end is not None and found > end) else found


def is_one_time(schedule: Mapping[str, Any]) -> bool:
    """Whether it fires once."""
    return str(schedule["ScheduleExpression"]).startswith("at(")


def zone_of(schedule: Mapping[str, Any]) -> ZoneInfo:
    """A schedule's time zone. Raises ``InvalidSchedule`` for one that is not known."""
    name = str(schedule.get("ScheduleExpressionTimezone") or "UTC")
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a key that is none, and one that is not there
        raise InvalidSchedule(f"Invalid Schedule Expression Timezone {name}.") from None


def moment_of(value: Any) -> float | None:
    """A date of the API, which comes as a number or as ISO 8601, in seconds since 1970."""
    if value is None or isinstance(value, (int, float)):
        return value
    return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()


def _next_by_the_wall(expression: str, zone: ZoneInfo, after: float, cron: Cron) -> float | None:
    """A time that the clock skips in spring has no occurrence; one that it shows twice in autumn has one."""
    wall: datetime | None = datetime.fromtimestamp(after, zone).replace(tzinfo=None)
    for _ in range(_MOST_STEPS):
        try:
            wall = cron(expression, wall) if wall is not None else None
        except ValueError:
            raise _invalid(expression) from None
        if wall is None:
            return None
        moment = wall.replace(tzinfo=zone).timestamp()
        exists = datetime.fromtimestamp(moment, zone).replace(tzinfo=None) == wall
        if exists and moment > after:
            return moment
    return None


def _invalid(expression: str) -> InvalidSchedule:
    return InvalidSchedule(f"Invalid Schedule Expression {expression}.")
