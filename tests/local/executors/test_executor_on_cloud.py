"""``AwsEcsExecutor`` with Airflow's real API, database and scheduler code, on ECS of the local cloud."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.ecs_cloud import LOG_GROUP, OWNER, REGION, Cloud, definition
from tests.local.executor_api import ExecutionApi, execution_api, for_containers

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    started = Cloud(tmp_path_factory.mktemp("cloud")).start()
    try:
        started.client().create_cluster()
        started.client("logs").create_log_group(logGroupName=LOG_GROUP)
        started.client("s3").create_bucket(Bucket="workloads")
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecutionApi]:
    with execution_api(tmp_path_factory.mktemp("execution") / "home") as running:
        yield running


def register(cloud: Cloud, api: ExecutionApi) -> None:
    environment = for_containers(api.environ)
    cloud.client().register_task_definition(**definition("true", environment=environment))


def drive(cloud: Cloud, api: ExecutionApi, answer: Path) -> dict[str, Any]:
    environ = api.environ | {
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_ACCESS_KEY_ID": OWNER.access_key,
        "AWS_SECRET_ACCESS_KEY": OWNER.secret,
        "AWS_REGION": REGION,
        "AIRFLOW__AWS_ECS_EXECUTOR__CLUSTER": "default",
        "AIRFLOW__AWS_ECS_EXECUTOR__CONTAINER_NAME": "main",
        "AIRFLOW__AWS_ECS_EXECUTOR__TASK_DEFINITION": "work",
        "AIRFLOW__AWS_ECS_EXECUTOR__REGION_NAME": REGION,
        "AIRFLOW__AWS_ECS_EXECUTOR__SUBNETS": "subnet-1",
        "AIRFLOW__AWS_ECS_EXECUTOR__LAUNCH_TYPE": "FARGATE",
        "AIRFLOW__SKYLIFT__PAYLOAD_URL": "s3://workloads/test",
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
    }
    driver = Path(__file__).parents[1].joinpath("executor_driver.py")
    done = subprocess.run(
        [sys.executable, str(driver), str(answer), "skylift.executors.ecs.AwsEcsExecutor"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    result: dict[str, Any] = json.loads(answer.read_text())
    return result


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
