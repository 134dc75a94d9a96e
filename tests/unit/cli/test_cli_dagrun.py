"""Choosing a DAG, following its run, and finding the ECS tasks that ran it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from skylift.cli.runs.airflow_api import TaskLine
from skylift.cli.runs.dag_run import RunResult, choose_dag, describe, ecs_task_ids, run_dag, table
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.unit
START = datetime(2026, 11, 20, 7, 0, tzinfo=UTC)


def line(task_id: str, state: str, map_index: int = -1, delay: float = 1.0) -> TaskLine:
    return TaskLine(task_id, map_index, state, START, START + timedelta(seconds=delay), 2.0, 1)


class Api:
    """An Airflow with the given DAGs and import errors; the run goes through the given states."""

    def __init__(self, dags: list[str], errors: list[tuple[str, str]] = (), states: list[Any] = ()) -> None:  # type: ignore[assignment]
        self._dags, self._errors, self._states = dags, list(errors), list(states)
        self.unpaused: list[str] = []

    def dags(self) -> dict[str, dict[str, Any]]:
        return {name: {} for name in self._dags}

    def import_errors(self) -> list[tuple[str, str]]:
        return self._errors

    def unpause(self, dag_id: str) -> None:
        self.unpaused.append(dag_id)

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> str:
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        state = self._states.pop(0)
        if isinstance(state, Exception):
            raise state
        return str(state)

    def task_lines(self, dag_id: str, run_id: str) -> list[TaskLine]:
        return [line("a", "success"), line("b", "running", 0), line("b", "queued", 1)]


class Ecs:
    """A cluster with stopped tasks."""

    def __init__(self, tasks: list[dict[str, Any]]) -> None:
        self.tasks = tasks

    def get_paginator(self, operation: str) -> Ecs:
        assert operation == "list_tasks"
        return self

    def paginate(self, cluster: str, desiredStatus: str) -> list[dict[str, Any]]:
        return [{"taskArns": [task["taskArn"] for task in self.tasks] if desiredStatus == "STOPPED" else []}]

    def describe_tasks(self, cluster: str, tasks: list[str], include: list[str]) -> dict[str, Any]:
        assert include == ["TAGS"]
        return {"tasks": [task for task in self.tasks if task["taskArn"] in tasks]}


def ecs_task(ident: str, *, created: datetime = START, **tags: str) -> dict[str, Any]:
    told = [{"key": key, "value": value} for key, value in tags.items()]
    return {"taskArn": f"arn:x/skylift/{ident}", "createdAt": created, "tags": told}


def test_the_only_dag_is_chosen_and_several_are_asked_about() -> None:
    assert choose_dag(Api(["one"]), None, print) == "one"  # type: ignore[arg-type]
    assert choose_dag(Api(["one", "two"]), "two", print) == "two"  # type: ignore[arg-type]
    with pytest.raises(Refused, match="Which DAG"):
        choose_dag(Api(["one", "two"]), None, print)  # type: ignore[arg-type]


def test_a_dag_that_does_not_import_is_shown_with_airflows_error() -> None:
    api = Api([], [("broken.py", "Traceback\nModuleNotFoundError: No module named 'nope'")])
    with pytest.raises(Refused, match=r"broken\.py(.|\n)*No module named 'nope'"):
        choose_dag(api, None, print)  # type: ignore[arg-type]


def test_a_dag_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(Refused, match=r"no DAG missing\. There are: one"):
        choose_dag(Api(["one"]), "missing", print, limit=0.0)  # type: ignore[arg-type]


def test_a_dag_whose_file_is_there_is_waited_for_and_another_is_not(tmp_path: Path) -> None:
    """On a busy machine a file may wait for minutes until it is parsed; that others were parsed before says nothing."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "late.py").write_text("from airflow.sdk import dag\ndef late(): ...")

    class Slow(Api):
        looks = 0

        def dags(self) -> dict[str, dict[str, Any]]:
            self.looks += 1
            return {"one": {}, **({"late": {}} if self.looks > 20 else {})}

    slow = Slow([], [("other.py", "it does not import")])
    assert choose_dag(slow, "late", print, folder=tmp_path) == "late"  # type: ignore[arg-type]
    broken = Api(["one"], [("late.py", "it does not import")])
    with pytest.raises(Refused, match=f"{tmp_path}/dags/late.py"):
        choose_dag(broken, "late", print, folder=tmp_path)  # type: ignore[arg-type]


def test_a_run_is_followed_to_its_end_over_a_restart_of_the_api_server() -> None:
    said: list[str] = []
    api = Api(["d"], states=["running", Unavailable("restarting"), "success"])
    result = run_dag(api, Ecs([]), "skylift", "d", {}, said.append)  # type: ignore[arg-type]
    assert (result.state, api.unpaused) == ("success", ["d"])
    assert said == ["d: 1 of 3 Airflow tasks done, 1 running, 1 queued"]


def test_ecs_tasks_are_found_by_tags_and_the_latest_try_wins() -> None:
    run = "manual__2026-11-20T07:00:00+00:00"
    ecs = Ecs(
        [
            ecs_task("old", dag_id="d", run_id=run, task_id="a", map_index="-1", try_number="1"),
            ecs_task("new", dag_id="d", run_id=run, task_id="a", map_index="-1", try_number="2"),
            ecs_task("mapped", dag_id="d", run_id=run, task_id="b", map_index="3", try_number="1"),
            ecs_task("other", dag_id="other", run_id=run, task_id="a", map_index="-1", try_number="3"),
            ecs_task("service"),
        ]
    )
    assert ecs_task_ids(ecs, "skylift", "d", run, [line("a", "running")]) == {("a", -1): "new", ("b", 3): "mapped"}
    assert ecs_task_ids(ecs, "skylift", "d", run, []) == {}


def test_ecs_tasks_from_before_a_run_are_not_read() -> None:
    class Pages(Ecs):
        described = 0

        def paginate(self, cluster: str, desiredStatus: str) -> list[dict[str, Any]]:
            if desiredStatus == "RUNNING":
                return [{"taskArns": []}]
            arns = [task["taskArn"] for task in self.tasks]
            return [{"taskArns": arns[at : at + 100]} for at in range(0, len(arns), 100)]

        def describe_tasks(self, cluster: str, tasks: list[str], include: list[str]) -> dict[str, Any]:
            self.described += len(tasks)
            return super().describe_tasks(cluster, tasks, include)

    def made(ident: str, created: datetime) -> dict[str, Any]:
        return ecs_task(ident, created=created, dag_id="d", run_id="r", task_id="a")

    now = datetime.now(UTC)
    ended = TaskLine("a", -1, "success", now, now, 2.0, 1)
    older = [made(str(number), now - timedelta(minutes=2 + number)) for number in range(5000)]
    ecs = Pages([made("mine", now), *older])
    assert ecs_task_ids(ecs, "skylift", "d", "r", [ended]) == {("a", -1): "mine"}
    assert ecs.described == 100
    yesterday = TaskLine("a", -1, "success", now - timedelta(days=1), now - timedelta(days=1), 2.0, 1)
    assert ecs_task_ids(ecs, "skylift", "d", "r", [yesterday]) == {}
    assert ecs.described == 100, "ECS has forgotten it"
    runs_on = TaskLine("a", -1, "running", now - timedelta(days=1), now - timedelta(days=1), None, 1)
    assert ecs_task_ids(ecs, "skylift", "d", "r", [ended, runs_on]) != {}


def test_the_table_has_one_line_for_each_task_instance() -> None:
    lines = (line("b", "success", 1, delay=3), line("a", "success", delay=1), line("c", "failed", delay=4))
    result = RunResult("d", "r", "failed", 12.0, lines, {("a", -1): "0123abcd", ("b", 1): "4567ef"})
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(result))
    rows = [row for row in console.export_text().splitlines() if " s " in row or "failed" in row]
    assert "d: failed in 12 s" in rows[0]
    body = [row.replace("│", " ").split() for row in rows[1:]]
    assert body[0][:3] == ["a", "success", "0123abcd"]
    assert body[1][:4] == ["b", "[1]", "success", "4567ef"]
    assert body[2][:3] == ["c", "failed", "-"]


def test_words_for_how_far_a_run_is() -> None:
    assert describe([line("a", "skipped"), line("b", "none")]) == "1 of 2 Airflow tasks done"
