"""500 Airflow tasks on Celery, ECS and Batch while workers come and go, some are killed, and an update replaces them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from tests.local.whole.worker_crew import NAME, crew_of, ended, fly, until, workers
from tests.stack import Stack

pytestmark = [pytest.mark.local, pytest.mark.soak, pytest.mark.timeout(5400)]


@pytest.fixture
def crew(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    with crew_of(stack, tmp_path / NAME) as made:
        yield made


def test_all_succeed_none_runs_twice_at_once_and_each_retry_has_its_cause(crew: Stack, tmp_path: Path) -> None:
    marks, killed = tmp_path / "marks", 0
    look = fly(crew, "chaos", marks)
    until(lambda: len(list(marks.glob("celery.*.begin"))) >= 5, 600, "nothing runs on Celery")
    chance = random.Random(time.time_ns())
    for step in ("worker", "scheduler", "update", "worker"):
        time.sleep(chance.uniform(5, 20))
        if step == "update":
            # The folder is followed: what is saved in it becomes an update.
            (tmp_path / NAME / "requirements.txt").write_text("cowsay==6.1\n")
        elif step == "scheduler":
            os.kill(_scheduler(crew), signal.SIGKILL)
        else:
            crowd = until(lambda: list(workers(crew).values()), 300, "no worker")
            os.kill(chance.choice(crowd), signal.SIGKILL)
            killed += 1
    until(lambda: _updated(crew), 1800, "the update of requirements did not succeed")
    lines = ended(look, 3000)
    assert {one.state for one in lines} == {"success"}
    again = {(one.task_id, one.map_index) for one in lines if one.try_number > 1}
    assert len(again) <= killed * 4, "a worker has four slots, and nothing else may cost a try"
    for task, index in again:
        words = ("--dag", "chaos", "--task", task, "--map-index", str(index), "--try", "1")
        said = crew.must("logs", "--env", NAME, *words)
        assert "ended. It was killed (SIGKILL)" in said
    _never_twice_at_once(marks)
    until(lambda: not workers(crew), 400, "workers without work")


def _updated(crew: Stack) -> bool:
    found = crew.client("mwaa").get_environment(Name=NAME)["Environment"]
    return (
        "RequirementsS3Path" in found and found["Status"] == "AVAILABLE" and found["LastUpdate"]["Status"] == "SUCCESS"
    )


def _scheduler(crew: Stack) -> int:
    ecs = crew.client("ecs")
    (arn,) = ecs.list_tasks(cluster="skylift", serviceName=f"skylift-{NAME}-scheduler")["taskArns"]
    file = crew.home / "cloud" / "containers" / f"{arn.rsplit('/', 1)[-1][:12]}-0" / "pid"
    pid = int(file.read_text().split()[2])
    assert psutil.pid_exists(pid)
    return pid


def _never_twice_at_once(marks: Path) -> None:
    """Between begin and end of a try, no other try of the same Airflow task begins."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for begin in sorted(marks.glob("*.begin")):
        end = begin.with_suffix(".end")
        until_when = float(end.read_text()) if end.exists() else float(begin.read_text())
        spans[begin.stem.rpartition(".")[0]].append((float(begin.read_text()), until_when))
    assert len(spans) == 500
    for name, tries in spans.items():
        ordered = sorted(tries)
        assert all(first[1] <= second[0] for first, second in pairwise(ordered)), name
        assert any(ended > began for began, ended in ordered), f"{name} never ended"
