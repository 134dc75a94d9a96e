"""When a schedule of EventBridge Scheduler is due: by the clock of its own time zone, and once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skylift.localcloud.emulators.eventbridge.schedules import delay_of, told_of
from skylift.localcloud.occurrences import LAST, InvalidSchedule, moment_of, next_occurrence

pytestmark = pytest.mark.unit


def daily(expression: str, after: datetime) -> datetime | None:
    """Understands ``daily HH:MM`` only; what a cron expression means is another's to know."""
    if not expression.startswith("daily "):
        raise ValueError(expression)
    hour, minute = map(int, expression.removeprefix("daily ").split(":"))
    found = after.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return found if found > after else found + timedelta(days=1)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def due(expression: str, created: str, zone: str = "UTC", **more: Any) -> str | None:
    schedule = {"ScheduleExpression": expression, "ScheduleExpressionTimezone": zone, "CreationDate": seconds(created)}
    found = next_occurrence({**schedule, **more}, daily)
    return None if found is None else f"{datetime.fromtimestamp(found, UTC):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("zone", "created", "wanted"),
    [
        ("UTC", "2026-12-01 00:00", "2026-12-01 06:30"),
        ("Europe/Berlin", "2026-12-01 00:00", "2026-12-01 05:30"),
        ("Europe/Berlin", "2026-07-01 00:00", "2026-07-01 04:30"),
        ("Asia/Kolkata", "2026-12-01 00:00", "2026-12-01 01:00"),
        ("America/New_York", "2026-12-01 00:00", "2026-12-01 11:30"),
    ],
)
def test_a_cron_expression_means_the_clock_on_the_wall(zone: str, created: str, wanted: str) -> None:
    assert due("daily 06:30", created, zone) == wanted


def test_a_time_that_spring_skips_is_skipped_and_one_that_autumn_repeats_comes_once() -> None:
    assert due("daily 02:30", "2026-03-28 12:00", "Europe/Berlin") == "2026-03-30 00:30"
    first = due("daily 02:30", "2026-10-24 12:00", "Europe/Berlin")
    assert first == "2026-10-25 00:30"
    after = {LAST: seconds(first)}
    assert due("daily 02:30", "2026-10-24 12:00", "Europe/Berlin", **after) == "2026-10-26 01:30"


def test_a_one_time_schedule_is_due_once_by_its_own_clock() -> None:
    assert due("at(2026-12-01T09:00:00)", "2026-12-01 00:00", "Asia/Tokyo") == "2026-12-01 00:00"
    assert due("at(2026-12-01T09:00:00)", "2026-12-01 00:00", "Asia/Tokyo", **{LAST: 1.0}) is None


def test_a_rate_begins_at_once_or_at_its_start_date_and_keeps_its_rhythm() -> None:
    created = "2026-12-01 10:07"
    assert due("rate(5 minutes)", created) == created
    assert due("rate(5 minutes)", created, StartDate="2026-12-02T00:00:00Z") == "2026-12-02 00:00"
    assert due("rate(1 day)", created, **{LAST: seconds(created)}) == "2026-12-02 10:07"
    assert due("rate(1 hour)", created, **{LAST: seconds(created)}, EndDate=seconds("2026-12-01 11:00")) is None


def test_start_and_end_dates_bound_a_cron_expression() -> None:
    assert due("daily 06:30", "2026-12-01 00:00", StartDate=seconds("2026-12-05 06:30")) == "2026-12-05 06:30"
    assert due("daily 06:30", "2026-12-01 00:00", StartDate=seconds("2026-12-05 06:31")) == "2026-12-06 06:30"
    assert due("daily 06:30", "2026-12-01 00:00", EndDate=seconds("2026-12-01 06:00")) is None


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("at(2026-02-30T00:00:00)", "UTC"),
        ("at(2026-12-01)", "UTC"),
        ("rate(0 minutes)", "UTC"),
        ("rate(5 seconds)", "UTC"),
        ("whenever", "UTC"),
        ("rate(5 minutes)", "Mars/Olympus"),
        ("rate(5 minutes)", "../etc/passwd"),
    ],
)
def test_what_is_no_schedule_is_refused(expression: str, zone: str) -> None:
    with pytest.raises(InvalidSchedule, match="Invalid Schedule Expression"):
        due(expression, "2026-12-01 00:00", zone)


def test_a_flexible_window_delays_by_less_than_its_length_and_always_alike() -> None:
    schedule = {"Arn": "arn:1", "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}}
    delays = [delay_of(schedule, float(moment)) for moment in range(200)]
    assert delays == [delay_of(schedule, float(moment)) for moment in range(200)]
    assert 0 <= min(delays) < 60 < max(delays) < 900
    assert delay_of({"FlexibleTimeWindow": {"Mode": "OFF"}}, 5.0) == 0


def test_schedulers_own_words_are_replaced_in_the_input() -> None:
    given = '{"at": "<aws.scheduler.scheduled-time>", "by": "<aws.scheduler.schedule-arn>"}'
    told = told_of({"Arn": "arn:1", "Target": {"Arn": "q", "Input": given}}, seconds("2026-12-01 10:07"))
    assert told == {"Arn": "q", "Input": '{"at": "2026-12-01T10:07:00Z", "by": "arn:1"}'}
    assert moment_of("2026-12-01T10:07:00Z") == seconds("2026-12-01 10:07")
