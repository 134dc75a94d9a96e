"""The schedule of snapshots: what is due is taken, what fails is tried again, and a stop ends the waiting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skylift.cli.home import Home
from skylift.cli.projects import buckets
from skylift.cli.projects.project import Project
from skylift.cli.projects.snapshot_rule import SnapshotRule
from skylift.cli.settings_file.read import read
from skylift.cli.snapshots.schedule import AGAIN_SECONDS, SnapshotSchedule, SnapshotWork
from skylift.core.clock import ManualClock
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.unit
HOUR = 3600.0


class Work(SnapshotWork):
    """Environments with the times of their newest snapshots; ``None``: stopped."""

    def __init__(self, clock: ManualClock, **newest: float | None) -> None:
        self.clock, self.times = clock, newest
        self.taken: list[tuple[str, int]] = []
        self.fails = False

    def newest(self, environment: str) -> float | None:
        return self.times[environment]

    def take(self, environment: str, keep: int, say: Callable[[str], None]) -> str:
        say("under way")
        if self.fails:
            raise Unavailable("no database")
        self.taken.append((environment, keep))
        self.times[environment] = self.clock()
        return "snapshot"


class Stopped(Work):
    """Something happens while a snapshot is taken."""

    meanwhile: Callable[[], None]

    def take(self, environment: str, keep: int, say: Callable[[str], None]) -> str:
        self.meanwhile()
        return super().take(environment, keep, say)


def test_one_is_taken_when_it_is_due_and_not_before() -> None:
    clock, said = ManualClock(), list[str]()
    work = Work(clock, new=0.0, fresh=clock() - HOUR, stopped=None)
    rules = dict.fromkeys(("new", "fresh", "stopped"), SnapshotRule(2, 7))
    schedule = SnapshotSchedule(lambda: rules, work, said.append, clock)
    schedule.look()
    assert work.taken == [("new", 7)]
    clock.advance(HOUR)
    schedule.look()
    assert work.taken == [("new", 7), ("fresh", 7)]
    clock.advance(HOUR)
    schedule.look()
    assert work.taken[2:] == [("new", 7)]
    assert said[0] == "new: snapshot, as its schedule says"


def test_what_fails_is_told_and_tried_again_later() -> None:
    clock, said = ManualClock(), list[str]()
    work = Work(clock, e=0.0)
    work.fails = True
    schedule = SnapshotSchedule(lambda: {"e": SnapshotRule(1, 1)}, work, said.append, clock)
    schedule.look()
    schedule.look()
    assert said == ["e: no snapshot, trying again in 10 minutes: no database"]
    work.fails = False
    clock.advance(AGAIN_SECONDS)
    schedule.look()
    assert work.taken == [("e", 1)]


def test_a_stop_ends_what_is_being_taken() -> None:
    clock, said = ManualClock(), list[str]()
    work = Stopped(clock, e=0.0)
    schedule = SnapshotSchedule(lambda: {"e": SnapshotRule(1, 1)}, work, said.append, clock)
    work.meanwhile = schedule.stop
    schedule.look()
    assert work.taken == []
    assert "skylift stops" in said[0]


def test_the_rule_is_read_kept_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "skylift.toml").write_text("snapshots = { hours = 24, keep = 7 }\n")
    rule = read(tmp_path, {}).snapshots
    assert rule == SnapshotRule(24, 7)
    home, project = Home(tmp_path / "home"), Project(tmp_path, "demo")
    home.prepare()
    buckets.remember(home, project, [])
    buckets.record_settings(home, project, {}, rule)
    assert buckets.followed(home)["demo"].snapshots == rule
    buckets.record_settings(home, project, {}, None)
    assert buckets.followed(home)["demo"].snapshots is None


@pytest.mark.parametrize("text", ["{ hours = 0, keep = 7 }", "{ hours = 24 }", '{ hours = "1", keep = 1 }', "7"])
def test_a_rule_that_says_too_little_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "skylift.toml").write_text(f"snapshots = {text}\n")
    with pytest.raises(Refused, match="snapshots"):
        read(tmp_path, {})
