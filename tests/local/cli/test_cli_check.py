"""``skylift check`` with a real Airflow: every kind of wrong file, told at its place; only changes are read again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skylift.cli.new_project import make

pytestmark = pytest.mark.local

GOOD = """
from airflow.sdk import dag, task
from shared import WORD

@dag(schedule=None)
def {name}():
    @task
    def one():
        print(WORD)
    one()

{name}()
"""
WRONG = {
    "syntax.py": ("from airflow.sdk import dag\n\ndef broken(:\n", "syntax", 3),
    "absent.py": ("from airflow.sdk import dag\nimport no_such_thing\n", "import", 2),
    "exits.py": ("from airflow.sdk import dag\nraise SystemExit(3)\n", "exit", 2),
    "dies.py": ("from airflow.sdk import dag\nimport os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "crash", 0),
    "deep.py": ("from airflow.sdk import dag\nfrom helper import fail\n\nfail()\n", "import", 2),
    "cycle.py": (
        "from airflow.providers.standard.operators.empty import EmptyOperator\nfrom airflow.sdk import DAG\n\n"
        "with DAG('round', schedule=None):\n    a, b = EmptyOperator(task_id='a'), EmptyOperator(task_id='b')\n"
        "    a >> b >> a\n",
        "cycle",
        4,
    ),
    "config.py": (
        "from airflow.sdk import dag, task\n\n@dag(schedule=None)\ndef config():\n"
        "    @task(executor_config={'overides': {}})\n    def wide(): ...\n    wide()\n\nconfig()\n",
        "executor-config",
        6,
    ),
    "executor.py": (
        "from airflow.sdk import dag, task\n\n@dag(schedule=None)\ndef strange():\n"
        "    @task(executor='NoExecutor')\n    def odd(): ...\n    odd()\n\nstrange()\n",
        "executor",
        6,
    ),
}


def checked(folder: Path, home: Path, *words: str) -> tuple[int, Any]:
    """``skylift check --json`` with the Python that runs the tests."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SKYLIFT_"))}
    command = [sys.executable, "-m", "skylift.cli", "check", str(folder), "--python", sys.executable, "--json", *words]
    done = subprocess.run(
        command, env={**environ, "SKYLIFT_HOME": str(home)}, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode in {0, 1}, done.stderr
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dags = tmp_path / "demo" / "dags"
    dags.mkdir(parents=True)
    (dags / "shared.py").write_text("WORD = 'hello'\n")
    for name in ("first", "second"):
        (dags / f"{name}.py").write_text(GOOD.replace("{name}", name))
    return tmp_path / "demo"


def test_each_mistake_is_told_at_its_place_and_what_is_right_is_not(folder: Path, tmp_path: Path) -> None:
    dags = folder / "dags"
    (dags / "helper.py").write_text("def fail():\n    raise KeyError('no key')\n")
    for name, (text, _, _) in WRONG.items():
        (dags / name).write_text(text)
    (dags / "again.py").write_text(GOOD.replace("{name}", "first"))
    (dags / "ignored.py").write_text("import airflow, no_such_dag\n")
    (dags / ".airflowignore").write_text("ignored.py\n")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "page.py").write_text("import nor_this\n")
    code, found = checked(folder, tmp_path / "home")
    assert code == 1
    told = {(one["file"], one["code"]): one["line"] for one in found["remarks"] if one["error"]}
    for name, (_, kind, line) in WRONG.items():
        where = "dags/helper.py" if name == "deep.py" else f"dags/{name}"
        assert told.pop((where, kind)) == line, name
    assert told.pop(("plugins/page.py", "import")) == 1
    assert told.pop(("dags/again.py", "duplicate-id")) == told.pop(("dags/first.py", "duplicate-id")) == 6
    assert told == {}
    assert {"first", "second"} <= {one["dag_id"] for one in found["dags"]}


def test_only_what_a_change_concerns_is_read_again(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert checked(folder, home)[1]["read"] == 3
    code, found = checked(folder, home)
    assert (code, found["read"], len(found["dags"])) == (0, 0, 2)
    (folder / "dags" / "first.py").write_text(GOOD.replace("{name}", "renamed"))
    code, found = checked(folder, home)
    assert (code, found["read"], [one["dag_id"] for one in found["dags"]]) == (0, 1, ["renamed", "second"])
    (folder / "dags" / "shared.py").write_text("OTHER = 1\n")
    code, found = checked(folder, home)
    assert (code, found["read"], {one["code"] for one in found["remarks"]}) == (1, 3, {"import"})


def test_a_new_project_is_right_and_its_tests_pass(tmp_path: Path) -> None:
    """Its own test of its DAGs needs the image, so it is run where an environment is started."""
    make(tmp_path / "demo")
    code, found = checked(tmp_path / "demo", tmp_path / "home", "--strict")
    assert (code, found["remarks"]) == (0, [])
    assert [(one["dag_id"], one["tasks"]) for one in found["dags"]] == [("daily_sales", 3)]
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not every_dag and not writes_its_report",
    ]
    done = subprocess.run(words, cwd=tmp_path / "demo", capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
