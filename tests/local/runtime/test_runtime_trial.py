"""A trial of Airflow as an update's proof runs it, with real files: what parses, what does not, what an option says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.local
DAG = "from airflow.sdk import DAG\nwith DAG('{name}'):\n    pass\n"


def tried(folder: Path, options: dict[str, str] | None = None, files: tuple[str, ...] = ()) -> dict[str, Any]:
    """The report of a trial over ``folder/dags``."""
    report = folder / "report.json"
    environ = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **(options or {}),
    }
    command = [
        sys.executable,
        "-m",
        "skylift.runtime.trial",
        str(report),
        str(folder / "dags"),
        ",".join(options or {}),
    ]
    done = subprocess.run([*command, *files], env=environ, capture_output=True, text=True, check=False)
    assert report.is_file(), done.stderr
    return dict(json.loads(report.read_text()))


def test_dag_files_options_and_what_is_not_known(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    (dags / "sub").mkdir(parents=True)
    (dags / "good.py").write_text("import neighbour\n" + DAG.format(name="good"))
    (dags / "neighbour.py").write_text("")
    (dags / "sub" / "bad.py").write_text(DAG.format(name="bad") + "import nosuchmodule\n")
    (dags / "bare.py").write_text("raise SystemExit(3)  # dag airflow\n")
    found = tried(tmp_path, {"AIRFLOW__CORE__PARALLELISM": "9", "AIRFLOW__FOO__BAR": "1"})
    assert found["done"], found
    assert set(found["dags"]) == {"sub/bad.py", "bare.py"}
    assert found["dags"]["sub/bad.py"] == "\"sub/bad.py\", line 4: ModuleNotFoundError: No module named 'nosuchmodule'"
    assert (found["options"], found["plugins"], found["failed"]) == ([], {}, "")
    assert found["notes"] == [
        "[foo], the section of bar, is not known to Airflow or an installed provider; nothing may read it"
    ]


def test_an_option_of_the_wrong_type_and_one_that_airflow_cannot_start_with(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    secret = "a-value-that-may-be-a-password"
    wrong = tried(tmp_path, {"AIRFLOW__CORE__PARALLELISM": "lots", "AIRFLOW__SCHEDULER__NUM_RUNS": secret})
    assert wrong["options"] == [
        "[core] parallelism: 'lots' is no integer",
        "[scheduler] num_runs: its value is no integer",
    ]
    assert secret not in json.dumps(wrong)
    no_class = tried(tmp_path, {"AIRFLOW__CORE__AUTH_MANAGER": "no.such.Manager"})
    assert no_class["failed"].startswith("starting Airflow: ")
    assert not no_class["done"]


FLASK_PLUGIN = """
from airflow.plugins_manager import AirflowPlugin

class Old(AirflowPlugin):
    name = "old_pages"
    flask_blueprints = [object()]
"""


@pytest.mark.parametrize(
    ("manager", "starts"),
    [
        ("skylift.runtime.auth.manager.SkyliftAuthManager", True),
        ("airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager", False),
    ],
)
def test_a_flask_plugin_without_fab_is_left_out_and_the_api_server_starts(
    tmp_path: Path, manager: str, starts: bool
) -> None:
    """With Airflow's own auth manager the API server does not start: should that change, ours need not help."""
    for name in ("dags", "plugins"):
        (tmp_path / name).mkdir()
    (tmp_path / "plugins" / "old.py").write_text(FLASK_PLUGIN)
    options = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(tmp_path / "plugins"), "AIRFLOW__CORE__AUTH_MANAGER": manager}
    found = tried(tmp_path, options)
    assert found["plugins"] == {}
    if starts:
        assert (found["failed"], found["done"]) == ("", True)
    else:
        assert "you must install the FAB provider" in found["failed"]
