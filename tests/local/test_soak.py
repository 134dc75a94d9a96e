"""Two thousand mapped Airflow tasks through a real scheduler on the local cloud, whose container is killed three times
on the way.

Its own tier (``make test-soak``): several minutes of both cores. Every task instance ends in success on its first try,
and no
user code runs twice: each leaves marks under a lock.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.whole.test_survival import containers, until
from tests.stack import Stack

from skylift.core.errors import SkyliftError

pytestmark = [pytest.mark.local, pytest.mark.soak, pytest.mark.timeout(2400)]

NAME = "soak"
HALF = 1000
"""Airflow's ``[core] max_map_length`` is 1,024: two mapped Airflow tasks make two thousand."""
KILLS = 3
DAG = f'''
"""Two times {HALF} short mapped Airflow tasks."""
import fcntl
from airflow.sdk import dag, get_current_context, task

def mark(name, number):
    folder = get_current_context()["params"]["marks"]
    with open(f"{{folder}}/{{name}}.{{number}}", "a") as marks:
        fcntl.flock(marks, fcntl.LOCK_EX | fcntl.LOCK_NB)
        marks.write("begin\\n"); marks.flush()
        marks.write("end\\n")

@dag(schedule=None, is_paused_upon_creation=False, params={{"marks": "/nowhere"}}, default_args={{"retries": 0}},
     max_active_tasks=64)
def thousands():
    @task
    def left(number):
        mark("left", number)
    @task
    def right(number):
        mark("right", number)
    left.expand(number=list(range({HALF})))
    right.expand(number=list(range({HALF})))

thousands()
'''


@pytest.fixture(scope="module")
def soak(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with an environment for it."""
    project = tmp_path_factory.mktemp("project") / NAME
    (project / "dags").mkdir(parents=True)
    (project / "dags" / "thousands.py").write_text(DAG)
    stack.must("env", "create", NAME, str(project), seconds=400)
    stack.must("up", str(project), seconds=400)
    yield stack
    stack.must("env", "delete", NAME)


def test_two_thousand_with_three_kills_of_the_scheduler(soak: Stack, tmp_path: Path) -> None:
    api = soak.airflow(NAME)
    until(lambda: "thousands" in api.dags(), 120)
    began = time.monotonic()
    api.trigger("thousands", "soak", {"marks": str(tmp_path)})
    for number in range(KILLS):
        # A quarter, a half, three quarters of the way.
        wanted = 2 * HALF * (number + 1) // (KILLS + 1)
        until(lambda: len(list(tmp_path.iterdir())) >= wanted, 900, lambda: told(tmp_path, soak))  # noqa: B023
        (pid,) = [pid for name, pid in containers(soak).items() if name == f"skylift-{NAME}-scheduler"]
        os.kill(pid, signal.SIGKILL)
        print(f"killed the scheduler after {time.monotonic() - began:.0f} s")
    until(lambda: state(soak) in {"success", "failed"}, 1500, lambda: told(tmp_path, soak))
    print(f"2,000 mapped Airflow tasks, {KILLS} kills of the scheduler: {time.monotonic() - began:.0f} s")
    lines = soak.airflow(NAME).task_lines("thousands", "soak")
    assert Counter((line.state, line.try_number) for line in lines) == {("success", 1): 2 * HALF}
    written = Counter(tuple(file.read_text().split()) for file in tmp_path.iterdir())
    assert written == {("begin", "end"): 2 * HALF}


def state(stack: Stack) -> str:
    try:
        return stack.airflow(NAME).run_state("thousands", "soak")
    except SkyliftError as error:
        return f"no answer: {error}"


def told(marks: Path, stack: Stack) -> str:
    return f"{len(list(marks.iterdir()))} began; {stack.log()}"
