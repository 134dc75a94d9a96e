"""The proof of an update: it runs only when something relevant changed, and its own failures are told apart from the
update's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.control_scenes import context, spec
from tests.unit.control.test_control_kinds import RUNNING, World, knowing, stopped

from skylift.control.blueprint import PartKind, blueprint
from skylift.control.part_context import PartContext
from skylift.control.parts.one_off import Once
from skylift.control.parts.proof import ProofParts, proof_digest
from skylift.control.plan import PartPhase, Seen
from skylift.core.environment import Spec

pytestmark = pytest.mark.unit
OLD = spec(RequirementsS3Path="r.txt", AirflowConfigurationOptions={"smtp.smtp_password": "hunter2hunter2"})
LAYER = {"layer.url": "s3://b/layers/a/layer.tar.gz", "definition.prove": "arn:def:prove"}


def updating(new: Spec = OLD, **facts: str) -> PartContext:
    before = knowing(context(OLD), LAYER)
    after = knowing(before, {name.replace("__", "."): value for name, value in facts.items()})
    return replace(after, spec=new, served=(OLD, before.facts))


CHANGED = updating(layer__url="s3://b/layers/b/layer.tar.gz")


class Proof:
    """The part, in a world that a test writes."""

    def __init__(self) -> None:
        self.world = World()
        self.parts = ProofParts(self.world, Once(self.world, self.world))  # type: ignore[arg-type]
        (self.part,) = [one for one in blueprint(OLD, proving=True) if one.kind is PartKind.PROOF]

    def look(self, stage: PartContext) -> Seen:
        return self.parts.observe(stage, [self.part])["proof"]

    def begun(self, code: int | None, result: Mapping[str, Any] | None, stop: str = "EssentialContainerExited") -> Seen:
        stage = knowing(CHANGED, self.parts.put(CHANGED, self.part))
        self.world.task = RUNNING if code is None else stopped(code, stop)
        self.world.result = dict(result) if result else None
        return self.look(stage)


@pytest.mark.parametrize(
    "new",
    [
        replace(OLD, max_workers=20),
        replace(OLD, schedulers=4),
        replace(OLD, maintenance_window="MON:03:00"),
        replace(OLD, environment_class="mw1.large"),
    ],
    ids=["workers", "schedulers", "window", "class"],
)
def test_what_user_code_cannot_see_needs_no_proof(new: Spec) -> None:
    assert Proof().look(updating(new)).phase is PartPhase.READY


@pytest.mark.parametrize(
    "stage",
    [
        CHANGED,
        updating(secrets__options_version="22222222-2222-2222-2222-222222222222"),
        updating(replace(OLD, dag_path="flows")),
        updating(replace(OLD, options={"core.lazy_load_plugins": "False"})),
        updating(replace(OLD, requirements=None)),
    ],
    ids=["layer", "option's value", "DAG folder", "options", "no requirements"],
)
def test_what_user_code_sees_is_proven(stage: PartContext) -> None:
    assert Proof().look(stage).phase is PartPhase.ABSENT
    done = knowing(stage, {"proof.done": proof_digest(stage)})
    assert Proof().look(done).phase is PartPhase.READY, "once"


def test_it_knows_what_serves_and_never_a_value() -> None:
    proof = Proof()
    proof.parts.put(CHANGED, proof.part)
    (overrides,) = proof.world.runs[0]["overrides"]["containerOverrides"]
    told = {one["name"]: one["value"] for one in overrides["environment"]}
    assert told["SKYLIFT_SERVING_LAYER"] == LAYER["layer.url"]
    assert told["SKYLIFT_PROOF_OPTIONS"] == "AIRFLOW__SMTP__SMTP_PASSWORD"
    assert "hunter2hunter2" not in str(proof.world.runs)


def test_the_users_mistake_is_told_in_their_words_without_secrets() -> None:
    reason = "dags/a.py: KeyError: hunter2hunter2"
    fault = Proof().begun(1, {"ok": False, "code": "DAGS_FAILED", "reason": reason}).fault
    assert fault is not None
    assert (fault.code, fault.message) == ("DAGS_FAILED", "dags/a.py: KeyError: ***")


def test_one_that_ended_without_a_result_is_not_the_users_mistake() -> None:
    fault = Proof().begun(137, None).fault
    assert fault is not None
    assert fault.code == "AIRFLOW_START_FAILED"
    assert "exit code 137" in fault.message


def test_where_s3_or_the_machine_went_away_it_is_tried_again() -> None:
    assert Proof().begun(75, None).phase is PartPhase.ABSENT
    assert Proof().begun(143, None, "SpotInterruption").phase is PartPhase.ABSENT
    proof, stage = Proof(), CHANGED
    for _ in range(3):
        stage = knowing(stage, proof.parts.put(stage, proof.part))
    proof.world.task = stopped(75)
    assert proof.look(stage).phase is PartPhase.FAILED, "three times are enough"
    assert len({run["clientToken"] for run in proof.world.runs}) == 3


def test_it_ends_well_with_what_has_no_effect() -> None:
    seen = Proof().begun(0, {"ok": True, "notes": ["[foo] bar is not known"]})
    assert (seen.phase, seen.facts["proof.notes"]) == (PartPhase.READY, "[foo] bar is not known")
    assert Proof().begun(None, None).phase is PartPhase.MOVING
