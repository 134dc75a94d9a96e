"""``skylift iam-policy``'s policies, proven: the executors' verbs run under exactly them, with IAM enforced; and without any
one statement, a call that the run made is denied by name."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.local import batch_cloud
from tests.local.compute_verbs import attempt, exercise
from tests.local.denials import denials
from tests.local.ecs_cloud import LOG_GROUP, definition

from skylift.cli.main import cli
from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.executor import SkyliftExecutor
from skylift.testing.cloud import ACCOUNT, REGION, Cloud, running_cloud

pytestmark = pytest.mark.local

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/airflow:1"
WHERE = ("--account", ACCOUNT, "--region", REGION)
BATCH_GROUP = "/aws/batch/job"
SCHEDULER = (
    *("--cluster", "default", "--task-definition", "work", "--pass-role", "work", "--pass-role", "start"),
    *("--job-queue", "q", "--job-definition", "work"),
)
COMMON = ("--payload-url", "s3://workloads/here", "--events-queue", "events")
USER = f"arn:aws:iam::{ACCOUNT}:user/scheduler"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{{}}"


def printed(*words: str) -> dict[str, Any]:
    answer = CliRunner().invoke(cli, ["iam-policy", *words])
    assert answer.exit_code == 0, answer.output
    found: dict[str, Any] = json.loads(answer.output)
    return found


class Granted:
    """A local cloud in which each role has exactly what is printed, and the scheduler is a user with a key."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        secret = cloud.client("secretsmanager").create_secret(Name="given", SecretString="s")["ARN"]
        output = ("--container-log-group", LOG_GROUP, "--container-log-group", BATCH_GROUP)
        self.policies = {
            USER: printed("scheduler", *WHERE, *SCHEDULER, *COMMON, *output),
            ROLE.format("work"): printed("task-role", *WHERE, *COMMON[:2]),
            ROLE.format("start"): printed(
                "execution-role", *WHERE, "--repository", "airflow", "--secret", secret, *output
            ),
        }
        iam = cloud.client("iam")
        for name in ("work", "start"):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(printed("trust")))
            self.give(name, self.policies[ROLE.format(name)])
        iam.create_user(UserName="scheduler")
        self.key = iam.create_access_key(UserName="scheduler")["AccessKey"]
        self.give("scheduler", self.policies[USER])
        cloud.client("ecs").create_cluster()
        for name in (LOG_GROUP, BATCH_GROUP):
            cloud.client("logs").create_log_group(logGroupName=name)
        cloud.client("s3").create_bucket(Bucket="workloads")
        cloud.client("sqs").create_queue(QueueName="events")
        given = {"image": IMAGE, "secrets": [{"name": "GIVEN", "valueFrom": secret}]}
        cloud.client("ecs").register_task_definition(**definition("true", **given))
        batch_cloud.prepare(cloud.client("batch"))
        batch_cloud.define(cloud.client("batch"), "true", executionRoleArn=ROLE.format("start"), **given)

    def give(self, name: str, document: dict[str, Any]) -> None:
        iam, text = self.cloud.client("iam"), json.dumps(document)
        if name == "scheduler":
            iam.put_user_policy(UserName=name, PolicyName="printed", PolicyDocument=text)
        else:
            iam.put_role_policy(RoleName=name, PolicyName="printed", PolicyDocument=text)

    def variables(self, keys: Path) -> dict[str, str]:
        own = {
            "ECS": {"CLUSTER": "default", "CONTAINER_NAME": "main", "TASK_DEFINITION": "work", "SUBNETS": "subnet-1"},
            "BATCH": {"JOB_QUEUE": "q", "JOB_DEFINITION": "work", "JOB_NAME": "work"},
        }
        # Not as variables: the emulator, in this process, takes their key for the account's root.
        keys.write_text(
            f"[default]\naws_access_key_id = {self.key['AccessKeyId']}\n"
            f"aws_secret_access_key = {self.key['SecretAccessKey']}\n"
        )
        options = {
            f"AIRFLOW__AWS_{kind}_EXECUTOR__{name}": value
            for kind, values in own.items()
            for name, value in {**values, "REGION_NAME": REGION}.items()
        }
        return options | {
            "AWS_ENDPOINT_URL": self.cloud.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_SHARED_CREDENTIALS_FILE": str(keys),
            "AIRFLOW__SKYLIFT__PAYLOAD_URL": "s3://workloads/here",
            "AIRFLOW__SKYLIFT__EVENTS_QUEUE": "events",
        }


@pytest.fixture
def granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Granted]:
    (tmp_path / "image" / "bin").mkdir(parents=True)
    (tmp_path / "image" / "bin" / "python").symlink_to(sys.executable)
    with running_cloud(tmp_path / "cloud", images={IMAGE: tmp_path / "image"}, iam="enforce") as cloud:
        made = Granted(cloud)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in made.variables(tmp_path / "keys").items():
            monkeypatch.setenv(name, value)
        yield made


def test_the_printed_policies_suffice_and_each_statement_is_needed(granted: Granted) -> None:
    executors = [kind(parallelism=4) for kind in (AwsEcsExecutor, AwsBatchExecutor)]
    for executor in executors:
        _exercise(granted.cloud, executor)
    calls = granted.cloud.observed()
    assert [one for one in calls if "denied" in one] == []
    assert len(granted.policies) == 3
    for principal, document in granted.policies.items():
        own = [one for one in calls if one["principal"] == principal]
        assert not denials(document, own)
        for number, statement in enumerate(document["Statement"]):
            fewer = [one for at, one in enumerate(document["Statement"]) if at != number]
            denied = denials({**document, "Statement": fewer}, own) if fewer else [one["action"] for one in own]
            assert denied, f"{principal} does not need {statement['Sid']}"
            assert set(denied) <= set(statement["Action"]), statement["Sid"]
    for executor, sid, action in zip(executors, ("Launch", "Submit"), ("ecs:RunTask", "batch:SubmitJob"), strict=True):
        _launch_without(granted, executor, sid, action)


def _exercise(cloud: Cloud, executor: SkyliftExecutor) -> None:
    ran = exercise(executor.compute, cloud.client("s3"), arrays=False)
    source = executor.make_source()
    assert source is not None
    _send_event(cloud, isinstance(executor, AwsEcsExecutor), ran)
    seen = source.receive()
    source.settle([seen[0].ref])
    source.settle([])
    source.close()


def _launch_without(granted: Granted, executor: SkyliftExecutor, sid: str, action: str) -> None:
    """For real: the answer to a launch names the action that is missing."""
    document = granted.policies[USER]
    granted.give("scheduler", {**document, "Statement": [one for one in document["Statement"] if one["Sid"] != sid]})
    said, deadline = "", time.monotonic() + 60
    while action not in said:  # Batch looks for one that was launched before; ECS does not
        assert time.monotonic() < deadline, said
        said = str(executor.compute.submit([attempt("7")]))
    assert f"is not authorized to perform: {action}" in said


def _send_event(cloud: Cloud, ecs: bool, ref: str) -> None:
    if ecs:
        (detail,) = cloud.client("ecs").describe_tasks(tasks=[ref])["tasks"]
        title = "ECS Task State Change"
    else:
        (detail,) = cloud.client("batch").describe_jobs(jobs=[ref])["jobs"]
        title = "Batch Job State Change"
    body = json.dumps({"detail-type": title, "detail": detail}, default=str)
    sqs = cloud.client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="events")["QueueUrl"], MessageBody=body)
