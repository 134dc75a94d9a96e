"""Logs of startup.sh and of the installation of requirements under MWAA's stream names, from real containers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.local.runtime_cloud import rest_of_aws

pytestmark = pytest.mark.local
BUCKET = "install-logs"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with rest_of_aws(tmp_path_factory.mktemp("aws")) as found:
        client(found, "s3").create_bucket(Bucket=BUCKET)
        yield found


def client(aws: dict[str, str], service: str) -> Any:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=aws["AWS_ENDPOINT_URL"], **keys)


def container(aws: dict[str, str], home: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "SKYLIFT_LAYER_CACHE": str(home / "cache"),
        **{name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_", "HTTP"))},
        **aws,
        **variables,
    }
    arguments = [sys.executable, "-m", "skylift.runtime", *command]
    return subprocess.run(arguments, env=environ, text=True, capture_output=True, timeout=240, check=False)


def put(aws: dict[str, str], key: str, text: str) -> str:
    client(aws, "s3").put_object(Bucket=BUCKET, Key=key, Body=text.encode())
    return f"s3://{BUCKET}/{key}"


def streams(aws: dict[str, str], group: str) -> dict[str, list[str]]:
    """Lines of each stream, by its name."""
    logs = client(aws, "logs")
    found = logs.describe_log_streams(logGroupName=group)["logStreams"]
    return {
        one["logStreamName"]: [
            event["message"]
            for event in logs.get_log_events(
                logGroupName=group, logStreamName=one["logStreamName"], startFromHead=True
            )["events"]
        ]
        for one in found
    }


def group(aws: dict[str, str], name: str) -> str:
    client(aws, "logs").create_log_group(logGroupName=name)
    return name


def test_a_startup_scripts_lines_are_in_a_stream_of_its_own_and_in_the_containers_log(
    aws: dict[str, str], tmp_path: Path
) -> None:
    name = group(aws, "airflow-a-Scheduler")
    url = put(aws, "startup.sh", "echo one\necho two >&2\nexport TEAM=weather\n")
    done = container(
        aws, tmp_path, "bash", "-c", "echo $TEAM", SKYLIFT_STARTUP_SCRIPT=url, SKYLIFT_INSTALL_LOG_GROUPS=name
    )
    assert (done.returncode, done.stdout) == (0, "one\ntwo\nweather\n")
    ((stream, lines),) = streams(aws, name).items()
    assert re.fullmatch(rf"startup_script_execution_{os.uname().nodename}_\d{{10}}\.log", stream)
    assert lines == ["one", "two"]


def test_a_script_that_fails_says_why_there(aws: dict[str, str], tmp_path: Path) -> None:
    name = group(aws, "airflow-b-Scheduler")
    url = put(aws, "failing.sh", "echo before\nexit 5\n")
    done = container(aws, tmp_path, "true", SKYLIFT_STARTUP_SCRIPT=url, SKYLIFT_INSTALL_LOG_GROUPS=name)
    assert (done.returncode, done.stdout) == (81, "before\n")
    assert done.stderr == "skylift: startup.sh failed with exit code 5\n"
    (lines,) = streams(aws, name).values()
    assert lines == ["before", "skylift: startup.sh failed with exit code 5"]


def test_what_a_script_leaves_in_the_background_prints_on(aws: dict[str, str], tmp_path: Path) -> None:
    name = group(aws, "airflow-c-Scheduler")
    go = tmp_path / "go"
    waiting = f"until [ -e {go} ]; do sleep 0.05; done; echo late; touch {go}.done"
    url = put(aws, "background.sh", f"echo now\n( {waiting} ) &\n")
    program = f"echo program; touch {go}; until [ -e {go}.done ]; do sleep 0.05; done"
    done = container(aws, tmp_path, "bash", "-c", program, SKYLIFT_STARTUP_SCRIPT=url, SKYLIFT_INSTALL_LOG_GROUPS=name)
    assert (done.returncode, done.stdout) == (0, "now\nprogram\nlate\n")
    (lines,) = streams(aws, name).values()
    assert lines == ["now"]


def test_logs_that_cannot_be_sent_hinder_nothing(aws: dict[str, str], tmp_path: Path) -> None:
    url = put(aws, "other.sh", "echo one\n")
    began = time.monotonic()
    done = container(
        aws, tmp_path, "echo", "on", SKYLIFT_STARTUP_SCRIPT=url, SKYLIFT_INSTALL_LOG_GROUPS="airflow-none-Scheduler"
    )
    assert done.returncode == 0
    assert re.fullmatch(
        r"one\nskylift: the log startup_script_execution_\S+ is not in CloudWatch: .*\non\n", done.stdout
    )
    assert time.monotonic() - began < 120


def test_an_installation_is_logged_for_every_component(aws: dict[str, str], tmp_path: Path) -> None:
    names = [group(aws, f"airflow-d-{module}") for module in ("Worker", "Scheduler", "WebServer")]
    done = container(
        aws,
        tmp_path,
        "build-layer",
        SKYLIFT_REQUIREMENTS=put(aws, "requirements.txt", "no-such-package-of-skylift==9.9\n"),
        SKYLIFT_STARTUP_SCRIPT=put(aws, "startup.sh", "echo started as $MWAA_AIRFLOW_COMPONENT\n"),
        SKYLIFT_LAYER_TARGET=f"s3://{BUCKET}/layer",
        SKYLIFT_INSTALL_LOG_GROUPS=",".join(names),
    )
    assert done.returncode == 1, done.stderr
    assert "started as worker" in done.stdout
    for name in names:
        found = streams(aws, name)
        (installed,) = [lines for stream, lines in found.items() if stream.startswith("requirements_install_")]
        assert any("no-such-package-of-skylift" in line for line in installed)
        started = [lines for stream, lines in found.items() if stream.startswith("startup_script_execution_")]
        assert started == ([["started as worker"]] if name.endswith("Worker") else [])
