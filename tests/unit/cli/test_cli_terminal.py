"""What a person sees: complete table cells, plain lines where there is no terminal."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from skylift.cli.runs.airflow_api import TaskLine
from skylift.cli.runs.dag_run import RunResult, table
from skylift.cli.terminal import Stages, print_table
from skylift.core.clock import ManualClock

pytestmark = pytest.mark.unit


def test_a_narrow_terminal_cuts_no_id() -> None:
    line = TaskLine("a_task_with_a_rather_long_name", 12, "success", datetime.now(UTC), datetime.now(UTC), 1.0, 1)
    ecs_id = "0123456789abcdef0123456789abcdef"
    result = RunResult("d", "r", "success", 3.0, (line,), {(line.task_id, 12): ecs_id})
    console = Console(file=io.StringIO(), width=40)
    print_table(console, table(result))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{line.task_id} [12]" in text
    assert ecs_id in text


def test_without_a_terminal_each_stage_is_one_plain_line() -> None:
    clock = ManualClock(0)
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with Stages(console, clock) as stages:
        clock.advance(1)
        stages.now("building [x]")
        stages.now("building [x]")
        clock.advance(1.5)
        stages.done("built [x]")
    assert console.file.getvalue() == "[1.0 s] building [x]\n✓ built [x] (2.5 s)\n"  # type: ignore[attr-defined]


def test_without_a_terminal_details_of_one_subject_come_not_too_often() -> None:
    clock = ManualClock(0)
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with Stages(console, clock) as stages:
        for number in range(80):
            stages.now(f"image: file {number}")
            clock.advance(0.125)
        stages.now("starting")
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.partition("] ")[2] for line in lines] == [
        "image: file 0",
        "image: file 24",
        "image: file 48",
        "image: file 72",
        "starting",
    ]


def test_what_costs_money_is_not_done_where_nobody_can_be_asked() -> None:
    program = """
from skylift.cli.terminal import agree
agree("Delete it?", False, "Nothing was deleted.")
agree("Make it?", True, "Nothing was made.", costs=True)
agree("Make it?", False, "Nothing was made.", costs=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip().splitlines()[-1] == (
        "skylift.core.errors.Refused: Nothing was made. It costs money, and here is no terminal to ask at: "
        "repeat the command with --yes."
    )
