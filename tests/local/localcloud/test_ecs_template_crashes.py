"""``kill -9`` of templates while they fork under load, and of the server meanwhile: nothing lost, doubled or orphaned,
exit codes true."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.local.crash_ledger import CODES, Ledger
from tests.local.ecs_cloud import LOG_GROUP, NETWORK, definition, serve, wait_for
from tests.local.localcloud.test_ecs_crashes import ROOT, SEED, answers

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(400)]

LIVES = int(os.environ.get("CRASHES", "50")) // 5
"""Of the server; the templates of each are killed several times."""
LONGEST_LIFE = 2.5
PROGRAM = """
import sys, time
kind = "fork" if "tiny_template" in sys.modules else "start"
open({mark!r}, "a").write("once\\n")
open({mark!r} + "." + kind, "w").close()
time.sleep({seconds})
sys.exit({code})
"""


@dataclass
class Forks(Ledger):
    """Asks for containers that are forked from a template, or started plainly when there is none.

    Attributes:
        killed: pids of templates that were killed.
    """

    killed: list[int] = field(default_factory=list)

    def open(self) -> None:
        self.client("ecs").create_cluster()
        self.client("logs").create_log_group(logGroupName=LOG_GROUP)
        self.client("ecs").register_task_definition(**definition("true"))

    def work(self) -> None:
        self.until_gone([self.run, self.run, lambda: time.sleep(0.1)])

    def repeat(self, token: str) -> None:
        wanted = {"mark": f"{self.marks}/{token}", "seconds": int(token[1:]) % 5 / 10, "code": self.asked[token]}
        overrides = {"containerOverrides": [{"name": "main", "command": ["python", "-c", PROGRAM.format(**wanted)]}]}
        (task,) = self.client("ecs").run_task(
            taskDefinition="work", networkConfiguration=NETWORK, overrides=overrides, clientToken=token
        )["tasks"]
        assert self.accepted.setdefault(token, task["taskArn"]) == task["taskArn"], "the same token, another ECS task"

    def by(self, kind: str) -> int:
        """How many containers were forked, or started."""
        return len(list(self.marks.glob(f"*.{kind}")))


def test_templates_and_server_killed_while_they_fork(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    (tmp_path / "marks").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ledger = Forks(probe.getsockname()[1], tmp_path / "marks", dice)
    print(f"seed {SEED}")
    server = begin(tmp_path, ledger.port)
    try:
        ledger.open()
        for _ in range(LIVES):
            ledger.busy.clear()
            killer = threading.Thread(target=kill, args=(server, tmp_path, ledger, dice.uniform(0.5, LONGEST_LIFE)))
            killer.start()
            ledger.work()
            killer.join()
            server.wait()
            wait_for(lambda: not templates_of(tmp_path), 20)  # they end with their server
            server = begin(tmp_path, ledger.port)
        ledger.settle()
        ledger.audit()
        print(f"{len(ledger.asked)} asked, {ledger.by('fork')} forked, {ledger.by('start')} started, {ledger.killed}")
        assert set(ledger.asked.values()) == set(CODES)
        assert ledger.killed
        assert ledger.by("fork") > ledger.by("start") / 10
        assert standing_in(tmp_path / "cloud" / "containers") == []
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    wait_for(lambda: not templates_of(tmp_path), 20)


def kill(server: subprocess.Popen[bytes], home: Path, ledger: Forks, seconds: float) -> None:
    """Kills templates as soon as they have forked a little, and at last the server."""
    ledger.busy.wait(60)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(random.uniform(0.0, 0.6))
        for pid in templates_of(home):
            if parent_of(pid) == server.pid:  # not a fork that is on its way to become a container
                os.kill(pid, signal.SIGKILL)
                ledger.killed.append(pid)
    server.kill()


def parent_of(pid: int) -> int:
    """0: it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def templates_of(home: Path) -> list[int]:
    """Pids of templates, and of forks that do not stand in their container's folder yet."""
    return standing_in(home / "cloud" / "templates")


def standing_in(folder: Path) -> list[int]:
    """Pids of processes whose working folder is there or below."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
    return found


def begin(home: Path, port: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.local.localcloud.test_ecs_template_crashes", str(home), str(port)]
    server = subprocess.Popen(words, cwd=ROOT)
    wait_for(lambda: answers(port), 60)
    return server


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), 12, "tiny_template"))
