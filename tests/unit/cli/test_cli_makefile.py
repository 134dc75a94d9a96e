"""Before anything is installed: an old Python, or none, gets one clear line from make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[3]


def make(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory", *words],
        env=os.environ | (environ or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_old_python_is_named_and_another_is_asked_for(tmp_path: Path) -> None:
    old = script(tmp_path / "old", 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    done = make("python", f"PYTHON={old}")
    assert done.returncode != 0
    assert "skylift needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "is Python 3.9.2" in done.stderr
    assert "make run PYTHON=" in done.stderr


def test_the_python3_that_one_chose_comes_first(tmp_path: Path) -> None:
    script(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    done = make("-n", "python", environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 0
    assert str(tmp_path / "python3") in done.stdout


def test_a_python3_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "python3", "exit 1")
    script(tmp_path / "python3.12", "exit 0")
    script(tmp_path / "python3.13", "exit 1")
    done = make("-n", "python", environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert str(tmp_path / "python3.12") in done.stdout


def test_the_program_is_called_so_that_what_it_prints_can_be_typed_where_one_stands() -> None:
    here = make("-n", "run", environ={"PWD": str(ROOT)})
    assert '".venv/bin/skylift" up examples/quickstart --run' in here.stdout
    elsewhere = make("-n", "run", environ={"PWD": "/somewhere/else"})
    assert f'"{ROOT}/.venv/bin/skylift" up examples/quickstart --run' in elsewhere.stdout
