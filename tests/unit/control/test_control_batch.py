"""An environment whose Airflow tasks run as Batch jobs: its additional parts, and that its container is the same."""

from __future__ import annotations

import json

import pytest
from tests.control_scenes import context, spec

from skylift.control.blueprint import EXECUTOR_ROLE, PartKind, blueprint, executors
from skylift.control.definitions import DIGEST_LABEL, definition, variables
from skylift.control.parts.batch import job_definition
from skylift.control.parts.events import pattern
from skylift.core.containers import Command

pytestmark = pytest.mark.unit
ECS, BATCH = "skylift.executors.ecs.AwsEcsExecutor", "skylift.executors.batch.AwsBatchExecutor"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", (ECS,)),
        ("LocalExecutor", (ECS,)),
        (f"{BATCH},LocalExecutor", (ECS,)),
        (BATCH, (BATCH,)),
        (f"{ECS}, {BATCH}", (ECS, BATCH)),
    ],
)
def test_executors_are_ours_or_the_default(said: str, expected: tuple[str, ...]) -> None:
    wanted = spec(AirflowConfigurationOptions={"core.executor": said} if said else {})
    assert executors(wanted) == expected
    kinds = [part.kind for part in blueprint(wanted)]
    assert (PartKind.BATCH in kinds) == (BATCH in expected)
    made = variables(context(wanted), Command.SCHEDULER)
    assert made["AIRFLOW__CORE__EXECUTOR"] == ",".join(expected)
    assert ("AIRFLOW__AWS_BATCH_EXECUTOR__JOB_QUEUE" in made) == (BATCH in expected)


def test_the_job_definition_is_the_ecs_task_definition_in_batch_s_words() -> None:
    wanted = context(spec(AirflowConfigurationOptions={"core.executor": BATCH, "smtp.smtp_password": "hunter2"}))
    made = job_definition(wanted)
    task = definition(wanted, EXECUTOR_ROLE)
    (container,) = task["containerDefinitions"]
    ours = made["containerProperties"]
    for key in ("image", "environment", "secrets", "logConfiguration"):
        assert ours[key] == container[key]
    assert {one["type"]: one["value"] for one in ours["resourceRequirements"]} == {"VCPU": "1.0", "MEMORY": "2048"}
    assert "hunter2" not in json.dumps(made)
    queue = variables(wanted, Command.SCHEDULER)["AIRFLOW__AWS_BATCH_EXECUTOR__JOB_QUEUE"]
    assert queue == made["jobDefinitionName"] == "skylift-flight-task"
    again = job_definition(context(wanted.spec, secrets__options_version="v2"))
    assert made["tags"][DIGEST_LABEL] != again["tags"][DIGEST_LABEL], "it changes when a secret option does"
    assert made["tags"] == job_definition(wanted)["tags"]


def test_events_of_batch_jobs_come_with_those_of_ecs_tasks() -> None:
    plain, both = (pattern(context(spec(AirflowConfigurationOptions=said))) for said in ({}, {"core.executor": BATCH}))
    assert plain["source"] == ["aws.ecs"]
    tasks, jobs = both["detail"]["$or"]
    assert tasks == plain["detail"]
    assert jobs["jobQueue"] == ["arn:aws:batch:us-east-1:000000000000:job-queue/skylift-flight-task"]


def test_services_wait_for_the_queue() -> None:
    wanted = spec(AirflowConfigurationOptions={"core.executor": BATCH})
    parts = blueprint(wanted)
    names = [part.name for part in parts]
    assert names == list(dict.fromkeys(names))
    assert all("batch" in part.needs for part in parts if part.kind is PartKind.SERVICE)
    assert all("batch" not in part.needs for part in blueprint(spec()))
