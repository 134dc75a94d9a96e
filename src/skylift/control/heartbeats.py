"""Which container hangs: decided from the heartbeats that Airflow writes into its database. Pure.

Time counts only while we watch, and on the database's clock. So a machine that slept, a control plane that was away,
or a clock that differs in a container makes nothing look dead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from skylift.core.containers import Command

JOB_TYPES = {
    Command.SCHEDULER: "SchedulerJob",
    Command.DAG_PROCESSOR: "DagProcessorJob",
    Command.TRIGGERER: "TriggererJob",
}
"""Column ``job_type`` of Airflow's table ``job``."""

INTERVALS = {
    Command.SCHEDULER: "scheduler.scheduler_heartbeat_sec",
    Command.DAG_PROCESSOR: "scheduler.job_heartbeat_sec",
    Command.TRIGGERER: "triggerer.job_heartbeat_sec",
}
"""Options with which a user changes how often a component beats (Airflow's default: each 5 s)."""

MOST_INTERVALS = 10
"""A component may miss this many of its own beats, however long its interval is."""

STARTING = 3
"""A container that has never beaten gets this many times as long: it may still install, import and adopt."""

ALL_SILENT = 4
"""If no component beats, the database or the machine is to blame, rather than each of them."""

MOST_PATIENCE = 7200.0
"""Seconds; patience doubles up to here."""

FORGIVEN = timedelta(days=1)
"""After this long without a replacement, patience is as short as at first."""

FRESH = timedelta(seconds=45)
"""A beat of this age needs no closer look. Airflow calls a component healthy for 30 s."""

TASK_ID = re.compile(r"[0-9a-f]{32}")
"""The name under which a container of ours beats (``runtime/components.py``, ``container_name``)."""

Beats = Mapping[str, datetime]
"""Newest heartbeat by the name that wrote it."""


@dataclass(frozen=True)
class Silence:
    """What is known of one container.

    Attributes:
        beat: its newest heartbeat; None if there was none yet.
        silent: seconds that we have watched without a new one.
        at: the database's time of the last look.
    """

    beat: datetime | None
    silent: float
    at: datetime


def since(beat: datetime | None, well: datetime | None, now: datetime) -> Silence:
    """What is known of a container at the first look at it alone.

    Args:
        well: when its component was last seen to be well.
    """
    return Silence(beat, 0.0, now if beat is None or well is None else min(max(beat, well), now))


def watched(before: Silence | None, beat: datetime | None, now: datetime, most: float) -> Silence:
    """What is known after one more look.

    Args:
        most: seconds that may count between two looks: when nobody looked, nobody knows.
    """
    if before is None or (beat is not None and beat != before.beat):
        return Silence(beat, 0.0, now)
    passed = max(0.0, (now - before.at).total_seconds())
    return Silence(before.beat, before.silent + min(passed, most), now)


@dataclass(frozen=True)
class Circumstances:
    """What decides how long a container may be silent.

    Attributes:
        seconds: the setting.
        interval: seconds between two beats that the user has set; 0: Airflow's default.
        replaced: how often the component was replaced lately: a time that was too short will be too short again.
        has_beaten: whether this container ever did.
        others_beat: whether any component of the environment does.
    """

    seconds: float
    interval: float = 0.0
    replaced: int = 0
    has_beaten: bool = True
    others_beat: bool = True

    @property
    def patience(self) -> float:
        """Seconds of silence after which the container is replaced."""
        longest = max(self.seconds, self.interval * MOST_INTERVALS)
        longest *= (1 if self.has_beaten else STARTING) * (1 if self.others_beat else ALL_SILENT)
        return max(longest, min(longest * 2.0 ** min(self.replaced, 16), MOST_PATIENCE))


def interval(role: str, options: Mapping[str, str]) -> float:
    """How often a component beats if the user has set that; otherwise 0."""
    return _number(options.get(INTERVALS.get(Command(role), ""), ""))


def _number(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def beating(beats: Beats, now: datetime, fresh: timedelta) -> int:
    """How many have beaten just now."""
    return sum(now - beat < fresh for beat in beats.values())


def by_task(tasks: Sequence[str], beats: Beats) -> dict[str, datetime | None]:
    """The newest heartbeat of each ECS task, by its id; {} if it cannot be told which is whose.

    A user may name hosts otherwise (``core.hostname_callable``). Then only a single container can be judged.
    """
    if any(task in beats for task in tasks):
        return {task: beats.get(task) for task in tasks}
    others = [beat for name, beat in beats.items() if not TASK_ID.fullmatch(name)]
    if not others:
        return dict.fromkeys(tasks)
    return {tasks[0]: max(others)} if len(tasks) == 1 else {}


@dataclass(frozen=True)
class Replacements:
    """How often a component's hung containers were replaced, and when last: a fact of the environment."""

    times: int = 0
    last: float = 0.0

    @classmethod
    def read(cls, fact: str, now: datetime) -> Replacements:
        """From a fact; what is long ago is forgotten."""
        times, _, last = fact.partition(" ")
        if not last or now.timestamp() - float(last) > FORGIVEN.total_seconds():
            return cls()
        return cls(int(times), float(last))

    def once_more(self, now: datetime) -> str:
        """The fact after another one."""
        return f"{self.times + 1} {now.timestamp():.3f}"
