"""The amazon provider's own executors, unmodified, run 500 workloads each on the local cloud, and every outcome is
right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.batch_cloud import define, prepare
from tests.local.drivers import driven
from tests.local.ecs_cloud import LOG_GROUP, REGION, Cloud, definition
from tests.local.upstream_cloud import BATCH_LOGS, environ, messages, no_mistakes, upstream_cloud

pytestmark = [pytest.mark.local, pytest.mark.long]
WORKLOADS = 500
NAMES = {f"number_{number}" for number in range(WORKLOADS)}
BAD = {name for name in NAMES if name.endswith("3")}
SECONDS = 120.0  # 10 s where nothing else runs, 23 s at a load of 12.


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with upstream_cloud(tmp_path_factory.mktemp("upstream")) as started:
        yield started


def run(cloud: Cloud, folder: Path, kind: str, **settings: str) -> dict[str, Any]:
    section = f"AIRFLOW__AWS_{kind.upper()}_EXECUTOR__"
    variables = environ(
        cloud.url,
        folder / "airflow",
        **{section + name.upper(): value for name, value in settings.items()},
        **{section + "REGION_NAME": REGION, section + "CHECK_HEALTH_ON_STARTUP": "True"},
    )
    with no_mistakes():
        answer = driven(
            "upstream_executor_driver.py", kind, str(WORKLOADS), variables=variables, answer=folder / "answer.json"
        )
    assert "health check has succeeded" in answer["logged"]
    return answer


def check(answer: dict[str, Any], lines: list[str]) -> None:
    states = answer["states"]
    assert states.keys() == NAMES
    assert {name for name, seen in states.items() if seen[-1] == "failed"} == BAD
    assert {name for name, seen in states.items() if seen[-1] == "success"} == NAMES - BAD
    assert answer["left"] == 0
    # What each container was given, from its log: every workload arrived whole, and none ran twice.
    got = Counter(json.loads(line)["ti"]["task_id"] for line in lines)
    assert got == Counter(NAMES)
    assert answer["seconds"] < SECONDS


def test_ecs_executor(cloud: Cloud, tmp_path: Path) -> None:
    cloud.client().register_task_definition(**definition("true"))
    answer = run(
        cloud,
        tmp_path,
        "ecs",
        cluster="default",
        container_name="main",
        task_definition="work",
        subnets="subnet-1",
        launch_type="FARGATE",
        max_run_task_attempts="1",
    )
    check(answer, messages(cloud, LOG_GROUP))
    ecs = cloud.client()
    pages = ecs.get_paginator("list_tasks").paginate(desiredStatus="STOPPED")
    arns = [arn for page in pages for arn in page["taskArns"]]
    exits = Counter(
        task["containers"][0]["exitCode"]
        for start in range(0, len(arns), 100)
        for task in ecs.describe_tasks(tasks=arns[start : start + 100])["tasks"]
    )
    assert exits == {0: WORKLOADS - len(BAD), 3: len(BAD)}


def test_batch_executor(cloud: Cloud, tmp_path: Path) -> None:
    batch = cloud.client("batch")
    prepare(batch)
    define(batch, "true")
    answer = run(
        cloud, tmp_path, "batch", job_queue="q", job_definition="work", job_name="one", max_submit_job_attempts="1"
    )
    check(answer, messages(cloud, BATCH_LOGS))
    for status, count in (("SUCCEEDED", WORKLOADS - len(BAD)), ("FAILED", len(BAD))):
        pages = batch.get_paginator("list_jobs").paginate(jobQueue="q", jobStatus=status)
        assert sum(len(page["jobSummaryList"]) for page in pages) == count
