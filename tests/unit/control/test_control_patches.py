"""What a newer skylift describes differently: when it is applied, and that until then nothing moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.control_scenes import context, spec
from tests.unit.control.test_control_kinds import one

from skylift.control.blueprint import PartKind
from skylift.control.definitions import definition
from skylift.control.part_context import PartContext
from skylift.control.parts.definition import DefinitionParts
from skylift.control.patches import TRIED, WHY, Window, due, fingerprint, is_older, outdated, rendered_fact, rendering
from skylift.control.plan import PartPhase
from skylift.control.update_plan import StepEffect, plan_update

pytestmark = pytest.mark.unit
ROLE = "scheduler"
SUNDAY = datetime(2026, 11, 29, tzinfo=UTC)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("start", "now", "opened"),
    [
        ("SUN:02:00", "2026-11-29 02:00", "2026-11-29 02:00"),
        ("SUN:02:00", "2026-11-29 03:59:59", "2026-11-29 02:00"),
        ("SUN:02:00", "2026-11-29 04:00", None),
        ("SUN:02:00", "2026-11-29 01:59:59", None),
        ("SUN:02:00", "2026-12-02 02:30", None),
        ("SUN:23:30", "2026-11-30 01:15", "2026-11-29 23:30"),
        ("MON:00:00", "2026-11-30 00:00", "2026-11-30 00:00"),
        ("MON:00:00", "2026-11-29 23:59:59", None),
        ("SAT:23:30", "2027-01-03 00:30", "2027-01-02 23:30"),
        ("", "2026-11-29 02:00", None),
    ],
)
def test_the_window_over_ends_of_weeks_and_years(start: str, now: str, opened: str | None) -> None:
    found = Window(start).opened(at(now))
    assert (found.timestamp() if found else None) == (at(opened) if opened else None)


def test_the_next_window_is_always_ahead_and_within_a_week() -> None:
    for hours in range(0, 24 * 15, 5):
        now = at("2026-11-20 00:10") + hours * 3600
        opens = Window("WED:13:30").opens(now)
        assert opens is not None
        assert 0 < opens.timestamp() - now <= 7 * 86400
        assert (opens.weekday(), opens.hour, opens.minute) == (2, 13, 30)


def serving(patches: str = "window", **facts: str) -> PartContext:
    """An environment that another skylift has described."""
    stage = context(spec(WeeklyMaintenanceWindowStart="SUN:02:00"))
    stage = replace(stage, settings=replace(stage.settings, patches=patches), keeps=True)
    return replace(stage, facts={**stage.facts, f"definition.{ROLE}": "arn:1", rendered_fact(ROLE): "old", **facts})


def test_one_try_in_each_window_and_a_missed_one_waits_for_the_next() -> None:
    stage, first, second = serving(), at("2026-11-29 02:30"), at("2026-12-06 03:00")
    assert due(stage, at("2026-12-01 12:00")) == "", "missed: not before the next"
    mark = due(stage, first)
    assert mark
    tried = serving(**{TRIED: mark})
    assert due(tried, first + 600) == ""
    assert due(tried, second) not in {"", mark}


def test_without_windows_once_for_each_description() -> None:
    mark = due(serving("at-once"), at("2026-12-01 12:00"))
    assert mark == fingerprint(serving())
    assert due(serving("at-once", **{TRIED: mark}), at("2026-12-09 12:00")) == ""
    assert due(serving("at-once", **{TRIED: "another"}), at("2026-12-09 12:00")) == mark


def test_facts_are_no_patch_and_settings_are() -> None:
    stage = serving(**{rendered_fact(ROLE): rendering(serving(), ROLE)})
    assert (is_older(stage, ROLE), outdated(stage)) == (False, ())
    moved = replace(stage, facts={**stage.facts, "web.address": "127.9.9.9:8080", "layer.url": "s3://other"})
    assert outdated(moved) == ()
    image = replace(stage, settings=replace(stage.settings, image="other/airflow:{version}"))
    assert outdated(image) == (ROLE,)


class Ecs:
    """Revisions of task definitions, in memory."""

    def __init__(self) -> None:
        self.revisions: list[dict[str, Any]] = []

    def register_definition(self, request: Mapping[str, Any]) -> str:
        arn = f"arn:{len(self.revisions) + 1}"
        self.revisions.append({**request, "taskDefinitionArn": arn, "status": "ACTIVE", "revision": 7})
        return arn

    def describe_definition(self, name: str) -> dict[str, Any] | None:
        found = [one for one in self.revisions if name in {one["family"], one["taskDefinitionArn"]}]
        return found[-1] if found and found[-1]["status"] == "ACTIVE" else None


@pytest.mark.parametrize("role", [ROLE, "task"])
def test_what_serves_stays_until_the_patch_and_comes_back_after_it(role: str) -> None:
    ecs, stage = Ecs(), context()
    parts = DefinitionParts(ecs, ecs)  # type: ignore[arg-type]
    part = one(PartKind.DEFINITION, stage, role)

    def seen(at: PartContext) -> tuple[PartPhase, Mapping[str, str]]:
        found = parts.observe(at, [part])[part.name]
        return found.phase, found.facts

    old = replace(stage, settings=replace(stage.settings, launches_per_second=7))
    facts = {**stage.facts, **parts.put(old, part)}
    assert seen(replace(old, facts=facts, keeps=True))[0] is PartPhase.READY
    newer = replace(stage, facts=facts, keeps=True)
    assert seen(newer) == (PartPhase.READY, {}), "nothing moves by itself"
    patching = replace(newer, keeps=False)
    assert seen(patching)[0] is PartPhase.ABSENT
    patched = parts.put(patching, part)
    assert patched == {f"definition.{role}": "arn:2", rendered_fact(role): rendering(patching, role)}
    assert seen(patching) == (PartPhase.READY, patched)
    assert is_older(replace(patching, facts={**facts, **patched}), role) is False
    # The patch failed, and the facts from before are back.
    if role == ROLE:
        assert seen(newer) == (PartPhase.READY, {})
        ecs.revisions[0]["status"] = "INACTIVE"
        fresh = DefinitionParts(ecs, ecs)  # type: ignore[arg-type]
        assert fresh.observe(newer, [part])[part.name].phase is PartPhase.READY, "containers must be able to start"
        return
    assert seen(newer)[0] is PartPhase.DIFFERENT, "Airflow tasks start from the newest"
    again = parts.put(newer, part)
    assert again == {"definition.task": "arn:3"}
    assert {name: ecs.revisions[2][name] for name in definition(old, role)} == definition(old, role)
    back = replace(newer, facts={**facts, **again})
    assert seen(back) == (PartPhase.READY, {})


def test_an_update_says_that_it_brings_the_patch_too() -> None:
    now = serving()
    plan = plan_update(now, replace(now, spec=replace(now.spec, min_workers=2)))
    assert {step.part: (step.effect, step.why) for step in plan.steps} == {
        "proof": (StepEffect.PROVE, (WHY,)),
        f"service/{ROLE}": (StepEffect.RESTART, (WHY,)),
    }
