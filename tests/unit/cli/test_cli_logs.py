"""Airflow's JSON logs as text, the reason of a failure, and which tries the options select."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from skylift.cli.logs.airflow_tasks import Try, Which, chosen, command, parsed
from skylift.cli.logs.lines import of_project, readable, reason, traceback_lines
from skylift.cli.logs.view import follow_file
from skylift.cli.main import run
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit

MIRROR = "/h/cloud/containers/57b09d04e290-0/home/airflow/dag_bundles/dags/dags"
CONTEXT = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1, "ti_id": "x"}


def said(event: str, level: str = "info", **more: object) -> str:
    return json.dumps({**CONTEXT, "event": event, "level": level, "logger": "task", "lineno": 1, **more})


def frame(file: str, line: int, name: str) -> dict[str, object]:
    return {"filename": file, "lineno": line, "name": name}


def raised(kind: str, value: str, *frames: dict[str, object], **more: object) -> dict[str, object]:
    return {"exc_type": kind, "exc_value": value, "exc_notes": [], "is_cause": False, "frames": [*frames], **more}


def test_a_line_is_its_level_its_text_and_what_else_it_tells() -> None:
    assert readable(said("Done", rows=3, where="here")) == "INFO Done rows=3 where=here"
    assert readable(said("::group::Pre Execute")) == "--- Pre Execute"
    assert readable(said("::endgroup::")) is None
    assert readable('{"not": "airflow"}\n') == '{"not": "airflow"}'
    assert readable("{ half a line") == "{ half a line"
    assert readable("2026-11-30T09:57:17.582736Z [info     ] Adopting") == "[info     ] Adopting"
    assert len(readable(said("x", big="y" * 5000)) or "") < 300


def test_a_traceback_is_text_as_python_prints_it(tmp_path: Path) -> None:
    """Held against Python's own: the same error, raised here and told as Airflow tells it."""
    source = tmp_path / "dags" / "d.py"
    source.parent.mkdir()
    source.write_text(
        "def f():\n    try:\n        int('x')\n    except ValueError as e:\n        raise KeyError('k') from e\n"
    )
    detail = [
        raised("KeyError", "'k'", frame(f"{MIRROR}/d.py", 5, "f")),
        raised(
            "ValueError", "invalid literal for int() with base 10: 'x'", frame(f"{MIRROR}/d.py", 3, "f"), is_cause=True
        ),
    ]
    shown = readable(said("Task failed with exception", "error", error_detail=detail), of_project(tmp_path))
    expected = f"""ERROR Task failed with exception
Traceback (most recent call last):
  File "{source}", line 3, in f
    int('x')
ValueError: invalid literal for int() with base 10: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "{source}", line 5, in f
    raise KeyError('k') from e
KeyError: 'k'"""
    assert shown == expected


def test_what_is_rare_in_a_traceback_is_shown_too() -> None:
    group = raised(
        "ExceptionGroup", "two (2 sub-exceptions)", exceptions=[[raised("OSError", "a")], [raised("TypeError", "b")]]
    )
    assert traceback_lines([group])[0] == "ExceptionGroup: two (2 sub-exceptions)"
    assert [line.strip() for line in traceback_lines([group])[1:]] == ["| OSError: a", "| TypeError: b"]
    syntax = raised(
        "SyntaxError", "invalid syntax", syntax_error={"filename": "d.py", "lineno": 3, "line": "a b\n", "offset": 2}
    )
    assert traceback_lines([syntax]) == ['  File "d.py", line 3', "    a b", "SyntaxError: invalid syntax"]
    context = traceback_lines([raised("KeyError", "1"), raised("OSError", "first")])
    assert "During handling of the above exception, another exception occurred:" in context
    assert traceback_lines([raised("E", "", exc_notes=["a note"])]) == ["E", "a note"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([said("fine"), said("Task failed", "error", error_detail=[raised("E", "first\nsecond")])], "E: first"),
        ([said("Task failed", "error", error_detail=[raised("E", "last"), raised("C", "cause")])], "E: last"),
        ([said("killed", "critical"), said("fine")], "killed"),
        (
            [said("an earlier one", "error"), said("the container ran out of memory", "error")],
            "the container ran out of memory",
        ),
        ([said("boom", "error", error_detail=[raised("E", "x")]), said("not sent", "error")], "E: x"),
        ([said("fine"), "plain text"], ""),
        ([], ""),
    ],
)
def test_the_reason_is_the_exception_else_the_last_error(lines: list[str], expected: str) -> None:
    assert reason(lines) == expected


def test_files_are_named_where_the_user_has_them() -> None:
    text = f"No module named 'x' in {MIRROR}/sub/d.py, line 2 ({MIRROR}/e.py)"
    mine = of_project(Path("/home/me/my project"))
    assert (
        mine(text) == "No module named 'x' in /home/me/my project/dags/sub/d.py, line 2 (/home/me/my project/dags/e.py)"
    )
    assert of_project(None)(text) == "No module named 'x' in dags/sub/d.py, line 2 (dags/e.py)"
    assert mine("/opt/airflow/dags/d.py") == "/opt/airflow/dags/d.py"


STREAMS = [
    ("dag_id=d/run_id=r1/task_id=a/attempt=1.log", 1),
    ("dag_id=d/run_id=r2/task_id=a/attempt=1.log", 2),
    ("dag_id=d/run_id=r2/task_id=a/attempt=2.log", 3),
    ("dag_id=d/run_id=r2/task_id=group.b/map_index=0/attempt=1.log", 4),
    ("dag_id=d/run_id=r2/task_id=group.b/map_index=11/attempt=1.log", 5),
]


def found(which: Which) -> list[tuple[str, str, int, int]]:
    there = [one for name, begun in STREAMS if (one := parsed(name, begun))]
    return [(one.run_id, one.task_id, one.map_index, one.number) for one in chosen(there, which)]


def test_what_is_not_said_is_the_newest_run_every_task_and_the_last_try() -> None:
    assert found(Which("d")) == [("r2", "a", -1, 2), ("r2", "group.b", 0, 1), ("r2", "group.b", 11, 1)]
    assert found(Which("d", "r1")) == [("r1", "a", -1, 1)]
    assert found(Which("d", "r2", "a", 1)) == [("r2", "a", -1, 1)]
    assert found(Which("d", task="group.b", map_index=11)) == [("r2", "group.b", 11, 1)]


@pytest.mark.parametrize(
    ("which", "told"),
    [
        (Which("d", "r2", "c"), r"no log of task c in run r2 of d\. There are: a, group\.b"),
        (Which("d", "r2", "a", 7), r"no log of try 7 .*There are: 1, 2"),
        (Which("d", "r2", "group.b", None, 3), r"no log of map index 3 .*There are: 0, 11"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(which: Which, told: str) -> None:
    with pytest.raises(Refused, match=told):
        found(which)


def test_a_run_id_with_colons_is_found_under_its_stream() -> None:
    run_id = "scheduled__2026-11-20T07:00:00+00:00"
    stream = f"dag_id=d/run_id={run_id.replace(':', '_')}/task_id=a/attempt=1.log"
    one = parsed(stream)
    assert one == Try(stream, "d", run_id.replace(":", "_"), "a", -1, 1)
    assert chosen([one], Which("d", run_id)) == [one]
    assert parsed("scheduler/airflow/4c56fb9cd5f3f0246b71e47674a14ad0") is None


def test_the_command_for_a_log_can_be_typed() -> None:
    shown = command("d", "manual__2026-11-20T07:00:00+00:00", "a b", 2, 3, "demo")
    assert shown == (
        "skylift logs --env demo --dag d --run manual__2026-11-20T07:00:00+00:00 --task 'a b' --try 2 --map-index 3"
    )
    assert "--map-index" not in command("d", "r", "a", 1, -1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("logs --task a", "give DAG.TASK or --dag too"),
        ("logs --map-index 0", "give DAG.TASK or --dag too"),
        ("logs scheduler --dag d", "omit scheduler"),
        ("logs --env x", "--env needs a component"),
        ("logs --dag d --try 0", "--try"),
        ("env logs --run r", "give DAG.TASK or --dag too"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    words: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(words.split()) == 2
    assert told in capfd.readouterr().err


class Enough(Exception):
    """The test has seen what it waited for."""


def test_a_followed_file_shows_whole_lines_and_goes_on_after_it_was_cut(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("one\ntwo\n")
    shown: list[str] = []

    def write(line: str) -> None:
        shown.append(line)
        if line == "last":
            raise Enough

    def go_on() -> None:
        seen(2)
        with log.open("a") as file:
            file.write("half")
            file.flush()
            time.sleep(0.3)  # the reader looks meanwhile, and must not show it yet
            file.write(" and half\n")
        seen(3)
        log.write_text("last\n")

    def seen(number: int) -> None:
        deadline = time.monotonic() + 60
        while len(shown) < number and time.monotonic() < deadline:
            time.sleep(0.01)

    writer = threading.Thread(target=go_on)
    writer.start()
    with pytest.raises(Enough):
        follow_file(log, 2, True, write)
    writer.join()
    assert shown == ["one", "two", "half and half", "last"]
