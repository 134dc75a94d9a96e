"""``AwsBatchExecutor`` with Airflow's real API, database and scheduler code, on Batch of the local cloud: arrays, and
one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local import batch_cloud
from tests.local.drivers import aws_variables, batch_section, driven
from tests.local.ecs_cloud import Cloud
from tests.local.executor_api import ExecutionApi, execution_api, for_containers

pytestmark = [pytest.mark.local, pytest.mark.timeout(1200)]

TASKS = {"good", "bad", "killed", "again", "late"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    started = Cloud(tmp_path_factory.mktemp("cloud")).start()
    try:
        batch_cloud.prepare(started.client("batch"))
        started.client("s3").create_bucket(Bucket="workloads")
        yield started
    finally:
        started.stop()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ExecutionApi]:
    with execution_api(tmp_path / "home") as running:
        yield running


def define(cloud: Cloud, api: ExecutionApi, name: str) -> None:
    environment = for_containers(api.environ)
    batch_cloud.define(cloud.client("batch"), "true", name=name, environment=environment)


def drive(cloud: Cloud, api: ExecutionApi, answer: Path, definition: str, **own: str) -> dict[str, Any]:
    """Queues, ends, adopts and kills as the driver says; its answer."""
    define(cloud, api, definition)
    variables = api.environ | aws_variables(cloud.url) | batch_section(definition)
    variables |= {
        "AIRFLOW__AWS_BATCH_EXECUTOR__JOB_NAME": definition,
        **{f"AIRFLOW__SKYLIFT__{name.upper()}": value for name, value in own.items()},
    }
    return driven("executor_driver.py", "skylift.executors.batch.AwsBatchExecutor", variables=variables, answer=answer)


def check(answer: dict[str, Any]) -> None:
    assert answer["states"] == {
        "good": "success",
        "bad": "failed",
        "killed": "failed",
        "again": "up_for_reschedule",
        "late": "running",
    }
    assert answer["left"] == 0
    assert answer["late"] == "failed", answer
    assert any("exit code 137" in line for line in answer["log"]), answer["log"]
    assert answer["longest"] < 1.0


def jobs(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    batch = cloud.client("batch")
    found = batch.list_jobs(jobQueue="q", filters=[{"name": "JOB_NAME", "values": [f"{name}-*"]}])["jobSummaryList"]
    return list(batch.describe_jobs(jobs=[one["jobId"] for one in found])["jobs"])


@pytest.mark.long
def test_one_array_job_for_all_and_a_restart_loses_nothing(cloud: Cloud, api: ExecutionApi, tmp_path: Path) -> None:
    url = {"payload_url": "s3://workloads/arrays-test", "batch_arrays": "True", "array_linger_seconds": "0.5"}
    check(drive(cloud, api, tmp_path / "answer.json", "arrays", **url))
    (array,) = jobs(cloud, "arrays")
    assert array["arrayProperties"]["size"] == 5
    assert array["tags"]["dag_id"] == "d"
    assert "task_id" not in array["tags"], "the children are of different Airflow tasks"
    children = [f"{array['jobId']}:{index}" for index in range(5)]
    shown = str(cloud.client("batch").describe_jobs(jobs=children))
    assert "eyJ" not in shown, "a token is readable with DescribeJobs"
    (left,) = cloud.client("s3").list_objects_v2(Bucket="workloads", Prefix="arrays-test")["Contents"]
    assert left["Key"] == f"arrays-test/arrays/{array['jobName']}", "tokens are deleted, the list stays"


@pytest.mark.long
def test_one_job_each_with_the_workload_in_the_command(cloud: Cloud, api: ExecutionApi, tmp_path: Path) -> None:
    check(drive(cloud, api, tmp_path / "answer.json", "inline"))
    found = jobs(cloud, "inline")
    assert {one["tags"]["task_id"] for one in found} == TASKS
    assert len(found) == len(TASKS), "one Batch job for each task instance"
    assert {one["retryStrategy"]["attempts"] for one in found} == {1}
