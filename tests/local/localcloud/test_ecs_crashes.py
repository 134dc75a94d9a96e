"""``kill -9`` of the local cloud at random points under load: nothing lost, nothing doubled, nothing orphaned, exit
codes true."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.local.crash_ledger import STEADY, Ledger
from tests.local.ecs_cloud import wait_for

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
CRASHES = int(os.environ.get("CRASHES", "50"))
SEED = int(os.environ.get("CRASH_SEED", str(random.SystemRandom().randrange(10**6))))
LONGEST_LIFE = 0.7
"""Seconds that a server works at most before it is killed."""


def test_killed_at_random_points_under_load(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    (tmp_path / "marks").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ledger = Ledger(probe.getsockname()[1], tmp_path / "marks", dice)
    print(f"seed {SEED}")
    server = begin(tmp_path, ledger.port)
    try:
        ledger.open()
        for turn in range(CRASHES):
            if turn % 8 == 7:  # while it takes up what was there before
                time.sleep(dice.uniform(0.0, 1.2))
                server.kill()
            else:
                wait_for(lambda: answers(ledger.port), 60)
                ledger.busy.clear()
                killer = threading.Thread(target=kill_busy, args=(server, ledger, dice.uniform(0.0, LONGEST_LIFE)))
                killer.start()
                ledger.work()
                killer.join()
            server.wait()
            server = begin(tmp_path, ledger.port, wait=False)
        wait_for(lambda: answers(ledger.port), 60)
        ledger.settle()
        ledger.audit()
        assert_no_orphans(ledger, tmp_path)
        print(
            f"{len(ledger.asked)} RunTask, {len(ledger.stopped)} StopTask, {len(ledger.jobs)} arrays, "
            f"{len(ledger.things)} things"
        )
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    wait_for(lambda: not containers_of(tmp_path), 20, lambda: str(containers_of(tmp_path)))


def kill_busy(server: subprocess.Popen[bytes], ledger: Ledger, seconds: float) -> None:
    """Kills the server so long after it has answered for the first time."""
    ledger.busy.wait(60)
    time.sleep(seconds)
    server.kill()


def assert_no_orphans(ledger: Ledger, home: Path) -> None:
    """All that runs is the service, as often as it is wanted; and it is what ECS knows."""
    ecs = ledger.client("ecs")

    def steady() -> bool:
        (service,) = ecs.describe_services(services=["kept"])["services"]
        return service["runningCount"] == STEADY and len(service["deployments"]) == 1

    wait_for(steady, 60)
    known = {arn.rsplit("/", 1)[-1] for arn in ecs.list_tasks()["taskArns"]}
    assert len(known) == STEADY
    wait_for(lambda: set(containers_of(home).values()) == known, 20, lambda: f"{containers_of(home)} {known}")
    assert len(containers_of(home)) == STEADY


def containers_of(home: Path) -> dict[int, str]:
    """Pid -> ECS task id of every process that has a container's environment of this home."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(b"HOME=" + str(home).encode()) for word in words):
            uri = next(word for word in words if word.startswith(b"ECS_CONTAINER_METADATA_URI_V4="))
            found[int(entry.name)] = uri.decode().rsplit("/", 1)[-1].partition("-")[0]
    return found


def begin(home: Path, port: int, wait: bool = True) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.local.ecs_cloud", str(home), str(port)]
    server = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "SKYLIFT_SLOTS": "12"})
    if wait:
        wait_for(lambda: answers(port), 60)
    return server


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
