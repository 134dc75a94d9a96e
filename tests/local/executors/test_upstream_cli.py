"""AWS's own command line, configured only by what ``skylift shellenv`` prints."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.local.aws_cli import Aws, aws_of
from tests.stack import Stack

pytestmark = [pytest.mark.local, pytest.mark.long]
IMAGE = "cli/app:1"
GROUP = "/cli/app"
ROLE = "arn:aws:iam::000000000000:role/cli"


@pytest.fixture(scope="module")
def aws(stack: Stack) -> Aws:
    return aws_of(stack)


def test_ecs_and_logs(stack: Stack, aws: Aws) -> None:
    stack.must("image", "add", IMAGE, sys.prefix)
    assert aws("ecs", "create-cluster", "--cluster-name", "cli")["cluster"]["status"] == "ACTIVE"
    assert any(arn.endswith(":cluster/cli") for arn in aws("ecs", "list-clusters")["clusterArns"])
    assert aws("logs", "create-log-group", "--log-group-name", GROUP) == ""
    aws("ecs", "register-task-definition", "--cli-input-json", json.dumps(_definition()))
    network = "awsvpcConfiguration={subnets=[subnet-1],securityGroups=[sg-1]}"
    where = ("--cluster", "cli", "--launch-type", "FARGATE", "--network-configuration", network)
    answer = aws("ecs", "run-task", "--task-definition", "cli", "--count", "1", *where)
    assert answer["failures"] == []
    arn = answer["tasks"][0]["taskArn"]
    ended = _until_stopped(aws, arn)
    assert (ended["stopCode"], ended["containers"][0]["exitCode"]) == ("EssentialContainerExited", 4)
    stream = f"app/main/{arn.rpartition('/')[2]}"
    where = ("--log-group-name", GROUP, "--log-stream-name", stream)
    events = aws("logs", "get-log-events", *where)["events"]
    assert [event["message"] for event in events] == ["from the command line"]
    # --query and text output are the CLI's own, but they need every member where AWS has it.
    query = "taskDefinition.containerDefinitions[0].image"
    said = aws("ecs", "describe-task-definition", "--task-definition", "cli", "--query", query, "--output", "text")
    assert said.strip() == IMAGE


def _definition() -> dict[str, Any]:
    options = {"awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "app"}
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["sh", "-c", "echo from the command line; exit 4"],
        "logConfiguration": {"logDriver": "awslogs", "options": options},
    }
    return {
        "family": "cli",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": ROLE,
        "containerDefinitions": [container],
    }


def _until_stopped(aws: Aws, arn: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        task: dict[str, Any] = aws("ecs", "describe-tasks", "--cluster", "cli", "--tasks", arn)["tasks"][0]
        if task["lastStatus"] == "STOPPED":
            return task
        assert time.monotonic() < deadline, task


def test_s3(aws: Aws, tmp_path: Path) -> None:
    one, back, many = tmp_path / "one", tmp_path / "back", tmp_path / "many"
    one.write_bytes(b"0123456789" * 1_000_000)  # Above the CLI's 8 MiB, so it goes up in parts.
    aws("s3", "mb", "s3://cli-test")
    aws("s3", "cp", "--quiet", str(one), "s3://cli-test/a folder/one ü")
    assert "one ü" in aws("s3", "ls", "s3://cli-test/a folder/")
    aws("s3", "cp", "--quiet", "s3://cli-test/a folder/one ü", str(back))
    assert back.read_bytes() == one.read_bytes()
    aws("s3", "sync", "--quiet", "s3://cli-test", str(many))
    assert (many / "a folder" / "one ü").read_bytes() == one.read_bytes()
    aws("s3", "rb", "--force", "s3://cli-test")
    assert "cli-test" not in aws("s3", "ls")


def test_mwaa_batch_and_identity(aws: Aws) -> None:
    assert isinstance(aws("mwaa", "list-environments")["Environments"], list)
    assert isinstance(aws("batch", "describe-job-queues")["jobQueues"], list)
    assert aws("sts", "get-caller-identity")["Account"] == "000000000000"
