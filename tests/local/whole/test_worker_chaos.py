"""Airflow tasks on Celery, ECS and Batch while workers come and go, some are killed, and an update replaces them: a
sample, and 500 of them."""

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

from skylift.cli.runs.airflow_api import TaskLine

pytestmark = [pytest.mark.local, pytest.mark.timeout(5400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chaos") / NAME


@pytest.fixture(scope="module")
def crew(stack: Stack, folder: Path) -> Iterator[Stack]:
    with crew_of(stack, folder) as made:
        yield made


@pytest.mark.long
def test_side_by_side_from_no_worker_at_all(crew: Stack, tmp_path: Path) -> None:
    assert workers(crew) == {}
    shown = crew.client("mwaa").get_environment(Name=NAME)["Environment"]
    assert shown["CeleryExecutorQueue"] == "arn:aws:sqs:us-east-1:000000000000:skylift-crew-celery"
    lines = ended(fly(crew, "side_by_side", tmp_path / "side"))
    assert {one.task_id: one.state for one in lines} == dict.fromkeys(
        ("on_celery", "on_celery_by_its_queue", "on_ecs", "on_batch"), "success"
    )
    assert len(workers(crew)) == 1
    words = ("logs", "--env", NAME, "--dag", "side_by_side", "--task", "on_celery")
    until(lambda: "works on celery" in crew.run(*words).stdout, 120, "its log cannot be read")


@pytest.mark.long
def test_a_sample(crew: Stack, tmp_path: Path) -> None:
    marks = tmp_path / "sample"
    look = fly(crew, "chaos", marks, celery=24, others=6)
    until(lambda: len(list(marks.glob("celery.*.begin"))) >= 2, 600, "nothing runs on Celery")
    for kill in (_kill_a_worker, _kill_the_scheduler):
        time.sleep(random.uniform(0, 5))
        kill(crew)
    _all_succeeded(crew, ended(look, 1500), marks, killed=1)


@pytest.mark.soak
def test_all_succeed_none_runs_twice_at_once_and_each_retry_has_its_cause(
    crew: Stack, folder: Path, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    look = fly(crew, "chaos", marks, celery=300, others=100)
    until(lambda: len(list(marks.glob("celery.*.begin"))) >= 5, 600, "nothing runs on Celery")

    def update(_: Stack) -> None:
        # The folder is followed: what is saved in it becomes an update.
        (folder / "requirements.txt").write_text("cowsay==6.1\n")

    for step in (_kill_a_worker, _kill_the_scheduler, update, _kill_a_worker):
        time.sleep(random.uniform(5, 20))
        step(crew)
    until(lambda: _updated(crew), 1800, "the update of requirements did not succeed")
    _all_succeeded(crew, ended(look, 3000), marks, killed=2)
    until(lambda: not workers(crew), 400, "workers without work")


def _kill_a_worker(crew: Stack) -> None:
    crowd = until(lambda: list(workers(crew).values()), 300, "no worker")
    os.kill(random.choice(crowd), signal.SIGKILL)


def _kill_the_scheduler(crew: Stack) -> None:
    os.kill(_scheduler(crew), signal.SIGKILL)


def _all_succeeded(crew: Stack, lines: list[TaskLine], marks: Path, killed: int) -> None:
    """All succeeded, none ran twice at once, and each second try has its cause: one of the killed workers."""
    assert {one.state for one in lines} == {"success"}
    again = {(one.task_id, one.map_index) for one in lines if one.try_number > 1}
    assert len(again) <= killed * 4, "a worker has four slots, and nothing else may cost a try"
    for task, index in again:
        words = ("--dag", "chaos", "--task", task, "--map-index", str(index), "--try", "1")
        said = crew.must("logs", "--env", NAME, *words)
        assert "ended. It was killed (SIGKILL)" in said
    mapped = {f"{one.task_id}.{one.map_index}" for one in lines if one.map_index >= 0}
    assert _never_twice_at_once(marks) == mapped


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


def _never_twice_at_once(marks: Path) -> set[str]:
    """Between begin and end of a try, no other try of the same Airflow task begins. Returns those that ran."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for begin in sorted(marks.glob("*.begin")):
        end = begin.with_suffix(".end")
        until_when = float(end.read_text()) if end.exists() else float(begin.read_text())
        spans[begin.stem.rpartition(".")[0]].append((float(begin.read_text()), until_when))
    for name, tries in spans.items():
        ordered = sorted(tries)
        assert all(first[1] <= second[0] for first, second in pairwise(ordered)), name
        assert any(ended > began for began, ended in ordered), f"{name} never ended"
    return set(spans)
