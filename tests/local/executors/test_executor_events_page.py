"""``docs/events.md``: its AWS CLI commands against the local cloud; then both executors learn of ends by events
alone."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.configuration import conf
from tests.local.aws_cli import path_with_aws
from tests.local.events_threads import CountedLooks
from tests.local.executors.test_own_aws import BLOCK, Shell, until
from tests.local.localcloud.test_cloud_alone import Alone
from tests.local.upstream_cloud import shell_variables

from skylift.aws.clients import client, forget
from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.executor import SkyliftExecutor
from skylift.executors.fleet.flight import News, Order, Stage
from skylift.executors.fleet.settle import WorkloadKind
from skylift.executors.fleet.threads import FleetThreads
from skylift.executors.fleet.timing import Timing

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "events.md").read_text()
IMAGE = "events/python:1"
ROLE = "arn:aws:iam::000000000000:role/events"

pytestmark = [
    pytest.mark.local,
    pytest.mark.long,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    home = tmp_path_factory.mktemp("cloud") / "home"
    started = Alone(home, "--home", str(home))
    yield started
    assert started.end() == 0


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """Settings of AWS that another test's clients have read are not this one's, nor this one's the next one's."""
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def shell(alone: Alone, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The page, run."""
    environ = {**alone.environ, **shell_variables(alone.must("shellenv")), "AWS_PAGER": ""}
    shell = Shell(tmp_path_factory.mktemp("shell"), {**environ, "PATH": path_with_aws(Path(sys.executable).parent)})
    for _, text in BLOCK.findall(PAGE):
        shell.run(text)
    alone.must("image", "add", IMAGE, sys.prefix)
    return shell


def prepare_ecs() -> None:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="airflow")
    container = {"name": "airflow", "image": IMAGE, "essential": True}
    ecs.register_task_definition(
        family="airflow-task",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        executionRoleArn=ROLE,
        containerDefinitions=[container],
    )


def prepare_batch() -> None:
    batch = client("batch")
    where = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    batch.create_compute_environment(computeEnvironmentName="airflow", type="MANAGED", computeResources=where)
    environments = batch.describe_compute_environments
    until(lambda: environments()["computeEnvironments"][0]["status"] == "VALID", 30, environments)
    order = [{"order": 1, "computeEnvironment": "airflow"}]
    batch.create_job_queue(jobQueueName="airflow", priority=1, computeEnvironmentOrder=order)
    batch.register_job_definition(
        jobDefinitionName="airflow-task",
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties={
            "image": IMAGE,
            "executionRoleArn": ROLE,
            "resourceRequirements": [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}],
        },
    )


ECS = {"CLUSTER": "airflow", "TASK_DEFINITION": "airflow-task", "CONTAINER_NAME": "airflow", "SUBNETS": "subnet-1"}
BATCH = {"JOB_QUEUE": "airflow", "JOB_DEFINITION": "airflow-task", "JOB_NAME": "airflow"}


@pytest.mark.parametrize("kind", [AwsEcsExecutor, AwsBatchExecutor])
def test_an_end_is_heard_of_without_a_look(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, kind: type[SkyliftExecutor]
) -> None:
    section, options = ("ECS", ECS) if kind is AwsEcsExecutor else ("BATCH", BATCH)
    for name, value in shell.environ.items():
        if name.startswith(("AWS_", "AIRFLOW__")):
            monkeypatch.setenv(name, value)
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__AWS_{section}_EXECUTOR__{name}", value)
    (prepare_ecs if kind is AwsEcsExecutor else prepare_batch)()
    assert conf.get("skylift", "events_queue").endswith(":airflow-events")
    executor = kind(parallelism=1)
    compute = CountedLooks(executor.compute)
    seldom = Timing(young=3600, old=3600, reconcile=3600, most_attempts=1, eventful=True)
    threads = FleetThreads(compute, seldom, executor.make_source(), most_seconds_to_end=5)
    threads.start()
    try:
        news = flown(threads, str(uuid.uuid4()))
    finally:
        threads.end()
    assert news[-1].stage is Stage.ENDED
    # The workload below is none, so the container ends as one in which nothing began.
    assert "exit code 72" in news[-1].reason
    assert compute.looks == 0


def flown(threads: FleetThreads, external_id: str) -> list[News]:
    """All the news of one order."""
    threads.fleet.order(Order("key", WorkloadKind.TASK, external_id, lambda: '{"type": "Nothing"}'))
    news: list[News] = []
    deadline = time.monotonic() + 240
    while not any(one.stage is Stage.ENDED for one in news):
        assert time.monotonic() < deadline, news
        news += threads.fleet.drain()
        time.sleep(0.02)
    return news


def test_the_policy_of_the_page_is_the_one_that_is_printed(alone: Alone) -> None:
    words = (
        "--account",
        "123456789012",
        "--region",
        "us-east-1",
        "--cluster",
        "c",
        "--task-definition",
        "t",
        "--pass-role",
        "r",
    )
    printed = alone.must("iam-policy", "scheduler", *words, "--events-queue", "airflow-events")
    named = ["sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    assert all(f'"{action}"' in printed and f"`{action}`" in PAGE for action in named)
