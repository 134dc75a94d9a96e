"""The amazon provider's ECS and Batch operators, sensors and waiters, unmodified, against the local cloud."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.local.batch_cloud import define, prepare
from tests.local.drivers import driven
from tests.local.ecs_cloud import LOG_GROUP, definition
from tests.local.upstream_cloud import BATCH_LOGS, environ, messages, no_mistakes, upstream_cloud

pytestmark = [pytest.mark.local, pytest.mark.long]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("operators")
    with upstream_cloud(folder / "cloud") as cloud:
        ecs, batch = cloud.client(), cloud.client("batch")
        for family, change in {
            "shell": {},
            "no-image": {"image": "nobody/knows:this"},
        }.items():
            shell = ("sh", "-c", "echo one; echo two; exit ${CODE:-0}")
            ecs.register_task_definition(**definition(*shell, **change) | {"family": family})
        host = {"family": "host", "networkMode": "bridge", "requiresCompatibilities": ["EC2"]}
        ecs.register_task_definition(**definition("true") | host)
        prepare(batch)
        define(batch, "true", name="shell")
        define(batch, "sh", "-c", "echo it was Ref::word", name="word", parameters={"word": "default"})
        variables = environ(cloud.url, folder / "airflow")
        with no_mistakes():
            answer = driven("upstream_operator_driver.py", variables=variables, answer=folder / "answer.json")
        yield {**answer, "ecs_lines": messages(cloud, LOG_GROUP), "batch_lines": messages(cloud, BATCH_LOGS)}


def test_run_task_operator_fetches_logs_and_gives_the_last_line(answers: dict[str, Any]) -> None:
    assert answers["ecs_logs"]["ended"] == "gave two"
    assert answers["ecs_logs"]["arn"].startswith("arn:aws:ecs:us-east-1:000000000000:task/default/")
    assert "] one" in answers["logged"]
    assert "] two" in answers["logged"]


def test_deferrable_operators_and_sensors_wait_in_their_triggers(answers: dict[str, Any]) -> None:
    assert answers["ecs_deferred"]["trigger"] == "TaskDoneTrigger"
    assert answers["ecs_deferred"]["gave"] == "two"
    assert answers["ecs_deferred"]["stream"].startswith("p/main/")
    assert answers["batch_deferred"]["trigger"] == "BatchJobTrigger"
    assert len(answers["batch_deferred"]["gave"]) == 36, "the Batch job's id"
    waited = {"key": "S3KeyTrigger", "message": "SqsSensorTrigger", "job": "BatchJobTrigger"}
    assert answers["deferred_sensors"] == waited


def test_run_task_operator_fails_with_the_reason(answers: dict[str, Any]) -> None:
    with_logs = "AirflowException: This task is not in success state - last 10 logs from Cloudwatch:\none\ntwo"
    assert answers["ecs_failed_with_logs"] == with_logs
    assert "'exitCode': 3" in answers["ecs_failed"]
    assert "EssentialContainerExited" in answers["ecs_failed"]
    assert answers["ecs_skipped"].startswith("AirflowSkipException: This task is not in success state")
    assert answers["ecs_not_started"].startswith(
        "EcsTaskFailToStart: The task failed to start due to: CannotPullContainer"
    )
    assert "ClusterNotFoundException" in answers["ecs_no_cluster"]
    assert answers["ecs_on_ec2"] == "gave None"


def test_run_task_operator_reattaches_and_kills(answers: dict[str, Any]) -> None:
    assert answers["ecs_reattached"] == {
        "said": ["gave None", "gave None"],
        "same": True,
        "reason": "Task killed by the user",
        "code": "UserInitiated",
    }


def test_operators_of_clusters_and_task_definitions(answers: dict[str, Any]) -> None:
    made, registered, ran, deregistered, deleted = answers["ecs_clusters"]["said"]
    assert "'status': 'ACTIVE'" in made
    assert registered == deregistered == "gave arn:aws:ecs:us-east-1:000000000000:task-definition/own:1"
    assert ran == "gave None"
    assert "'status': 'INACTIVE'" in deleted
    assert answers["ecs_clusters"]["sensed"] is True


def test_batch_operator_ends_well(answers: dict[str, Any]) -> None:
    for scene in ("batch_waited", "batch_polled", "batch_parameters"):
        assert answers[scene].startswith("gave "), answers[scene]
    assert {"batch says override", "it was parameter"} <= set(answers["batch_lines"])
    assert "] batch says override" in answers["logged"], "BatchOperator did not fetch the log"


def test_batch_operator_fails_with_the_reason(answers: dict[str, Any]) -> None:
    assert "Essential container in task exited" in answers["batch_failed"]
    assert "'exitCode': 7" in answers["batch_failed"]
    assert answers["batch_refused"].startswith("AirflowException: An error occurred (ClientException)")


def test_batch_operator_with_arrays(answers: dict[str, Any]) -> None:
    assert answers["batch_array"]["ended"].startswith("gave ")
    assert answers["batch_array"]["children"] == 5
    assert answers["batch_array"]["sensed"] is True
    assert "'statusSummary': " in answers["batch_array_failed"]
    assert "'FAILED': 1" in answers["batch_array_failed"]


def test_batch_environments_and_waiters(answers: dict[str, Any]) -> None:
    assert answers["batch_environment"]["said"].endswith(":compute-environment/made")
    assert answers["batch_environment"]["sensed"] is True
    *bad, first, second, third = answers["batch_waiters"]
    assert [first, second, third] == [f"sleep 2: {name}" for name in ("JobComplete", "JobExists", "JobRunning")]
    assert bad[1:] == ["exit 3: JobExists", "exit 3: JobRunning"]
    assert "Waiter encountered a terminal failure state" in bad[0]
