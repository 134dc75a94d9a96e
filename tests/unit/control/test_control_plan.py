"""Blueprint and plan are pure: golden orders, and properties that hold for every state of the parts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from tests.control_scenes import spec

from skylift.control.blueprint import Blueprint, blueprint
from skylift.control.plan import PartPhase, Seen, StepVerb, plan, plan_removal

pytestmark = pytest.mark.unit

PLAIN = blueprint(spec())
LAYERED = blueprint(spec(RequirementsS3Path="requirements.txt"))

GOLDEN_WAVES = [
    ["source", "logs", "secrets", "database", "balancer", "events"],
    ["definition/build-layer", "definition/migrate"],
    ["layer", "migration"],
    [
        "definition/api-server",
        "definition/scheduler",
        "definition/dag-processor",
        "definition/triggerer",
        "definition/task",
        "heartbeat",
    ],
    ["service/api-server", "service/scheduler", "service/dag-processor", "service/triggerer"],
    ["health"],
]


def waves(parts: Blueprint) -> list[list[str]]:
    """Names that each plan puts, when all that is put is ready at once."""
    seen = {part.name: Seen(PartPhase.ABSENT) for part in parts}
    found: list[list[str]] = []
    while steps := plan(parts, seen):
        found.append([step.part.name for step in steps])
        seen |= {step.part.name: Seen(PartPhase.READY) for step in steps}
    return found


def test_golden_plan_of_a_create() -> None:
    assert waves(LAYERED) == GOLDEN_WAVES


def test_without_requirements_there_is_no_layer() -> None:
    names = [name for wave in waves(PLAIN) for name in wave]
    assert "layer" not in names
    assert "definition/build-layer" not in names
    assert len(names) == len(PLAIN)


@pytest.mark.parametrize("parts", [PLAIN, LAYERED])
def test_each_part_comes_after_what_it_needs(parts: Blueprint) -> None:
    names = [part.name for part in parts]
    assert len(set(names)) == len(names)
    for place, part in enumerate(parts):
        assert set(part.needs) <= set(names[:place])


def test_layer_and_migration_do_not_wait_for_each_other() -> None:
    seen = {part.name: Seen(PartPhase.READY) for part in LAYERED} | {"layer": Seen(PartPhase.ABSENT)}
    assert [step.part.name for step in plan(LAYERED, seen | {"migration": Seen(PartPhase.MOVING)})] == ["layer"]


def test_removal_is_the_reverse() -> None:
    seen = {part.name: Seen(PartPhase.READY) for part in LAYERED}
    found: list[list[str]] = []
    while steps := plan_removal(LAYERED, seen):
        found.append(sorted(step.part.name for step in steps))
        seen |= {step.part.name: Seen(PartPhase.ABSENT) for step in steps}
    assert found[0] == ["health", "heartbeat"]
    assert found[1] == sorted(GOLDEN_WAVES[4])
    assert {name for wave in found for name in wave} == {part.name for part in LAYERED}
    assert set(found[-1]) <= set(GOLDEN_WAVES[0])


def test_plans_never_break_the_order() -> None:
    chance = random.Random(7)
    needs = {part.name: part.needs for part in LAYERED}
    verbs = Counter[StepVerb]()
    for _ in range(300):
        seen = {part.name: Seen(chance.choice(list(PartPhase))) for part in LAYERED}
        verbs.update(step.verb for step in (*plan(LAYERED, seen), *plan_removal(LAYERED, seen)))
        for step in plan(LAYERED, seen):
            assert step.verb is StepVerb.PUT
            assert seen[step.part.name].phase in {PartPhase.ABSENT, PartPhase.DIFFERENT}
            assert all(seen[name].phase is PartPhase.READY for name in step.part.needs)
        for step in plan_removal(LAYERED, seen):
            assert step.verb is StepVerb.REMOVE
            above = [name for name, below in needs.items() if step.part.name in below]
            assert all(seen[name].phase is PartPhase.ABSENT for name in above)
    assert min(verbs[StepVerb.PUT], verbs[StepVerb.REMOVE]) > 100, "there was something to do"


def test_a_step_reads_as_a_sentence() -> None:
    seen = {part.name: Seen(PartPhase.READY) for part in PLAIN} | {
        "service/scheduler": Seen(PartPhase.DIFFERENT, note="old")
    }
    assert [str(step) for step in plan(PLAIN, seen)] == ["put service/scheduler: old"]
