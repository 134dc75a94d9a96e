"""What hangs is replaced, and what is only slow is not: the decision, and its part on a database and an ECS in
memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.control_scenes import context, spec
from tests.unit.control.test_control_kinds import one

from skylift.aws.ecs.tasks import DescribedTask
from skylift.control.blueprint import PartKind
from skylift.control.heartbeats import (
    ALL_SILENT,
    JOB_TYPES,
    MOST_PATIENCE,
    STARTING,
    Beats,
    Circumstances,
    Replacements,
    Silence,
    by_task,
    interval,
    watched,
)
from skylift.control.notes import of_notes
from skylift.control.parts.heartbeat import HeartbeatParts
from skylift.control.plan import PartPhase, Seen

pytestmark = pytest.mark.unit
AT = datetime(2026, 11, 30, tzinfo=UTC)
LIMIT = 300
ROLES = ("scheduler", "dag-processor", "triggerer", "api-server")
OLD, NEW = "a" * 32, "b" * 32


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_silence_counts_only_while_somebody_looks() -> None:
    found = watched(None, AT, after(500), 60)
    assert found.silent == 0, "what was before the first look is not known"
    found = watched(found, AT, after(530), 60)
    assert found.silent == 30
    found = watched(found, AT, after(90_000), 60)
    assert found.silent == 90, "the machine slept"
    assert watched(found, after(1), after(90_030), 60) == Silence(after(1), 0.0, after(90_030)), "it beats"
    assert watched(found, AT, AT, 60).silent == 90, "a clock that goes back"
    assert watched(found, None, after(90_010), 60).silent == 100, "a beat that is too old to be read is no new one"


def test_a_beat_counts_whatever_the_clock_of_its_container() -> None:
    found = watched(None, AT - timedelta(days=3), AT, 60)
    for n in range(1, 100):
        found = watched(found, AT - timedelta(days=3) + timedelta(seconds=5 * n), after(30 * n), 60)
        assert found.silent == 0


def test_patience_grows_and_has_an_end() -> None:
    assert Circumstances(LIMIT).patience == LIMIT
    assert [Circumstances(LIMIT, replaced=n).patience for n in (1, 2, 3)] == [600, 1200, 2400]
    assert Circumstances(LIMIT, replaced=90).patience == MOST_PATIENCE
    assert Circumstances(LIMIT, has_beaten=False).patience == LIMIT * STARTING
    assert Circumstances(LIMIT, others_beat=False).patience == LIMIT * ALL_SILENT
    assert Circumstances(LIMIT, interval=900).patience == 9000, "the user's own interval goes before our limit"
    assert Circumstances(LIMIT, interval=900, replaced=3).patience == 9000


def test_the_users_own_intervals_are_read() -> None:
    assert interval("scheduler", {"scheduler.scheduler_heartbeat_sec": "60"}) == 60
    assert interval("triggerer", {"scheduler.scheduler_heartbeat_sec": "60"}) == 0
    assert interval("scheduler", {"scheduler.scheduler_heartbeat_sec": "often"}) == 0
    assert interval("api-server", {}) == 0


def test_whose_heartbeat_it_is() -> None:
    assert by_task([OLD, NEW], {OLD: AT}) == {OLD: AT, NEW: None}
    assert by_task([NEW], {OLD: AT}) == {NEW: None}, "another container's, from before"
    assert by_task([NEW], {"ip-10-0-0-1": AT, "ip-10-0-0-2": after(1)}) == {NEW: after(1)}, "hosts named by the user"
    assert by_task([OLD, NEW], {"ip-10-0-0-1": AT}) == {}, "nobody can tell"
    assert by_task([], {}) == {}


def test_replacements_are_counted_and_forgotten() -> None:
    fact = Replacements.read("", AT).once_more(AT)
    assert Replacements.read(fact, after(10)) == Replacements(1, AT.timestamp())
    assert Replacements.read(Replacements.read(fact, AT).once_more(after(5)), after(9)).times == 2
    assert Replacements.read(fact, AT + timedelta(days=2)).times == 0


class Airflow:
    """Database, ECS and API server of one environment; time passes when the test says so."""

    def __init__(self) -> None:
        self.now = AT
        self.running = {role: [f"arn:task/skylift/{role.encode().hex():0<32}"[:49]] for role in ROLES}
        self.beats: dict[str, dict[str, datetime]] = {}
        self.hung: set[str] = set()
        self.stopped: list[tuple[str, str]] = []
        self.answers = True
        self.calls = 0
        self.speed = 1.0
        self.stage = context(spec())
        self.begin()

    def begin(self) -> None:
        self.parts = HeartbeatParts(self, self, self, self.ask)

    def read(self, database: str) -> tuple[datetime, Mapping[str, Beats]]:
        assert database == "airflow-flight"
        return self.now, self.beats

    def family_tasks(self, family: str) -> list[str]:
        self.calls += 1
        return self.running[family.removeprefix("skylift-flight-")]

    def describe(self, arns: Sequence[str]) -> dict[str, DescribedTask]:
        return {arn: DescribedTask(arn, "RUNNING", "RUNNING", "", "", True, "", ()) for arn in arns}

    def stop(self, arn: str, why: str) -> None:
        self.stopped.append((arn, why))

    def ask(self, url: str) -> dict[str, Any]:
        return {"scheduler": {}} if self.answers else {}

    def beat(self) -> None:
        for role, kind in JOB_TYPES.items():
            for arn in self.running[role]:
                if arn not in self.hung:
                    self.beats.setdefault(kind, {})[arn.rpartition("/")[2]] = self.now

    def look(self) -> Seen:
        part = one(PartKind.HEARTBEAT, self.stage)
        found = self.parts.observe(self.stage, [part])["heartbeat"]
        if found.phase is PartPhase.DIFFERENT:
            self.parts.put(self.stage, part)
        self.told = of_notes(self.stage.facts, found.facts)
        self.stage = replace(self.stage, facts={**self.stage.facts, **found.facts})
        return found

    def pass_by(self, seconds: float, each: float = 30.0) -> Seen:
        """Looks at this pace; ends early once something is wrong."""
        for _ in range(int(seconds / each)):
            self.now += timedelta(seconds=each)
            self.beat()
            found = self.look()
            if found.phase is not PartPhase.READY:
                break
        return found

    def replaced(self, role: str, name: str) -> None:
        self.running[role] = [f"arn:task/skylift/{name}"]


@pytest.fixture
def airflow() -> Airflow:
    made = Airflow()
    made.stage = replace(made.stage, spec=replace(made.stage.spec, schedulers=1))
    made.beat()
    return made


def test_while_all_is_well_ecs_is_not_asked(airflow: Airflow) -> None:
    assert airflow.pass_by(3600) == Seen(PartPhase.READY)
    assert (airflow.calls, airflow.stopped) == (0, [])


@pytest.mark.parametrize("role", JOB_TYPES)
def test_what_hangs_is_told_then_stopped_then_told_again(airflow: Airflow, role: str) -> None:
    (arn,) = airflow.running[role]
    airflow.pass_by(60)
    airflow.hung.add(arn)
    assert airflow.pass_by(300).phase is PartPhase.READY, "so long it may be slow"
    found = airflow.pass_by(300)
    assert (found.phase, airflow.stopped) == (PartPhase.MOVING, []), "first the row knows"
    (told,) = airflow.told
    assert told[0].startswith(f"{role} hangs: no heartbeat for 0:05:")
    assert told[0].endswith(f"ECS task {arn[-32:][:8]} is replaced")
    airflow.now += timedelta(seconds=1)
    assert airflow.look().phase is PartPhase.DIFFERENT
    assert [one for one, _ in airflow.stopped] == [arn]
    assert airflow.stopped[0][1].startswith(f"skylift: {role} hangs: no heartbeat for")
    airflow.replaced(role, NEW)
    airflow.now += timedelta(seconds=30)
    found = airflow.look()
    assert found.phase is PartPhase.MOVING, "the new one has not beaten yet: it is looked at often"
    assert found.note.startswith(f"{role} hangs: ")
    assert airflow.pass_by(1, each=1).phase is PartPhase.READY
    ((text, took),) = airflow.told
    assert text.startswith(f"{role} was replaced, and works: no heartbeat for 0:05:")
    assert took == 32
    assert airflow.pass_by(600) == Seen(PartPhase.READY)
    assert len(airflow.stopped) == 1


def test_a_killed_control_plane_still_stops_what_the_row_names(airflow: Airflow) -> None:
    airflow.hung |= set(airflow.running["scheduler"])
    assert airflow.pass_by(900).phase is PartPhase.MOVING
    airflow.begin()
    assert airflow.look().phase is PartPhase.DIFFERENT
    assert len(airflow.stopped) == 1
    airflow.begin()
    airflow.look()
    assert {one for one, _ in airflow.stopped} == {airflow.stopped[0][0]}, "the same one, once more"


def test_one_that_beats_again_in_the_last_moment_stays(airflow: Airflow) -> None:
    airflow.hung |= set(airflow.running["scheduler"])
    airflow.pass_by(900)
    airflow.hung.clear()
    assert airflow.pass_by(600) == Seen(PartPhase.READY)
    assert (airflow.stopped, airflow.stage.fact("heartbeat.hung.scheduler")) == ([], "")


def test_a_machine_ten_times_slower_gets_nothing_killed(airflow: Airflow) -> None:
    """Beats each 50 s and starts of 150 s, and the control plane looks each 300 s."""
    for n in range(400):
        airflow.now += timedelta(seconds=10)
        if n % 5 == 0:
            airflow.beat()
        if n % 30 == 0:
            assert airflow.look().phase is PartPhase.READY
    for role in JOB_TYPES:
        airflow.replaced(role, f"{role.encode().hex():c<32}"[:32])
    assert airflow.look().phase is PartPhase.READY
    airflow.now += timedelta(seconds=150)
    assert airflow.look().phase is PartPhase.READY
    airflow.now += timedelta(seconds=300)
    airflow.beat()
    assert airflow.look().phase is PartPhase.READY
    assert airflow.stopped == []


def test_a_machine_that_slept_gets_nothing_killed(airflow: Airflow) -> None:
    airflow.pass_by(60)
    airflow.now += timedelta(hours=9)
    assert airflow.look().phase is PartPhase.READY
    airflow.now += timedelta(seconds=30)
    assert airflow.look().phase is PartPhase.READY
    assert airflow.pass_by(120) == Seen(PartPhase.READY)


def test_the_next_replacement_takes_twice_as_much_silence(airflow: Airflow) -> None:
    waits = []
    for n in range(4):
        airflow.pass_by(120)
        airflow.hung |= set(airflow.running["triggerer"])
        begun = airflow.now
        airflow.pass_by(90_000)
        waits.append((airflow.now - begun).total_seconds())
        airflow.look()
        airflow.replaced("triggerer", f"{n}" * 32)
    assert len(airflow.stopped) == 4
    assert all(1.7 < longer / shorter < 2.1 for shorter, longer in pairwise(waits)), waits


def test_one_that_never_beat_gets_longer(airflow: Airflow) -> None:
    airflow.pass_by(60)
    airflow.replaced("scheduler", NEW)
    airflow.hung |= set(airflow.running["scheduler"])
    airflow.now += timedelta(seconds=60)
    assert airflow.pass_by(LIMIT * STARTING).phase is PartPhase.READY
    assert airflow.pass_by(120).note.startswith("scheduler hangs: no first heartbeat for 0:15:")


def test_if_nobody_beats_the_database_may_be_to_blame(airflow: Airflow) -> None:
    airflow.hung |= {arn for arns in airflow.running.values() for arn in arns}
    assert airflow.pass_by(LIMIT * ALL_SILENT).phase is PartPhase.READY
    assert airflow.pass_by(120).phase is PartPhase.MOVING


def test_of_two_schedulers_the_one_that_hangs_goes(airflow: Airflow) -> None:
    airflow.stage = replace(airflow.stage, spec=replace(airflow.stage.spec, schedulers=2))
    airflow.running["scheduler"] = [f"arn:task/skylift/{name}" for name in (OLD, NEW)]
    airflow.beat()
    airflow.hung = {f"arn:task/skylift/{NEW}"}
    airflow.pass_by(900)
    airflow.look()
    assert [arn for arn, _ in airflow.stopped] == [f"arn:task/skylift/{NEW}"]


def test_an_api_server_that_answers_nothing_is_replaced_while_the_database_answers(airflow: Airflow) -> None:
    airflow.pass_by(60)
    airflow.answers = False
    assert airflow.pass_by(LIMIT * STARTING).phase is PartPhase.READY, "it may be starting"
    assert airflow.pass_by(90).note.startswith("api-server hangs: no health answer for 0:15:")
    airflow.look()
    assert [arn for arn, _ in airflow.stopped] == airflow.running["api-server"]
    airflow.replaced("api-server", NEW)
    airflow.answers = True
    airflow.pass_by(30)
    assert airflow.told[0][0].startswith("api-server was replaced, and works: no health answer")


def test_an_environment_may_choose_another_limit(airflow: Airflow) -> None:
    airflow.stage = replace(airflow.stage, spec=spec(AirflowConfigurationOptions={"skylift.heartbeat_seconds": "10"}))
    airflow.pass_by(60)
    airflow.hung |= set(airflow.running["scheduler"])
    assert airflow.pass_by(30).note == "scheduler hangs: no heartbeat for 0:00:30", "since it was last seen to be well"


def test_nothing_runs_nothing_is_to_be_replaced(airflow: Airflow) -> None:
    airflow.running, airflow.answers = {role: [] for role in ROLES}, False
    assert airflow.pass_by(9000) == Seen(PartPhase.READY)
