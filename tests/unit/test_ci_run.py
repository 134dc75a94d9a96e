"""``.ci/run``: all tiers run whatever fails; a test that is green only at its second try is called flaky, and fails
the run where that is asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
MAKE = """#!/bin/sh
echo "$1 ${PYTEST_ADDOPTS:-first}" >> "$CALLS"
case " $RED " in *" $1 "*) echo "$1 is red"; exit 2 ;; esac
case " $FLAKY " in *" $1 "*) [ -n "${PYTEST_ADDOPTS:-}" ] || { echo "$1 is red this time"; exit 2; } ;; esac
echo "5 passed"
"""
NOT_INHERITED = {"PYTEST_ADDOPTS", "SKYLIFT_FLAKY_FAILS"}
TIERS = ["check", "test", "test-airflow", "test-long"]


def run(folder: Path, **environ: str) -> tuple[int, str, list[str]]:
    """Runs it in a tree of its own with a make that does as it is told: exit code, last line, what was made."""
    (folder / ".ci").mkdir()
    shutil.copy(Path(__file__).parents[2] / ".ci" / "run", folder / ".ci" / "run")
    (folder / "bin").mkdir()
    make = folder / "bin" / "make"
    make.write_text(MAKE)
    make.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    calls = folder / "calls"
    done = subprocess.run(
        ["bash", ".ci/run"],
        cwd=folder,
        env={**inherited, "RED": "", "FLAKY": "", "CALLS": str(calls), "PATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, calls.read_text().splitlines()


def test_all_green(tmp_path: Path) -> None:
    code, said, calls = run(tmp_path)
    assert (code, said.splitlines()[-1]) == (0, "== all green")
    assert calls == [f"{tier} first" for tier in TIERS]


def test_a_flaky_test_fails_the_run_and_is_called_so(tmp_path: Path) -> None:
    code, said, calls = run(tmp_path, FLAKY="test-airflow", SKYLIFT_FLAKY_FAILS="yes")
    assert code == 1
    assert said.splitlines()[-1] == "== FAILED: make test-airflow (flaky: green at its second try)"
    assert "test-airflow is red this time" in said
    assert calls.count("test-airflow --last-failed --last-failed-no-failures=none") == 1
    assert calls[-1] == "test-long first", "what follows runs all the same"


def test_a_flaky_test_is_named_at_the_end_where_it_does_not_fail_the_run(tmp_path: Path) -> None:
    code, said, _ = run(tmp_path, FLAKY="test-airflow test-long")
    assert code == 0
    assert "== FLAKY: make test-airflow | make test-long" in said


def test_what_is_red_twice_fails_the_run_and_a_check_is_not_tried_again(tmp_path: Path) -> None:
    code, said, calls = run(tmp_path, RED="check test")
    assert code == 1
    assert said.splitlines()[-1] == "== FAILED: make check (exit 2) | make test (exit 2)"
    assert [call.split()[0] for call in calls] == ["check", "test", "test", "test-airflow", "test-long"]
