"""The plan of an update: which parts it says restart, why, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.control_scenes import SETTINGS, context, spec

from skylift.control.api.updates import pinned, updated
from skylift.control.blueprint import COMPONENTS
from skylift.control.part_context import PartContext
from skylift.control.parts.layer import layer_digest
from skylift.control.update_plan import StepEffect, UpdatePlan, plan_update

pytestmark = pytest.mark.unit
BASE = spec(
    RequirementsS3Path="requirements.txt",
    AirflowConfigurationOptions={"core.default_timezone": "utc", "smtp.smtp_password": "hunter2"},
    LoggingConfiguration={name: {"Enabled": True, "LogLevel": "INFO"} for name in ("SchedulerLogs", "WorkerLogs")},
)
ALL = tuple(str(role) for role in COMPONENTS)


def serving() -> PartContext:
    facts = {
        "source__requirements": "s3://flight-bucket/requirements.txt?versionId=r1",
        "source__requirements__version": "r1",
        "source__requirements__etag": "e1",
        "layer__url": "s3://b/layers/a/layer.tar.gz",
    }
    now = context(BASE, **facts)
    now = replace(now, spec=pinned(BASE, now.facts))
    return replace(now, facts={**now.facts, "layer.digest": layer_digest(now)})


def planned(found: dict[str, str] | None = None, **members: Any) -> UpdatePlan:
    now = serving()
    wanted = replace(now, spec=updated(now.spec, now.facts, members, SETTINGS), facts={**now.facts, **(found or {})})
    return plan_update(now, wanted)


def logs(module: str, level: str) -> dict[str, Any]:
    return {"LoggingConfiguration": {module: {"Enabled": True, "LogLevel": level}}}


@pytest.mark.parametrize(
    ("members", "restarts"),
    [
        ({}, ()),
        ({"WeeklyMaintenanceWindowStart": "MON:03:00"}, ()),
        ({"MinWorkers": 2}, ()),
        ({"Schedulers": 3}, ()),
        ({"MinWebservers": 2, "MaxWebservers": 3}, ()),
        ({"WebserverAccessMode": "PUBLIC_ONLY"}, ()),
        (logs("WorkerLogs", "DEBUG"), ()),
        ({"MaxWorkers": 20}, ("scheduler",)),
        (logs("DagProcessingLogs", "DEBUG"), ("dag-processor",)),
        (logs("WebserverLogs", "DEBUG"), ("api-server",)),
        (logs("SchedulerLogs", "DEBUG"), ("scheduler", "triggerer")),
        ({"EnvironmentClass": "mw1.medium"}, ("scheduler", "dag-processor", "triggerer")),
        ({"EnvironmentClass": "mw1.large"}, ALL),
        ({"AirflowConfigurationOptions": {"core.default_timezone": "Asia/Tokyo"}}, ALL),
        ({"AirflowConfigurationOptions": {}}, ALL),
        ({"NetworkConfiguration": {"SecurityGroupIds": ["sg-2"]}}, ALL),
        ({"DagS3Path": "flows"}, ALL),
        ({"ExecutionRoleArn": "arn:aws:iam::000000000000:role/other"}, ALL),
        ({"RequirementsS3Path": ""}, ALL),
    ],
)
def test_only_what_must_restart_restarts(members: dict[str, Any], restarts: tuple[str, ...]) -> None:
    plan = planned(**members)
    assert plan.restarts == restarts
    left = {f"service/{role}" for role in ALL if role not in restarts}
    scaled = {step.part for step in plan.steps if step.effect is StepEffect.SCALE}
    assert left - scaled <= set(plan.untouched)
    assert bool(plan.changes) == bool(members)


def test_new_requirements_are_built_and_proven_before_anything_restarts() -> None:
    found = {
        "source.requirements": "s3://flight-bucket/requirements.txt?versionId=r2",
        "source.requirements.version": "r2",
        "source.requirements.etag": "e2",
    }
    plan = planned(found, RequirementsS3ObjectVersion="r2")
    assert [str(step.effect) for step in plan.steps][:3] == ["build", "prove", "register"]
    assert {why for step in plan.steps for why in step.why} == {"RequirementsS3Path"}
    (change,) = plan.changes
    assert (change.before, change.after) == ("requirements.txt version r1", "requirements.txt version r2")


def test_a_file_with_the_same_content_builds_and_restarts_nothing() -> None:
    assert planned(RequirementsS3Path="requirements.txt").restarts == ()


def test_each_step_says_which_member_needs_it() -> None:
    plan = planned(Schedulers=3, **logs("DagProcessingLogs", "DEBUG"))
    why = {step.part: step.why for step in plan.steps}
    assert why == {"service/scheduler": ("Schedulers",), "service/dag-processor": ("LoggingConfiguration",)}
    (scale,) = [step for step in plan.steps if step.effect is StepEffect.SCALE]
    assert scale.what == "1 become 3; none restarts"


def test_values_of_options_are_never_told_and_reserved_names_are() -> None:
    options = {"smtp.smtp_password": "hunter3", "core.fernet_key": "mine", "core.default_timezone": "utc"}
    plan = planned(AirflowConfigurationOptions=options)
    assert "hunter" not in repr(plan)
    told = [(one.member.rpartition("Options.")[2], one.before, one.after) for one in plan.changes]
    assert told == [("core.fernet_key", "not set", "set"), ("smtp.smtp_password", "set", "set")]
    assert plan.notes == ("core.fernet_key: reserved, as on MWAA; skylift sets it itself",)


def test_options_that_the_control_plane_heeds_are_not_called_reserved() -> None:
    options = {"celery.worker_autoscale": "4,4", "skylift.min_workers": "0", "core.executor": "CeleryExecutor"}
    assert planned(AirflowConfigurationOptions=options).notes == ()
