"""Celery workers of one real environment: beside ECS and Batch, from zero, and ended in every way while they work."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.whole.worker_crew import NAME, SERVICE, begun, crew_of, ended, fly, naps, until, workers
from tests.stack import ROOT, SKYLIFT, Stack

from skylift.core.names import worker_host

pytestmark = [pytest.mark.local, pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def crew(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with crew_of(stack, tmp_path_factory.mktemp("projects") / NAME) as made:
        yield made


def test_a_killed_worker_costs_a_retry_with_its_reason_and_loses_no_message(crew: Stack, tmp_path: Path) -> None:
    marks = tmp_path / "killed"
    look = fly(crew, "crowd", marks, seconds=8)
    until(lambda: len(begun(marks)) >= 2, 300, "nothing runs")
    (arn, pid), *_ = workers(crew).items()
    os.kill(pid, signal.SIGKILL)
    lines = naps(ended(look))
    assert [one.state for one in lines] == ["success"] * 8
    again = [one for one in lines if one.try_number == 2]
    assert 1 <= len(again) <= 4, "what ran on it, at most its four slots"
    for one in again:
        times = (f"nap.{one.map_index}.1.end", f"nap.{one.map_index}.2.begin", f"nap.{one.map_index}.2.end")
        assert [(marks / name).exists() for name in times] == [False, True, True]
    words = ("--dag", "crowd", "--task", "nap", "--map-index", str(again[0].map_index), "--try", "1")
    said = crew.must("logs", "--env", NAME, *words)
    assert re.search(rf"{worker_host(arn)} ended\. It was killed \(SIGKILL\)\..*exit code 137", said)


def test_a_worker_that_is_told_to_stop_ends_its_work_first(crew: Stack, tmp_path: Path) -> None:
    marks = tmp_path / "stopped"
    look = fly(crew, "crowd", marks, seconds=5)
    until(lambda: len(begun(marks)) >= 2, 300, "nothing runs")
    for pid in workers(crew).values():
        os.kill(pid, signal.SIGTERM)
    lines = naps(ended(look))
    assert {(one.state, one.try_number) for one in lines} == {("success", 1)}
    assert len(list(marks.glob("nap.*.end"))) == 8


def test_scaling_in_waits_for_what_runs(crew: Stack, tmp_path: Path) -> None:
    """ECS is told to have no workers: it ends those that are not protected."""
    marks = tmp_path / "protected"
    look = fly(crew, "crowd", marks, number=3, seconds=10)
    until(lambda: len(begun(marks)) == 3, 300, "not all run")
    ecs = crew.client("ecs")
    busy = ecs.get_task_protection(cluster="skylift", tasks=list(workers(crew)))["protectedTasks"]
    assert any(one["protectionEnabled"] for one in busy)
    ecs.update_service(cluster="skylift", service=SERVICE, desiredCount=0)
    lines = naps(ended(look))
    assert {(one.state, one.try_number) for one in lines} == {("success", 1)}


def test_a_graceful_update_lets_old_workers_end_their_work(crew: Stack, tmp_path: Path) -> None:
    marks = tmp_path / "graceful"
    look = fly(crew, "crowd", marks, number=3, seconds=45)
    until(lambda: len(begun(marks)) == 3, 300, "not all run")
    before = set(workers(crew))
    _update(crew, "GRACEFUL", "2048")
    lines = naps(ended(look))
    assert {(one.state, one.try_number) for one in lines} == {("success", 1)}
    until(lambda: not before & set(workers(crew)), 300, "an old worker stays after its work")


def test_a_forced_update_cuts_off_what_is_too_long_and_that_is_retried(crew: Stack, tmp_path: Path) -> None:
    """ECS gives 120 seconds; the first try would take much longer."""
    marks = tmp_path / "forced"
    look = fly(crew, "crowd", marks, number=2, seconds=1, first=1500)
    until(lambda: len(begun(marks)) == 2, 300, "not all run")
    before = set(workers(crew))
    _update(crew, "FORCED", "4096")
    lines = naps(ended(look))
    assert {(one.state, one.try_number) for one in lines} == {("success", 2)}
    assert not before & set(workers(crew))
    words = ("--dag", "crowd", "--task", "nap", "--map-index", "0", "--try", "1")
    assert f"{worker_host(before.pop())} ended." in crew.must("logs", "--env", NAME, *words)


def test_thirty_sigterms_at_any_moment_lose_no_message(crew: Stack, tmp_path: Path) -> None:
    marks, sent, chance = tmp_path / "thirty", 0, random.Random(time.time_ns())
    look = fly(crew, "crowd", marks, number=200, seconds=3)
    until(lambda: begun(marks), 300, "nothing runs")
    deadline = time.monotonic() + 900
    while sent < 30 and time.monotonic() < deadline:
        time.sleep(chance.uniform(0, 5))
        if crowd := list(workers(crew).values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(crowd), signal.SIGTERM)
                sent += 1
    lines = naps(ended(look, 900))
    assert {(one.state, one.try_number) for one in lines} == {("success", 1)}, f"{sent} SIGTERMs"
    assert len(list(marks.glob("nap.*.end"))) == 200
    assert sent == 30


def _update(crew: Stack, replacement: str, length: str) -> None:
    """An option that every component reads: all restart."""
    words = ("--replacement", replacement, "--option", f"core.max_map_length={length}", "--yes")
    crew.must("env", "update", NAME, *words, seconds=900)


def test_the_pages_commands_work(crew: Stack) -> None:
    (script,) = re.findall(r"<!-- run -->\n```sh\n(.*?)```", (ROOT / "docs" / "workers.md").read_text(), re.DOTALL)
    environ = {**crew.environ, "PATH": f"{SKYLIFT.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", script], env=environ, text=True, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CeleryExecutorQueue" in done.stdout
