"""When the schedules of EventBridge Scheduler are due: in their own time zones, once for each occurrence.

ministack fires all schedules by UTC, forgets at a restart what it has fired, and takes any expression. This replaces
its check for due schedules and looks into expressions before it accepts them; the target is started as before. What was
fired last stands in the schedule's own record, so it survives a restart. Like ``ministack.py``, this file depends on
ministack's internals.

Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from skylift.localcloud.emulators.ministack import Ministack
from skylift.localcloud.occurrences import LAST, Cron, InvalidSchedule, is_one_time, moment_of, next_occurrence

LATE_SECONDS = 300.0
"""An occurrence of a recurring schedule that is later than this is skipped: the local cloud did not run then."""

_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


def delay_of(schedule: Mapping[str, Any], occurrence: float) -> float:
    """Seconds after an occurrence at which its target is started: anywhere in a flexible window, else 0."""
    window = schedule.get("FlexibleTimeWindow") or {}
    minutes = int(window.get("MaximumWindowInMinutes") or 0) if window.get("Mode") == "FLEXIBLE" else 0
    if not minutes:
        return 0.0
    drawn = hashlib.sha256(f"{schedule.get('Arn')} {occurrence}".encode()).digest()
    return float(int.from_bytes(drawn[:4], "big") % (minutes * 60))


def told_of(schedule: Mapping[str, Any], occurrence: float, attempt: int = 1) -> dict[str, Any]:
    """The target with Scheduler's own words (``<aws.scheduler.scheduled-time>`` ...) in its input replaced."""
    target = dict(schedule.get("Target") or {})
    words = {
        "schedule-arn": str(schedule.get("Arn", "")),
        "scheduled-time": f"{datetime.fromtimestamp(occurrence, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "execution-id": uuid.uuid4().hex,
        "attempt-number": str(attempt),
    }
    for word, value in words.items():
        if target.get("Input"):
            target["Input"] = str(target["Input"]).replace(f"<aws.scheduler.{word}>", value)
    return target


class Schedules:
    """Looks after ministack's schedules."""

    def __init__(self, ministack: Ministack, now: Callable[[], float] = time.time) -> None:
        self._ministack = ministack
        self._now = now
        self._cron = cron_of(ministack)

    def install(self) -> None:
        """Replaces ministack's functions."""
        scheduler = self._ministack.service("scheduler")
        create, update, get = scheduler._create_schedule, scheduler._update_schedule, scheduler._get_schedule

        def checked_create(name: str, body: dict[str, Any]) -> Any:
            return self._refusal(scheduler, body) or create(name, body)

        def checked_update(name: str, body: dict[str, Any]) -> Any:
            key = f"{body.get('GroupName', 'default')}/{name}"
            before = scheduler._schedules.get(key) or {}
            answer = self._refusal(scheduler, body) or update(name, body)
            after = scheduler._schedules.get(key)
            if after is not before and LAST in before and _same_times(before, after):
                after[LAST] = before[LAST]
            return answer

        def shown(name: str, query: dict[str, Any]) -> Any:
            status, headers, body = get(name, query)
            told = json.loads(body)
            told.pop(LAST, None)
            return status, headers, json.dumps(told).encode()

        scheduler._create_schedule, scheduler._update_schedule = checked_create, checked_update
        scheduler._get_schedule, scheduler._tick_schedules = shown, self.look
        scheduler._SCHEDULE_TICK_INTERVAL = _LOOK_SECONDS

    def look(self) -> None:
        """Starts the target of each schedule that is due. In ministack's own thread."""
        scheduler = self._ministack.service("scheduler")
        for key, schedule in list(scheduler._schedules._data.items()):
            if schedule.get("State") != "ENABLED":
                continue
            try:
                self._look_at(scheduler, key, schedule)
            except Exception:  # noqa: BLE001  one schedule must not stop the others
                _log.exception("schedule %s", key[-1])

    def _look_at(self, scheduler: Any, key: tuple[str, str, str], schedule: dict[str, Any]) -> None:
        now, occurrence = self._now(), next_occurrence(schedule, self._cron)
        if occurrence is None:
            end = moment_of(schedule.get("EndDate"))
            if not is_one_time(schedule) and end is not None and now > end:
                self._completed(scheduler, key, schedule)
            return
        begin = occurrence + delay_of(schedule, occurrence)
        if now < begin:
            return
        fires = is_one_time(schedule) or now - begin <= LATE_SECONDS
        schedule[LAST] = occurrence if fires else now
        self._ministack.changed("scheduler")
        if fires:
            self._fire(key, {**schedule, "Target": told_of(schedule, occurrence)}, occurrence)
        if is_one_time(schedule):
            self._completed(scheduler, key, schedule)

    def _fire(self, key: tuple[str, str, str], schedule: dict[str, Any], occurrence: float) -> None:
        account, region, _ = key
        event = {
            "EventId": str(uuid.uuid4()),
            "Source": "aws.scheduler",
            "DetailType": "Scheduled Event",
            "Detail": "{}",
            "Time": occurrence,
            "Resources": [schedule.get("Arn", "")],
            "Account": account,
            "Region": region,
        }
        with self._ministack.scope(region):
            self._ministack.service("eventbridge")._invoke_target(schedule["Target"], event, schedule)

    def _completed(self, scheduler: Any, key: tuple[str, str, str], schedule: Mapping[str, Any]) -> None:
        if schedule.get("ActionAfterCompletion") == "DELETE":
            scheduler._schedules._data.pop(key, None)
            self._ministack.changed("scheduler")

    def _refusal(self, scheduler: Any, body: Mapping[str, Any]) -> Any:
        if not body.get("ScheduleExpression"):
            return None  # theirs to refuse
        try:
            next_occurrence({**body, "CreationDate": self._now()}, self._cron)
        except InvalidSchedule as error:
            return scheduler._error(400, "ValidationException", str(error))
        return None


def cron_of(ministack: Ministack) -> Cron:
    """Understands cron expressions; once ministack has started."""

    def cron(expression: str, after: datetime) -> datetime | None:
        bridge = ministack.service("eventbridge")
        fields = bridge._parse_cron_fields(expression)
        if fields is None:
            raise ValueError(expression)
        found: datetime | None = bridge._cron_next_fire(fields, after.replace(tzinfo=UTC))
        return None if found is None else found.replace(tzinfo=None)

    return cron


def _same_times(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return all(before.get(name) == after.get(name) for name in ("ScheduleExpression", "ScheduleExpressionTimezone"))
