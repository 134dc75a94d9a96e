"""Warm reuse with real containers: one ECS task runs three Airflow tasks, each told to Airflow's real API, and then
ends by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import boto3
import pytest
from tests.local.ecs_cloud import OWNER, REGION, Cloud, definition, wait_for
from tests.local.executor_api import ExecutionApi, for_containers
from tests.local.executors.test_iam_policy import allowed, called

from skylift.aws.clients import client
from skylift.aws.ecs.tasks import EcsTasks
from skylift.core.attempt import Attempt, Exit, Observation, Phase
from skylift.executors.ecs import EcsCompute
from skylift.executors.events.warm import WarmSource
from skylift.executors.in_container.payload import Payloads
from skylift.executors.in_container.warm import WarmCompute
from skylift.executors.options.ecs import EcsOptions

pytestmark = pytest.mark.local
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}}
STAY = 6.0


@pytest.fixture
def compute(cloud: Cloud, api: ExecutionApi, monkeypatch: pytest.MonkeyPatch) -> WarmCompute:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    session = boto3.Session(OWNER.access_key, OWNER.secret, region_name=REGION)
    environment = for_containers(api.environ)
    cloud.client().register_task_definition(**definition("true", environment=environment, stopTimeout=120))
    options = EcsOptions(
        request={"taskDefinition": "work", "launchType": "FARGATE", "networkConfiguration": NETWORK},
        container="main",
        cluster="default",
        connection="",
        region=REGION,
        most_attempts=3,
        check_health=False,
    )
    payloads = Payloads("s3://workloads/here", session=session, region=REGION, stay_seconds=STAY)
    tasks = EcsTasks(client("ecs", session=session), "default")
    return WarmCompute(EcsCompute(tasks, options, payloads), payloads.mailboxes(), STAY)


def over(compute: WarmCompute, ref: str, look: Callable[[], list[Observation]]) -> Observation:
    """The end of a workload, as ``look`` brings it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for seen in look():
            if seen.ref == ref and seen.phase is Phase.STOPPED:
                return seen
    raise AssertionError(f"{ref} does not end: {compute.observe([ref])}")


def test_one_container_runs_one_airflow_task_after_the_other(
    cloud: Cloud, api: ExecutionApi, compute: WarmCompute
) -> None:
    source = WarmSource(compute)
    refs = []
    codes = []
    for number, name in enumerate(("good", "bad", "again"), 1):
        attempt = Attempt(f"00000000-{number}", 1, lambda name=name: api.workloads[name], queue="default")  # type: ignore[misc]
        (answer,) = compute.submit([attempt])
        assert answer.ref, answer
        refs.append(answer.ref)
        look = source.receive if number % 2 else lambda: compute.observe(refs[-1:])
        codes.append(over(compute, answer.ref, look).exit_code)
    assert refs[1:] == [f"{refs[0]}#{number}" for number in (2, 3)]
    assert codes == [Exit.DONE] * 3
    states = {name: api.state(name) for name in ("good", "bad", "again")}
    assert states == {"good": "success", "bad": "failed", "again": "up_for_reschedule"}
    ecs = cloud.client()
    (ecs_task,) = ecs.describe_tasks(tasks=refs[:1])["tasks"]
    assert ecs_task["lastStatus"] == "RUNNING"

    def ended() -> bool:
        ecs_task.update(ecs.describe_tasks(tasks=refs[:1])["tasks"][0])
        return bool(ecs_task["lastStatus"] == "STOPPED")

    wait_for(ended, STAY + 30)
    assert ecs_task["containers"][0]["exitCode"] == Exit.DONE
    assert ecs.list_tasks(desiredStatus="STOPPED")["taskArns"] == refs[:1]
    s3 = cloud.client("s3")
    left = {one["Key"]: one["Size"] for one in s3.list_objects_v2(Bucket="workloads").get("Contents", ())}
    # No workload, and so no token, is left behind: the berths are empty, or say that they are closed.
    assert {key for key, size in left.items() if size > 6 and "warm-of" not in key} == set(), left
    assert called(cloud, by_container=True) == allowed("task-role", "--payload-url", "s3://workloads/here", "--warm")


def test_a_stop_ends_the_airflow_task_and_the_container(cloud: Cloud, api: ExecutionApi, compute: WarmCompute) -> None:
    (answer,) = compute.submit([Attempt("00000000-9", 1, lambda: api.workloads["late"], queue="default")])
    assert answer.ref, answer
    wait_for(lambda: api.state("late") == "running", 300)
    compute.stop(answer.ref, "somebody revoked it")
    seen = over(compute, answer.ref, lambda: compute.observe([answer.ref]))
    assert seen.by_request
    # 143: before the Airflow task's process listens, it ends by the signal itself.
    assert seen.exit_code in {Exit.STOPPED_OUTSIDE, 143}
    assert api.state("late") == "failed"
