"""Updates, with rows in a real PostgreSQL and parts in memory: tried first, then applied, rolled back on failure."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from tests.control_scenes import SETTINGS
from tests.local.control.test_control_reconcile import Rounds, database, postgres  # noqa: F401  # fixtures

from skylift.control.api.provider import update_of
from skylift.control.blueprint import Part
from skylift.control.events import of_plan
from skylift.control.part_context import PartContext
from skylift.control.parts.fake import FakeParts
from skylift.control.patches import rendered_fact
from skylift.control.plan import Failure, Seen
from skylift.control.postgres import PostgresAdmin
from skylift.control.reconcile import Reconciler
from skylift.control.update_plan import PlannedStep, StepEffect, UpdatePlan
from skylift.core.environment import Status

pytestmark = pytest.mark.local
MOVES = {"definition/prove", "proof", "definition/scheduler", "definition/task", "service/scheduler"}
REFUSED = Failure("DAGS_FAILED", "dags/a.py: No module named 'pandas'")


def available(postgres: PostgresAdmin, database: str) -> Rounds:  # noqa: F811
    rounds = Rounds(postgres, FakeParts(), database)
    rounds.until(Status.AVAILABLE)
    rounds.world.follows = set(MOVES)
    rounds.world.deeds.clear()
    return rounds


def ask(rounds: Rounds, **members: object) -> None:
    members = members or {"Schedulers": 3}
    wanted = update_of(rounds.row(), {"Name": "flight", **members}, SETTINGS)
    assert rounds.store.request_update(wanted, "UpdateEnvironment", "Schedulers", "GRACEFUL")


def test_what_must_move_moves_after_the_proof_and_nothing_else(
    postgres: PostgresAdmin,  # noqa: F811
    database: str,  # noqa: F811
) -> None:
    rounds = available(postgres, database)
    before = rounds.row()
    ask(rounds)
    rounds.reconciler.round()
    assert (rounds.row().status, rounds.row().last_update.status) == (Status.UPDATING, "PENDING")
    rounds.until(Status.AVAILABLE)
    row = rounds.row()
    assert {deed.removeprefix("put ") for deed in rounds.world.deeds} == MOVES
    assert rounds.world.deeds.index("put proof") < rounds.world.deeds.index("put definition/task")
    assert rounds.world.deeds[-1] == "put service/scheduler"
    assert (row.spec.schedulers, row.served, row.created_at) == (3, None, before.created_at)
    last = row.last_update
    assert (last.status, last.source, last.replacement) == ("SUCCESS", "UpdateEnvironment", "GRACEFUL")


def test_the_plan_is_told_once_before_anything_is_done(
    postgres: PostgresAdmin,  # noqa: F811
    database: str,  # noqa: F811
) -> None:
    rounds = available(postgres, database)
    known = len(rounds.store.events("flight"))
    ask(rounds, Schedulers=3, MaxWorkers=12)
    rounds.until(Status.AVAILABLE)
    ask(rounds, MinWorkers=2)
    rounds.until(Status.AVAILABLE)
    told = [event.text for event in rounds.store.events("flight")[known:]]
    plans = [(number, text) for number, text in enumerate(told) if text.startswith("plan: ")]
    assert plans[0] == (1, "plan: restart scheduler")
    assert [text for _, text in plans[1:]] in ([], ["plan: restart nothing"]), "a short one may end in its first pass"


def test_a_plan_in_one_line() -> None:
    def step(part: str, effect: StepEffect) -> PlannedStep:
        return PlannedStep(part, effect, "", ("RequirementsS3Path",))

    first = (
        step("layer", StepEffect.BUILD),
        step("proof", StepEffect.PROVE),
        step("definition/task", StepEffect.REGISTER),
    )
    moved = (step("service/api-server", StepEffect.RESTART), step("service/scheduler", StepEffect.RESTART))
    plan = UpdatePlan((), (*first, *moved), (), ())
    assert of_plan(plan) == "plan: build the layer, prove it, restart api-server, scheduler"
    scaled = UpdatePlan((), (step("service/scheduler", StepEffect.SCALE),), (), ())
    assert of_plan(scaled) == "plan: scale scheduler, restart nothing"


def test_what_is_refused_before_the_swap_touches_nothing_that_serves(
    postgres: PostgresAdmin,  # noqa: F811
    database: str,  # noqa: F811
) -> None:
    rounds = available(postgres, database)
    before = rounds.row()
    rounds.world.faults["proof"] = REFUSED
    ask(rounds)
    rounds.until(Status.ROLLING_BACK)
    told = rounds.row().last_update
    assert (told.status, told.code, told.message) == ("FAILED", REFUSED.code, REFUSED.message), "in the same write"
    rounds.until(Status.UPDATE_FAILED)
    row = rounds.row()
    assert (row.spec, row.served, row.last_update) == (before.spec, None, told)
    assert not [deed for deed in rounds.world.deeds if "service" in deed or deed == "put definition/task"]
    del rounds.world.faults["proof"]
    ask(rounds)
    rounds.until(Status.AVAILABLE)
    assert rounds.row().spec.schedulers == 3, "an update that failed stands in nobody's way"


def test_what_fails_after_the_swap_is_put_back(
    postgres: PostgresAdmin,  # noqa: F811
    database: str,  # noqa: F811
) -> None:
    rounds = available(postgres, database)
    before = rounds.row()
    rounds.world.faults["service/scheduler"] = Failure("COMPONENT_FAILED", "scheduler keeps ending")
    ask(rounds)
    rounds.until(Status.ROLLING_BACK)
    rounds.world.faults.clear()
    rounds.world.deeds.clear()
    rounds.until(Status.UPDATE_FAILED)
    assert "put service/scheduler" in rounds.world.deeds
    assert rounds.row().spec == before.spec
    assert rounds.row().last_update.message == "scheduler keeps ending"


@pytest.mark.parametrize("fails", [False, True], ids=["good", "bad"])
def test_a_kill_after_any_pass_ends_with_one_spec_whole(
    postgres: PostgresAdmin,  # noqa: F811
    database: str,  # noqa: F811
    fails: bool,
) -> None:
    for passes in range(1, 9):
        rounds = available(postgres, f"{database}_{passes}_{fails}"[:60])
        before = rounds.row()
        if fails:
            rounds.world.faults["service/scheduler"] = REFUSED
        ask(rounds)
        for _ in range(passes):
            rounds.clock.advance(rounds.reconciler.round())
        rounds.reconciler = Reconciler(rounds.store, rounds.world, SETTINGS, rounds.clock, threading.Event())
        if rounds.row().status is Status.ROLLING_BACK:
            rounds.world.faults.clear()
        elif fails and rounds.row().status is Status.UPDATING:
            rounds.until(Status.ROLLING_BACK)
            rounds.world.faults.clear()
        end = Status.UPDATE_FAILED if fails else Status.AVAILABLE
        rounds.until(end)
        assert rounds.row().spec.schedulers == (before.spec.schedulers if fails else 3)
        assert rounds.row().served is None


class Described(FakeParts):
    """Parts that another skylift has described: a patch is due."""

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        facts = {"definition.scheduler": "arn:1", rendered_fact("scheduler"): "old"}
        found = super().observe(context, parts)
        return {name: replace(one, facts={**one.facts, **facts}) for name, one in found.items()}


@pytest.mark.parametrize("fails", [False, True])
def test_a_patch_is_proven_and_undone_like_an_update_and_survives_a_kill(
    postgres: PostgresAdmin,  # noqa: F811
    database: str,  # noqa: F811
    fails: bool,
) -> None:
    rounds = Rounds(postgres, Described(), database)
    settings = replace(SETTINGS, patches="at-once")

    def kill() -> None:
        rounds.reconciler = Reconciler(rounds.store, rounds.world, settings, rounds.clock, threading.Event())

    kill()
    rounds.until(Status.AVAILABLE)
    before = rounds.row()
    if fails:
        rounds.world.faults["proof"] = REFUSED
    rounds.until(Status.MAINTENANCE)
    kill()
    rounds.until(Status.UPDATE_FAILED if fails else Status.AVAILABLE)
    row = rounds.row()
    last = row.last_update
    assert (last.source, last.status) == ("Maintenance", "FAILED" if fails else "SUCCESS")
    assert (row.spec, row.served, row.generation) == (before.spec, None, before.generation + (2 if fails else 1))
    for _ in range(5):
        rounds.clock.advance(60)
        rounds.reconciler.round()
    assert rounds.row().generation == row.generation, "tried once"
    told = [one.text for one in rounds.store.events("flight")]
    assert len([one for one in told if one.startswith("Maintenance: a newer skylift describes scheduler")]) == 1
