"""``kill -9`` of the server under Batch load: every accepted job runs to its end, and no attempt runs twice."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from tests.local.batch_cloud import define, job, prepare, submit, until
from tests.local.ecs_cloud import client

pytestmark = pytest.mark.local
HERE = Path(__file__).parents[1]


class Process:
    """The local cloud in a process of its own, always at the same port."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(HERE / "ecs_cloud.py"), str(self.home), str(self.port)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def end(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)

    def client(self) -> Any:
        return client("batch", f"http://127.0.0.1:{self.port}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "home")
    yield process
    process.end()


def test_killed_at_any_moment_nothing_is_lost_or_doubled(server: Process, tmp_path: Path) -> None:
    dice = random.Random(7)
    batch = server.client()
    notes = tmp_path / "notes"
    notes.touch()
    line = f'echo "$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT" >> {notes}; sleep 0.$((RANDOM % 3)); exit 0'
    prepare(batch)
    define(batch, "bash", "-c", line)
    accepted: list[str] = []
    array = submit(batch, arrayProperties={"size": 40})
    for _ in range(6):
        submitting = threading.Thread(target=submit_until_cut, args=(server.client(), accepted))
        submitting.start()
        time.sleep(dice.uniform(0.05, 0.6))
        server.kill()
        submitting.join(30)
        server.start()
    batch = server.client()
    for name in (*accepted, array):
        assert until(batch, name, seconds=120)["status"] == "SUCCEEDED", job(batch, name)
    ran = Counter(notes.read_text().splitlines())
    assert set(ran.values()) == {1}
    wanted = {f"{name} 1" for name in (*accepted, *(f"{array}:{index}" for index in range(40)))}
    assert wanted <= set(ran)
    assert len(ran) <= len(wanted) + 6  # a submission that was cut off may have been accepted: AWS has no token for it


def submit_until_cut(batch: Any, accepted: list[str]) -> None:
    with suppress(BotoCoreError):
        while True:
            accepted.append(submit(batch))


def test_what_waits_runs_and_timeouts_hold_after_a_kill(server: Process) -> None:
    batch = server.client()
    prepare(batch, vcpus=1)
    define(batch, "sh", "-c", "sleep 1; exit 5")
    first = submit(batch)
    second = submit(batch, dependsOn=[{"jobId": first}])
    array = submit(batch, arrayProperties={"size": 3}, containerOverrides={"command": ["true"]})
    until(batch, first, "RUNNING")
    server.kill()
    time.sleep(1.2)  # the container ends while nobody looks
    server.start()
    batch = server.client()
    found = until(batch, first)
    assert (found["status"], found["container"]["exitCode"]) == ("FAILED", 5)
    assert until(batch, second)["statusReason"] == "Dependent Job failed"
    assert until(batch, array)["status"] == "SUCCEEDED"
