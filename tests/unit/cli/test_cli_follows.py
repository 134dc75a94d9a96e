"""A command that follows a run survives a failed call, and after Ctrl-C it says what continues."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from skylift.cli import environments
from skylift.cli.interrupting import MOST_NAMED, lines
from skylift.cli.projects.project import Project, up_command, up_line
from skylift.cli.runs.airflow_api import TaskLine
from skylift.cli.runs.dag_run import RunResult, choose_dag, run_dag
from skylift.cli.runs.failures import print_failures
from skylift.cli.runs.patience import patiently
from skylift.cli.terminal import ForPeople, Left, Stages, goes_on
from skylift.core.clock import ManualClock
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.unit


class Shaky:
    """An Airflow, and an ECS, of whose calls every third gets no answer, the first among them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.runs: list[str] = []
        self._states = ["running", "running", "failed"]

    def _try(self, name: str) -> None:
        self.calls.append(name)
        if self.calls.count(name) % 3 == 1:
            raise Unavailable(f"{name}: timed out")

    def dags(self) -> dict[str, Any]:
        self._try("dags")
        return {"d": {}}

    def import_errors(self) -> list[tuple[str, str]]:
        self._try("import_errors")
        return []

    def unpause(self, dag_id: str) -> None:
        self._try("unpause")

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> str:
        if run_id not in self.runs:  # the request arrives; its answer may not
            self.runs.append(run_id)
        self._try("trigger")
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        self._try("run_state")
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    def task_lines(self, dag_id: str, run_id: str) -> list[TaskLine]:
        self._try("task_lines")
        return []

    def get_paginator(self, operation: str) -> Shaky:
        self._try(operation)
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"taskArns": []}]


def asked(look: Callable[[], Any], say: Callable[[str], None], what: str) -> Any:
    """``patiently``, without its pauses."""
    for _ in range(50):
        try:
            return look()
        except Unavailable:
            continue
    raise AssertionError("it never answered")


def test_a_call_without_an_answer_ends_neither_the_choice_nor_the_start_nor_the_following() -> None:
    shaky = Shaky()
    assert choose_dag(shaky, None, print, ask=asked) == "d"  # type: ignore[arg-type]
    result = run_dag(shaky, shaky, "skylift", "d", {}, print, asked, "r1")  # type: ignore[arg-type]
    assert (result.state, result.run_id) == ("failed", "r1")
    assert shaky.runs == ["r1"], "one run, however often it was asked for"


def test_patience_ends_with_the_last_error_and_says_what_it_waits_for() -> None:
    def silent() -> None:
        raise Unavailable("Airflow's API at x does not answer: timed out\nmore")

    with pytest.raises(Unavailable, match="timed out"):
        patiently(silent, print, "Airflow", limit=0)
    said: list[str] = []
    clock = ManualClock(0)

    def silent_for_a_while() -> str:
        if clock() < 60:
            raise Unavailable("timed out\nmore")
        return "here"

    found = patiently(silent_for_a_while, said.append, "Airflow", limit=120, clock=clock, sleep=clock.advance)
    assert found == "here"
    assert said[0].startswith("Airflow has not answered for 8 s")
    assert len(said) == 3, "8 s, 18 s, 38 s: a log is not filled"
    assert all(one.endswith(": timed out") for one in said)

    def refused() -> None:
        raise Refused("no")

    with pytest.raises(Refused):
        patiently(refused, print, "Airflow")


def test_progress_that_is_not_told_for_a_moment_is_not_replaced_by_less() -> None:
    shows = iter(["CREATING", "CREATING", "CREATING", "AVAILABLE"])

    class Mwaa:
        def get_environment(self, Name: str) -> dict[str, Any]:
            return {"Environment": {"Name": Name, "Status": next(shows)}}

    told = iter(["building layer", "", "building layer"])
    said: list[str] = []
    environments.wait_available(Mwaa(), "e", said.append, lambda _: next(told), lambda _: True)
    assert said == ["environment e: building layer"] * 3


def test_ctrl_c_says_what_goes_on_and_the_innermost_knows_best() -> None:
    with (
        pytest.raises(Left, match=r"^the run goes on$"),
        goes_on("the environment goes on"),
        goes_on("the run goes on"),
    ):
        raise KeyboardInterrupt
    with pytest.raises(Refused), goes_on("never said"):
        raise Refused("no")


def test_what_failed_has_another_mark_than_what_is_done() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with Stages(console, ManualClock(0)) as stages:
        stages.done("up")
        stages.failed("run [r]: failed")
        stages.note("take [care]")
    assert console.file.getvalue() == "✓ up (0.0 s)\n✗ run [r]: failed (0.0 s)\n! take [care]\n"  # type: ignore[attr-defined]


def test_a_long_line_is_not_broken_so_that_a_command_can_be_copied() -> None:
    console = ForPeople(file=io.StringIO(), width=40, soft_wrap=True)
    console.print("see: /very/long/path/to/skylift env delete quickstart && /very/long/path/to/skylift up examples")
    assert console.file.getvalue().count("\n") == 1  # type: ignore[attr-defined]


class Logs:
    """CloudWatch Logs with one stream."""

    def __init__(self, stream: str, *messages: str) -> None:
        self._stream, self._messages = stream, messages

    def get_paginator(self, operation: str) -> Logs:
        assert operation == "describe_log_streams"
        return self

    def paginate(self, logGroupName: str, logStreamNamePrefix: str) -> list[dict[str, Any]]:
        assert logGroupName == "airflow-demo-Task"
        found = [{"logStreamName": self._stream}] if self._stream.startswith(logStreamNamePrefix) else []
        return [{"logStreams": found}]

    def get_log_events(self, **how: Any) -> dict[str, Any]:
        events = [{"timestamp": 1, "message": one} for one in self._messages]
        return {"events": [] if "nextToken" in how else events, "nextForwardToken": "end"}


def failed(task_id: str, map_index: int = -1, number: int = 1) -> TaskLine:
    return TaskLine(task_id, map_index, "failed", None, None, 1.0, number)


def test_a_failed_run_has_the_exceptions_line_and_the_command_for_its_log() -> None:
    event = (
        '{"event": "Task failed", "level": "error", "error_detail": [{"exc_type": "KeyError", "exc_value": "\'[k]\'"}]}'
    )
    logs = Logs("dag_id=d/run_id=r/task_id=a/map_index=1/attempt=2.log", event)
    result = RunResult("d", "r", "failed", 1.0, (failed("a", 1, 2),), {})
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_failures(console, logs, result, "demo", only=False)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "✗ a [1] (try 2): KeyError: '[k]'\n" in shown
    assert "skylift logs --env demo --dag d --run r --task a --try 2 --map-index 1\n" in shown


def test_a_run_that_did_not_fail_explains_nothing() -> None:
    console = Console(file=io.StringIO())
    print_failures(console, Logs(""), RunResult("d", "r", "success", 1.0, (), {}), "demo", only=True)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def ecs_task(family: str, **tags: str) -> dict[str, Any]:
    return {
        "taskDefinitionArn": f"arn:aws:ecs:us-east-1:0:task-definition/{family}:3",
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }


def test_what_a_stop_cuts_off_is_named_by_run_and_by_family() -> None:
    airflow = [
        ecs_task("skylift-e-task", dag_id="d", run_id="r", task_id="a", map_index="-1"),
        ecs_task("skylift-e-task", dag_id="d", run_id="r", task_id="b", map_index="2"),
        ecs_task("skylift-e-task", dag_id="d", run_id="q", task_id="a"),
    ]
    assert lines([*airflow, ecs_task("web"), ecs_task("web")]) == [
        "run q of d: 1 Airflow task (a)",
        "run r of d: 2 Airflow tasks (a, b [2])",
        "2 ECS tasks of web",
    ]
    many = [ecs_task("x", dag_id="d", run_id=f"r{number:03}", task_id="a") for number in range(100)]
    assert len(lines(many)) == MOST_NAMED + 1
    assert lines(many)[-1] == f"… and {100 - MOST_NAMED} more"


def test_the_command_that_comes_back_to_a_project_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my project"
    assert up_command(Project(folder, "my-project")) == f"skylift up '{folder}'"
    assert up_command(Project(folder, "other"), run_it=True, dag_id="d") == (
        f"skylift up '{folder}' --name other --run --dag d"
    )
    (folder / "dags").mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert up_line() == "skylift up ."
    monkeypatch.chdir(Path(__file__).parents[3])
    assert up_line().startswith("skylift up examples/quickstart ")
