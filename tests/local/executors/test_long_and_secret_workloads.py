"""A workload of 50 KB runs on ECS (8,192 characters of overrides) and on Batch (30 KiB); nobody who describes it
reads its token."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Iterator

import pytest
from tests.local import batch_cloud
from tests.local.ecs_cloud import LOG_GROUP, OWNER, REGION, Cloud, definition
from tests.local.executor_api import ExecutionApi, for_containers

from skylift.core.attempt import Attempt, Exit, Observation, Phase
from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.executor import SkyliftExecutor

pytestmark = pytest.mark.local
LONG = 50_000


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, api: ExecutionApi) -> Iterator[Cloud]:
    started = Cloud(tmp_path_factory.mktemp("cloud")).start()
    environment = for_containers(api.environ)
    try:
        started.client().create_cluster()
        for group in (LOG_GROUP, "/aws/batch/job"):
            started.client("logs").create_log_group(logGroupName=group)
        started.client("s3").create_bucket(Bucket="workloads")
        started.client().register_task_definition(**definition("true", environment=environment))
        batch_cloud.prepare(started.client("batch"))
        batch_cloud.define(started.client("batch"), "true", environment=environment)
        yield started
    finally:
        started.stop()


OPTIONS = {
    "AWS_ECS_EXECUTOR": {
        "cluster": "default",
        "container_name": "main",
        "task_definition": "work",
        "subnets": "subnet-1",
    },
    "AWS_BATCH_EXECUTOR": {"job_queue": "q", "job_definition": "work", "job_name": "work"},
}


def set_all(monkeypatch: pytest.MonkeyPatch, cloud: Cloud, **own: str) -> None:
    """Both executors' options, and where AWS is."""
    for section, options in {**OPTIONS, "SKYLIFT": own}.items():
        region = {"region_name": REGION} if options is not own else {}
        for name, value in {**options, **region}.items():
            monkeypatch.setenv(f"AIRFLOW__{section}__{name.upper()}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)


@pytest.mark.parametrize(("kind", "name"), [(AwsEcsExecutor, "good"), (AwsBatchExecutor, "bad")])
def test_a_long_workload_runs_and_its_token_is_nowhere_to_be_read(
    cloud: Cloud, api: ExecutionApi, monkeypatch: pytest.MonkeyPatch, kind: type[SkyliftExecutor], name: str
) -> None:
    set_all(monkeypatch, cloud, payload_url="s3://workloads/here")
    workload = api.workloads[name]
    token = json.loads(workload)["token"]
    assert token.count(".") == 2, "a JWT"
    compute = kind(parallelism=1).compute
    document = workload + " " * LONG
    (answer,) = compute.submit([Attempt(str(uuid.uuid4()), 1, lambda: document)])
    assert answer.ref, answer
    assert over(compute.observe, answer.ref).exit_code == Exit.DONE
    assert api.state(name) == {"good": "success", "bad": "failed"}[name]
    # What AWS would keep of the calls, and what it tells whoever may describe.
    assert cloud.ear is not None
    kept = [call.request for call in cloud.ear.calls if call.service in {"ecs", "batch"}]
    told = [
        cloud.client().describe_tasks(tasks=cloud.client().list_tasks(desiredStatus="STOPPED")["taskArns"]),
        cloud.client("batch").describe_jobs(jobs=[answer.ref]) if kind is AwsBatchExecutor else {},
    ]
    assert kept
    assert token not in json.dumps([kept, told], default=str)


def over(observe: object, ref: str) -> Observation:
    """The end of an attempt."""
    deadline = time.monotonic() + 240
    while True:
        (seen,) = observe([ref])  # type: ignore[operator]
        if seen.phase is Phase.STOPPED:
            assert isinstance(seen, Observation)
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


@pytest.mark.parametrize("kind", [AwsEcsExecutor, AwsBatchExecutor])
def test_without_a_place_for_it_the_reason_says_what_to_do(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, kind: type[SkyliftExecutor]
) -> None:
    set_all(monkeypatch, cloud)
    document = secrets.token_hex(LONG)  # packed it is as long
    (answer,) = kind(parallelism=1).compute.submit([Attempt(str(uuid.uuid4()), 1, lambda: document)])
    assert "payload_url" in answer.refused
    assert document[:10] not in answer.refused
