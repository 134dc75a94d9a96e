"""``AwsEcsExecutor`` with Airflow's real API, database and scheduler code, on ECS of the local cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.local.drivers import aws_variables, driven, ecs_section
from tests.local.ecs_cloud import Cloud, definition
from tests.local.executor_api import ExecutionApi, for_containers

pytestmark = [pytest.mark.local, pytest.mark.timeout(1200)]


def register(cloud: Cloud, api: ExecutionApi) -> None:
    environment = for_containers(api.environ)
    cloud.client().register_task_definition(**definition("true", environment=environment))


def drive(cloud: Cloud, api: ExecutionApi, answer: Path) -> dict[str, Any]:
    variables = api.environ | aws_variables(cloud.url) | ecs_section()
    variables |= {
        "AIRFLOW__AWS_ECS_EXECUTOR__LAUNCH_TYPE": "FARGATE",
        "AIRFLOW__SKYLIFT__PAYLOAD_URL": "s3://workloads/test",
    }
    return driven("executor_driver.py", "skylift.executors.ecs.AwsEcsExecutor", variables=variables, answer=answer)


def test_tasks_end_as_they_should_and_a_restart_loses_nothing(cloud: Cloud, api: ExecutionApi, tmp_path: Path) -> None:
    register(cloud, api)
    answer = drive(cloud, api, tmp_path / "answer.json")
    assert answer["states"] == {
        "good": "success",
        "bad": "failed",
        "killed": "failed",
        "again": "up_for_reschedule",
        "late": "running",
    }
    wanted = [[name for name in names if name in answer["states"]] for names in answer["wanted"]]
    assert wanted == [["again", "bad", "good", "killed", "late"], ["late"]], "what Airflow's database says"
    assert answer["left"] == 0
    assert answer["late"] == "failed", answer
    assert any("exit code 137" in line for line in answer["log"]), answer["log"]
    assert answer["longest"] < 1.0

    ecs = cloud.client()
    arns = [*ecs.list_tasks(desiredStatus="STOPPED")["taskArns"], *ecs.list_tasks()["taskArns"]]
    assert len(arns) == 5, "one ECS task for each task instance"
    shown = ecs.describe_tasks(tasks=arns, include=["TAGS"])
    tags = [{tag["key"]: tag["value"] for tag in task["tags"]} for task in shown["tasks"]]
    assert {one["task_id"] for one in tags} == {"good", "bad", "killed", "again", "late"}
    assert all(one["dag_id"] == "d" and one["try_number"] == "1" for one in tags)
    for workload in api.workloads.values():
        assert json.loads(workload)["token"] not in str(shown)
    assert "eyJ" not in str(shown), "a token is readable with DescribeTasks"
    assert "Contents" not in cloud.client("s3").list_objects_v2(Bucket="workloads"), "a token is left in S3"
