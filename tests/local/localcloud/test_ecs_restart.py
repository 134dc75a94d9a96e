"""The local cloud stops and starts again, in order or by ``kill -9``: nothing accepted is lost, nothing runs twice or
unnoticed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.local.ecs_cloud import LOG_GROUP, NETWORK, Cloud, client, definition, described, run, until, wait_for

pytestmark = pytest.mark.local
ROOT = Path(__file__).parents[3]


def test_several_wait_for_one_build(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path).start()
    try:
        ecs = cloud.client()
        ecs.create_cluster()
        cloud.client("logs").create_log_group(logGroupName=LOG_GROUP)
        ecs.register_task_definition(**definition("true"))
        tasks = ecs.run_task(taskDefinition="work", count=5, networkConfiguration=NETWORK)["tasks"]
        assert {task["lastStatus"] for task in tasks} == {"PROVISIONING"}
        for task in tasks:
            assert until(ecs, task["taskArn"], "STOPPED")["containers"][0]["exitCode"] == 0
        assert len(cloud.images.built) == 1
    finally:
        cloud.stop()


def test_stop_and_start_lose_nothing(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path).start()
    ecs = cloud.client()
    ecs.create_cluster()
    cloud.client("logs").create_log_group(logGroupName=LOG_GROUP)
    done = run(ecs, definition("sh", "-c", "exit 7"))
    until(ecs, done, "STOPPED")
    running = run(ecs, definition("sleep", "300", stopTimeout=60))
    request = {**definition("sleep", "300"), "family": "kept"}
    ecs.register_task_definition(**request)
    ecs.create_service(serviceName="kept", taskDefinition="kept", desiredCount=2, networkConfiguration=NETWORK)
    wait_for(lambda: service_of(ecs, "kept")["runningCount"] == 2)
    until(ecs, running, "RUNNING")
    began = time.monotonic()
    cloud.stop()
    assert time.monotonic() - began < 15
    cloud.start()
    try:
        ecs = cloud.client()
        assert described(ecs, done)["containers"][0]["exitCode"] == 7
        stopped = described(ecs, running)
        assert (stopped["lastStatus"], stopped["stopCode"]) == ("STOPPED", "TerminationNotice")
        assert stopped["containers"][0]["exitCode"] == 143
        assert ecs.describe_task_definition(taskDefinition="kept:1")["taskDefinition"]["status"] == "ACTIVE"
        wait_for(lambda: service_of(ecs, "kept")["runningCount"] == 2)
        assert len(ecs.list_tasks(serviceName="kept")["taskArns"]) == 2
    finally:
        cloud.stop()


def test_containers_outlive_a_killed_server(tmp_path: Path) -> None:
    """Running ones go on, those that end meanwhile have their true exit code and logs, services are not doubled."""
    port, go = free_port(), tmp_path / "go"
    with server(tmp_path, port) as process:
        ecs, logs = clients(port)
        ecs.create_cluster()
        logs.create_log_group(logGroupName=LOG_GROUP)
        long = run(
            ecs, definition("sh", "-c", f"echo before; while [ ! -e {go} ]; do sleep 0.1; done; echo after; exit 9")
        )
        short = run(ecs, definition("sh", "-c", "sleep 0.7; echo alone; exit 8"))
        stopping = run(ecs, definition("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", stopTimeout=2))
        ecs.register_task_definition(**{**definition("sleep", "300"), "family": "kept"})
        ecs.create_service(serviceName="kept", taskDefinition="kept", desiredCount=1, networkConfiguration=NETWORK)
        wait_for(lambda: service_of(ecs, "kept")["runningCount"] == 1)
        for arn in (long, stopping):
            until(ecs, arn, "RUNNING")
        kept = ecs.list_tasks(serviceName="kept")["taskArns"]
        ecs.stop_task(task=stopping)
        ecs.run_task(taskDefinition="kept", networkConfiguration=NETWORK, startedBy="just-accepted", clientToken="t")
        process.kill()
        process.wait()
    time.sleep(1)  # the short one ends while nobody looks
    with server(tmp_path, port):
        ecs, logs = clients(port)
        assert until(ecs, short, "STOPPED")["containers"][0]["exitCode"] == 8
        assert described(ecs, long)["lastStatus"] == "RUNNING"
        go.touch()
        assert until(ecs, long, "STOPPED")["containers"][0]["exitCode"] == 9
        assert until(ecs, stopping, "STOPPED")["containers"][0]["exitCode"] == 137
        assert messages(logs, short) == ["alone"]
        assert messages(logs, long)[-1] == "after"
        assert ecs.list_tasks(serviceName="kept")["taskArns"] == kept
        accepted = ecs.list_tasks(startedBy="just-accepted")["taskArns"]
        assert len(accepted) == 1
        until(ecs, accepted[0], "RUNNING")
        again = ecs.run_task(
            taskDefinition="kept", networkConfiguration=NETWORK, startedBy="just-accepted", clientToken="t"
        )
        assert [task["taskArn"] for task in again["tasks"]] == accepted
        assert len(sleepers(tmp_path)) == 2
    wait_for(lambda: not sleepers(tmp_path), seconds=20)


def test_killed_again_and_again_under_load(tmp_path: Path) -> None:
    """What RunTask accepted runs once, whatever moment the server dies in, and its exit code is true."""
    port, marks = free_port(), tmp_path / "marks"
    marks.mkdir()
    with server(tmp_path, port):
        ecs, logs = clients(port)
        ecs.create_cluster()
        logs.create_log_group(logGroupName=LOG_GROUP)
        until(ecs, run(ecs, definition("true")), "STOPPED")
    accepted: dict[str, int] = {}
    for turn in range(6):
        with server(tmp_path, port) as process:
            count: list[str] = []
            killer = threading.Thread(target=kill_after, args=(process, count, 3 + 2 * turn))
            killer.start()
            accepted |= submit_until_killed(port, marks, turn, count)
            killer.join()
    assert len(accepted) >= 6 * 3
    with server(tmp_path, port):
        ecs, _ = clients(port)
        for arn, code in accepted.items():
            assert until(ecs, arn, "STOPPED")["containers"][0].get("exitCode") == code
    assert {mark.read_text() for mark in marks.iterdir()} == {"once\n"}
    assert len(list(marks.iterdir())) >= len(accepted)


def kill_after(process: subprocess.Popen[bytes], count: list[str], most: int) -> None:
    """Kills the server a moment after it has accepted so many."""
    wait_for(lambda: len(count) >= most, seconds=60)
    time.sleep(most * 0.001)
    process.kill()
    process.wait()


def submit_until_killed(port: int, marks: Path, turn: int, count: list[str]) -> dict[str, int]:
    """Runs ECS tasks until the server is gone: ARN -> the exit code that it must have."""
    ecs, _ = clients(port)
    accepted: dict[str, int] = {}
    while True:
        number = len(accepted)
        script = f"echo once >> {marks}/{turn}-{number}; sleep 0.{number % 7}; exit {number % 5}"
        overrides = {"containerOverrides": [{"name": "main", "command": ["sh", "-c", script]}]}
        try:
            answer = ecs.run_task(taskDefinition="work", networkConfiguration=NETWORK, overrides=overrides)
        except (BotoCoreError, ClientError):
            return accepted
        accepted[answer["tasks"][0]["taskArn"]] = number % 5
        count.append(script)


def test_a_killed_shim_takes_its_container_along(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path).start()
    try:
        ecs = cloud.client()
        ecs.create_cluster()
        cloud.client("logs").create_log_group(logGroupName=LOG_GROUP)
        arn = run(ecs, definition("sleep", "300"))
        until(ecs, arn, "RUNNING")
        folder = next((tmp_path / "cloud" / "containers").iterdir())
        os.kill(int((folder / "pid").read_text().split()[0]), signal.SIGKILL)
        task = until(ecs, arn, "STOPPED")
        assert "exitCode" not in task["containers"][0]
        assert task["containers"][0]["reason"].startswith("ContainerRuntimeError")
        wait_for(lambda: not sleepers(tmp_path))
    finally:
        cloud.stop()


def service_of(ecs: Any, name: str) -> dict[str, Any]:
    return dict(ecs.describe_services(services=[name])["services"][0])


def messages(logs: Any, arn: str) -> list[str]:
    stream = f"p/main/{arn.rsplit('/', 1)[-1]}"
    events = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)["events"]
    return [event["message"] for event in events]


def sleepers(home: Path) -> list[str]:
    """Processes ``sleep 300`` that live in a container of this home."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes() == b"sleep\x00300\x00" and str(home).encode() in (
                entry / "environ"
            ).read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


@contextmanager
def server(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The local cloud as a process of its own; ended politely unless it was killed."""
    words = [sys.executable, "-m", "tests.local.ecs_cloud", str(home), str(port)]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        wait_for(lambda: answers(port), seconds=30)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def clients(port: int) -> tuple[Any, Any]:
    url = f"http://127.0.0.1:{port}"
    return client("ecs", url), client("logs", url)
