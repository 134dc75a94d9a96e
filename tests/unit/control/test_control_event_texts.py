"""What an environment's events say, and their form on the route."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from skylift.control.events import EnvironmentEvent, of_plan, of_status
from skylift.control.update_plan import PlannedStep, StepEffect, UpdatePlan
from skylift.core.environment import Status

pytestmark = pytest.mark.unit


def step(part: str, effect: StepEffect) -> PlannedStep:
    return PlannedStep(part, effect, "what", ("why",))


def plan(*steps: PlannedStep) -> UpdatePlan:
    return UpdatePlan((), steps, (), ())


def test_a_plan_in_one_line() -> None:
    everything = plan(
        step("layer", StepEffect.BUILD),
        step("proof", StepEffect.PROVE),
        step("definition/scheduler", StepEffect.REGISTER),
        step("service/scheduler", StepEffect.RESTART),
        step("service/triggerer", StepEffect.RESTART),
        step("service/api-server", StepEffect.SCALE),
    )
    assert of_plan(everything) == "plan: build the layer, prove it, restart scheduler, triggerer, scale api-server"
    assert of_plan(plan()) == "plan: restart nothing"
    assert of_plan(plan(step("service/api-server", StepEffect.SCALE))) == "plan: scale api-server, restart nothing"


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (Status.CREATING, Status.CREATING, ""),
        (Status.CREATING, Status.AVAILABLE, "UpdateEnvironment ended well\na note"),
        (Status.UNAVAILABLE, Status.AVAILABLE, "Airflow serves again"),
        (Status.CREATING, Status.CREATE_FAILED, "UpdateEnvironment failed. no image"),
        (Status.UPDATING, Status.ROLLING_BACK, "UpdateEnvironment failed; what served before is put back. no image"),
        (Status.ROLLING_BACK, Status.UPDATE_FAILED, "what served before serves again"),
        (Status.AVAILABLE, Status.UNAVAILABLE, "no API server serves. no image"),
        (Status.DELETING, Status.DELETED, "deleted"),
        (Status.AVAILABLE, Status.UPDATING, ""),
    ],
)
def test_a_change_of_status(before: Status, after: Status, text: str) -> None:
    assert of_status(before, after, "UpdateEnvironment", "no image", "a note") == text


@pytest.mark.parametrize(("seconds", "shown"), [(None, None), (1.26, 1.3), (0.0, 0.0)])
def test_an_event_on_the_route(seconds: float | None, shown: float | None) -> None:
    event = EnvironmentEvent(7, datetime(2026, 11, 30, 12, tzinfo=UTC), "AVAILABLE", "text", seconds)
    assert event.as_json() == {
        "id": 7,
        "at": "2026-11-30T12:00:00+00:00",
        "status": "AVAILABLE",
        "text": "text",
        "seconds": shown,
    }
