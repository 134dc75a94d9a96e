"""``skylift cloud``, ``skylift fault``, ``skylift image`` and the pytest fixtures, as people use them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).parents[3]
SKYLIFT = Path(sys.executable).with_name("skylift")

pytestmark = [pytest.mark.local, pytest.mark.long]


class Alone:
    """A ``skylift cloud`` in the foreground of a process of its own."""

    def __init__(self, home: Path, *words: str) -> None:
        unwanted = ("AWS_", "SKYLIFT_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        self.environ = clean | {"SKYLIFT_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            [SKYLIFT, "cloud", *words], env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stderr is not None
        self.said = "".join(self.process.stderr.readline() for _ in range(4))
        found = re.search(r"at (http://127\.0\.0\.1:\d+) \(state in (.+)\)", self.said)
        assert found, self.said + self.process.stderr.read()
        self.url, self.folder = found[1], Path(found[2])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SKYLIFT, *words], env=self.environ, text=True, capture_output=True, timeout=60, check=False
        )

    def must(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.process.returncode


def _keys(alone: Alone) -> dict[str, str]:
    """Arguments for boto3's clients, from ``skylift shellenv``."""
    command = f'eval "$({SKYLIFT} shellenv)"; {sys.executable} -c "{_PRINT_KEYS}"'
    done = subprocess.run(["bash", "-c", command], env=alone.environ, text=True, capture_output=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    started = Alone(tmp_path / "home", "--home", str(tmp_path / "home"))
    yield started
    assert started.end() == 0


def test_health_tells_no_more_than_it_must_and_the_rest_is_signed(alone: Alone) -> None:
    with urllib.request.urlopen(f"{alone.url}/_skylift/health") as answer:
        assert json.loads(answer.read()).keys() == {"status", "version", "pid"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{alone.url}/_skylift/faults")
    assert refused.value.code == 403


def test_clients_of_another_region_are_told_which_one_to_use(alone: Alone) -> None:
    keys = _keys(alone)
    calls = {
        "ecs": "list_clusters",
        "sqs": "list_queues",
        "iam": "list_roles",
        "s3": "list_buckets",
        "sts": "get_caller_identity",
    }
    for service, operation in calls.items():
        getattr(boto3.client(service, region_name="us-east-1", **keys), operation)()
        with pytest.raises(ClientError, match="set AWS_REGION=us-east-1"):
            getattr(boto3.client(service, region_name="eu-west-1", **keys), operation)()
    emulators = {**keys, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
    with pytest.raises(ClientError, match="skylift shellenv"):
        boto3.client("ecs", region_name="us-east-1", **emulators).list_clusters()


def test_faults_from_the_command_line(alone: Alone) -> None:
    assert "no faults" in alone.must("fault", "list")
    made = alone.must("fault", "set", "error", "--name", "mine", "--code", "Boom", "--calls", "2", "--service", "ecs")
    assert made.startswith("mine: error")
    shown = json.loads(alone.must("fault", "list", "--json"))
    assert shown[0]["values"] == {"code": "Boom", "calls": 2, "service": "ecs"}
    status = json.loads(alone.must("status", "--json"))
    assert status["faults"] == shown
    assert status["environments"] == []
    assert "fault mine: error" in alone.must("status")
    assert alone.must("fault", "set", "kill", "--task", "none") == "0 struck\n"
    refused = alone.run("fault", "set", "latency", "--delay", "soon")
    assert refused.returncode == 1
    assert "delay: 'soon' cannot be used" in refused.stderr
    assert "1 ended" in alone.must("fault", "clear", "mine")
    assert alone.run("fault", "clear", "mine").returncode == 1


def test_a_named_image_starts_without_a_restart(alone: Alone, tmp_path: Path) -> None:
    alone.must("image", "add", "my/app:1", sys.prefix, "--env", "GREETING=hello")
    assert alone.must("image", "list") == f"my/app:1\t{sys.prefix}\n"
    keys = _keys(alone)
    ecs = boto3.client("ecs", region_name="us-east-1", **keys)
    ecs.create_cluster(clusterName="default")
    code = "import os, sys; sys.exit(os.environ['GREETING'] != 'hello')"
    container = {"name": "main", "image": "my/app:1", "command": ["python", "-c", code], "memory": 128}
    ecs.register_task_definition(family="app", containerDefinitions=[container])
    arn = ecs.run_task(taskDefinition="app", launchType="EC2")["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(tasks=[arn], WaiterConfig={"Delay": 1})
    ended = ecs.describe_tasks(tasks=[arn])["tasks"][0]
    assert ended["containers"][0].get("exitCode") == 0, ended
    alone.must("image", "remove", "my/app:1")
    assert alone.run("image", "remove", "my/app:1").returncode == 1
    assert "no bin/python" in alone.run("image", "add", "a/b:1", str(tmp_path)).stderr


_PRINT_KEYS = (
    "import json, os, botocore.session as b; k = b.Session().get_credentials(); print(json.dumps({"
    "'endpoint_url': os.environ['AWS_ENDPOINT_URL'], "
    "'aws_access_key_id': k.access_key, 'aws_secret_access_key': k.secret_key}))"
)


def test_the_commands_of_the_manual(tmp_path: Path) -> None:
    manual = (ROOT / "docs" / "localcloud.md").read_text()
    block = re.search(r"test_cloud_alone\.py\. -->\n```sh\n(.*?)^```", manual, re.MULTILINE | re.DOTALL)
    assert block
    alone = Alone(tmp_path / "cloud", "--home", str(tmp_path / "cloud"))
    try:
        path = f"{SKYLIFT.parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-e", "-c", block[1]],
            env=alone.environ | {"PATH": path},
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
    finally:
        assert alone.end() == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert "EssentialContainerExited 0\nhello from a container" in done.stdout
    assert "throttle-1: throttle operation=RunTask, struck 0 times" in done.stdout


def test_state_stays_in_a_home_and_another_server_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = Alone(home, "--home", str(home))
    try:
        first.must("fault", "set", "latency")
        refused = first.run("cloud", "--home", str(home))
        assert refused.returncode == 1
        assert "Another server already has" in refused.stderr
        assert "runs the local cloud alone" in first.run("up").stderr
    finally:
        assert first.end() == 0
    assert first.run("status").returncode == 1
    second = Alone(home, "--home", str(home))
    try:
        assert "no faults" in second.must("fault", "list")
    finally:
        assert second.end() == 0


def test_a_temporary_home_is_gone_afterwards(tmp_path: Path) -> None:
    started = Alone(tmp_path / "unused")
    try:
        assert started.folder.exists()
    finally:
        assert started.end() == 0
    assert not started.folder.exists()
    assert not (tmp_path / "unused").exists()


def test_the_example_of_the_pytest_fixtures(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "--basetemp", str(tmp_path), "."],
        cwd=ROOT / "examples" / "pytest",
        text=True,
        capture_output=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
