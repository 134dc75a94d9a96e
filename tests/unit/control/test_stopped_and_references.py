"""Two options that the control plane reads: an environment without containers, and variables by reference."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.control_scenes import SETTINGS, context, spec

from skylift.control.api.updates import updated
from skylift.control.api.validation import Invalid
from skylift.control.blueprint import COMPONENTS, EXECUTOR_ROLE, PartKind, blueprint
from skylift.control.definitions import definition
from skylift.control.judge import Observed, condition_of, judge
from skylift.control.parts.service import desired_count
from skylift.control.plan import PartPhase, Seen
from skylift.control.scaling import Work, bounds, needed
from skylift.control.update_plan import StepEffect, UpdatePlan, plan_update
from skylift.core.containers import Command
from skylift.core.environment import Status

pytestmark = pytest.mark.unit
SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:skylift/flight/environment-AbCdEf"


def with_options(**options: str) -> dict[str, Any]:
    return {"AirflowConfigurationOptions": {f"skylift.{name}": value for name, value in options.items()}}


def planned(**options: str) -> UpdatePlan:
    now = context()
    return plan_update(now, replace(now, spec=updated(now.spec, now.facts, with_options(**options), SETTINGS)))


def test_a_stop_takes_every_container_and_restarts_none() -> None:
    plan = planned(stopped="True")
    assert plan.restarts == ()
    assert {step.effect for step in plan.steps} == {StepEffect.SCALE}
    assert {step.part for step in plan.steps} == {f"service/{role}" for role in COMPONENTS}


def test_a_stopped_environment_is_available_without_any_health() -> None:
    stopped = spec(MaxWorkers=4, **with_options(stopped="true"))
    parts = blueprint(stopped)
    assert {PartKind.HEALTH, PartKind.HEARTBEAT} & {part.kind for part in parts} == set()
    assert [desired_count(context(stopped), role) for role in (*COMPONENTS, Command.WORKER)] == [0] * 5
    assert bounds(stopped) == (0, 0)
    assert needed(stopped, Work(queued=99), Work(running=99)) == 0
    seen = {part.name: Seen(PartPhase.READY) for part in parts}
    assert judge(Observed(Status.UPDATING, parts, seen, 1, 1800, None)).status is Status.AVAILABLE
    assert judge(Observed(Status.AVAILABLE, parts, seen, 1, 1800, None)).status is Status.AVAILABLE
    assert condition_of(seen) == "stopped"
    assert {PartKind.HEALTH, PartKind.HEARTBEAT} <= {
        part.kind for part in blueprint(spec(**with_options(stopped="no")))
    }


def test_variables_by_reference_are_secrets_of_every_role_that_runs_user_code() -> None:
    sources = {"API_KEY": f"{SECRET}:API_KEY::v1", "LIMIT": "arn:aws:ssm:us-east-1:000000000000:parameter/limit"}
    wanted = context(spec(**with_options(environment=json.dumps(sources))))
    for role in (*COMPONENTS, EXECUTOR_ROLE, Command.PROVE):
        container = definition(wanted, role)["containerDefinitions"][0]
        found = {one["name"]: one["valueFrom"] for one in container["secrets"]}
        assert sources.items() <= found.items(), role
        assert not {one["name"] for one in container["environment"]} & set(found)
    for role in (Command.MIGRATE, Command.BUILD_LAYER):
        assert "API_KEY" not in str(definition(wanted, role))


def test_a_reference_cannot_replace_what_the_environment_needs() -> None:
    ours = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{SECRET}:X::v1", "AIRFLOW__CORE__EXECUTOR": f"{SECRET}:X::v1"}
    plain = context(spec(**with_options(stopped="no")))
    for role in COMPONENTS:
        there = definition(context(spec(**with_options(environment=json.dumps(ours)))), role)
        assert (
            there["containerDefinitions"][0]["secrets"] == definition(plain, role)["containerDefinitions"][0]["secrets"]
        )
    with pytest.raises(Invalid, match="must be the ARN"):
        spec(**with_options(environment='{"A": "hunter2"}'))


def test_another_version_of_a_value_restarts_everything_and_tells_no_value() -> None:
    one, two = (json.dumps({"API_KEY": f"{SECRET}:API_KEY::v{number}"}) for number in (1, 2))
    now = context(spec(**with_options(environment=one)))
    plan = plan_update(now, replace(now, spec=updated(now.spec, now.facts, with_options(environment=two), SETTINGS)))
    assert set(plan.restarts) == set(COMPONENTS)
    assert [(change.before, change.after) for change in plan.changes] == [("set", "set")]
    assert "secrets" not in {step.part for step in plan.steps}, "it is not one of Airflow's options"
