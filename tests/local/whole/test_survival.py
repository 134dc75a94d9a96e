"""``kill -9`` of the server, of PostgreSQL, of the scheduler and of the API server in the middle of a DAG run of the
quickstart.

The run ends in success without a retry, and no Airflow task's user code runs twice: each holds a lock and leaves marks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.stack import QUICKSTART, Stack

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.localcloud.postgres import postmaster

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(600)]

NAME = "survivor"
YEARS = 4
MARKED = '''
"""The quickstart's shape, with user code that takes a while, holds a lock and leaves marks."""
import fcntl, time
from airflow.sdk import dag, get_current_context, task
from quickstart import read_table
from weather import headline, summary_of, years_in

def alone(name, seconds, work):
    context = get_current_context()
    path = f"{context['params']['marks']}/{context['run_id']}.{name}"
    with open(path, "a") as marks:
        fcntl.flock(marks, fcntl.LOCK_EX | fcntl.LOCK_NB)
        marks.write("begin\\n"); marks.flush()
        time.sleep(seconds)
        result = work()
        marks.write("end\\n")
    return result

@dag(schedule=None, is_paused_upon_creation=False, params={"marks": "/nowhere"}, default_args={"retries": 0})
def marked():
    @task
    def find_years():
        return alone("find", 0.5, lambda: years_in(read_table()))
    @task
    def summarise(year):
        return alone(str(year), 5, lambda: summary_of(read_table(), year))
    @task
    def draw(summaries):
        return alone("draw", 0.5, lambda: headline([dict(one) for one in summaries]))
    draw(summarise.expand(year=find_years()))

marked()
'''


@pytest.fixture(scope="module")
def survivor(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the quickstart's environment and one more DAG."""
    project = tmp_path_factory.mktemp("project") / NAME
    shutil.copytree(QUICKSTART, project)
    (project / "dags" / "marked.py").write_text(MARKED)
    stack.must("up", str(project), seconds=400)
    yield stack
    stack.must("up")
    stack.must("env", "delete", NAME)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    tmp_path.chmod(0o777)
    return tmp_path


def test_the_server(survivor: Stack, marks: Path) -> None:
    """``skylift up`` finds the containers again: no component of Airflow is started anew."""
    before = containers(survivor)

    def kill() -> None:
        os.kill(server_pid(survivor), signal.SIGKILL)
        survivor.must("up")

    survives(survivor, marks, "server", kill)
    after = containers(survivor)
    assert {name: after[name] for name in before} == before


def test_postgresql(survivor: Stack, marks: Path) -> None:
    data = survivor.home / "postgres" / "data"

    def kill() -> None:
        found = postmaster.find(data)
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        until(lambda: (now := postmaster.find(data)) and now.pid != found.pid and now.ready, 20)

    survives(survivor, marks, "postgresql", kill)


@pytest.mark.parametrize("role", ["scheduler", "api-server"])
def test_a_component(survivor: Stack, marks: Path, role: str) -> None:
    def kill() -> None:
        (pid,) = [pid for name, pid in containers(survivor).items() if name == f"skylift-{NAME}-{role}"]
        os.kill(pid, signal.SIGKILL)

    survives(survivor, marks, role, kill)


def test_status_says_when_the_ui_does_not_answer(survivor: Stack) -> None:
    """Another API server is on its way, or this one wakes up: so programs are told AVAILABLE, and people the truth."""
    (pid,) = [pid for name, pid in containers(survivor).items() if name == f"skylift-{NAME}-api-server"]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: "AVAILABLE (UI not answering" in survivor.must("env", "list"), 120, survivor.log)
        assert survivor.client("mwaa").get_environment(Name=NAME)["Environment"]["Status"] == "AVAILABLE"
        assert "(UI not answering" in survivor.must("status")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: f"{NAME}  AVAILABLE  http" in survivor.must("env", "list"), 240, survivor.log)


def test_up_after_down_returns_when_airflow_serves(survivor: Stack) -> None:
    survivor.must("down")
    said = survivor.run("up", seconds=500)
    assert said.returncode == 0, said.stderr
    assert f"environment {NAME} is AVAILABLE" in said.stderr
    assert survivor.airflow(NAME).unhealthy() == []
    assert f"{NAME}  AVAILABLE  http" in survivor.must("env", "list")


def survives(stack: Stack, marks: Path, name: str, kill: Callable[[], None]) -> None:
    """Runs the DAG, kills when user code is at work, and looks at what became of it."""
    api = stack.airflow(NAME)
    until(lambda: "marked" in api.dags(), 120)
    run_id = f"{name}-{time.time():.0f}"
    api.trigger("marked", run_id, {"marks": str(marks)})
    until(lambda: len(at_work(marks)) >= 2, 180, stack.log)
    kill()
    began = time.monotonic()
    until(lambda: state(stack, run_id) in {"success", "failed"}, 240, lambda: f"{at_work(marks)}\n{stack.log()}")
    print(f"{name}: over {time.monotonic() - began:.1f} s after the kill")
    lines = {line.task_id: line.state for line in stack.airflow(NAME).task_lines("marked", run_id)}
    assert state(stack, run_id) == "success", lines
    written = {file.name.rpartition(".")[2]: file.read_text().split() for file in marks.iterdir()}
    assert len(written) == YEARS + 2
    assert set(map(tuple, written.values())) == {("begin", "end")}, written


def at_work(marks: Path) -> list[str]:
    """User code of the mapped Airflow tasks that has begun."""
    return [file.name for file in marks.iterdir() if file.name.rpartition(".")[2].isdigit()]


def state(stack: Stack, run_id: str) -> str:
    try:
        return AirflowApi.run_state(stack.airflow(NAME), "marked", run_id)
    except Exception as error:  # noqa: BLE001 - Airflow's API itself is what we killed: its absence is no answer
        return f"no answer: {error}"


def server_pid(stack: Stack) -> int:
    return int(json.loads((stack.home / "server.json").read_text())["pid"])


def containers(stack: Stack) -> dict[str, int]:
    """First processes of the environment's services: ECS service to pid."""
    ecs = stack.client("ecs")
    arns = ecs.list_tasks(cluster="skylift")["taskArns"]
    found = {}
    for task in ecs.describe_tasks(cluster="skylift", tasks=arns)["tasks"] if arns else []:
        if task["group"].startswith("service:"):
            folder = stack.home / "cloud" / "containers" / f"{task['taskArn'].rsplit('/', 1)[-1][:12]}-0"
            pid = int((folder / "pid").read_text().split()[2])
            if psutil.pid_exists(pid):
                found[task["group"].removeprefix("service:")] = pid
    return found


def until(condition: Callable[[], object], seconds: float, tell: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s; {tell()}"
        time.sleep(0.2)
