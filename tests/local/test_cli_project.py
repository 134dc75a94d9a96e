"""A project's way: quickstart flown with the real command, its folder followed, and every kind of bad input refused in words."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.stack import QUICKSTART, Stack

pytestmark = pytest.mark.local

TINY = """
from airflow.sdk import dag, task

@dag(schedule=None)
def tiny():
    @task
    def one():
        print("hello")
    one()

tiny()
"""


@pytest.fixture(scope="module")
def flown(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A copy of quickstart, brought up and run; with what the command printed."""
    folder = tmp_path_factory.mktemp("projects") / "flown"
    shutil.copytree(QUICKSTART, folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = stack.run("up", str(folder), "--run", seconds=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{stack.log()}"
    yield folder, done.stdout
    stack.must("env", "delete", "flown")


def project(folder: Path, **files: str) -> Path:
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "tiny.py").write_text(TINY)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def seconds_until(condition: Callable[[], bool], most: float) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < most, "it never came true"
        time.sleep(0.02)
    return time.monotonic() - begun


def keys(s3: Any, bucket: str) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def test_quickstart_flies_and_each_airflow_task_was_its_own_ecs_task(stack: Stack, flown: tuple[Path, str]) -> None:
    _, shown = flown
    rows = re.findall(r"^\s+(\w+)(?: \[(\d+)\])?\s+(\w+)\s+([0-9a-f]{32})\s+[\d.]+ s\s+[\d.]+ s", shown, re.MULTILINE)
    assert [row[:3] for row in rows if row[0] != "summarise"] == [
        ("find_years", "", "success"),
        ("draw", "", "success"),
    ]
    assert sorted(row[1] for row in rows if row[0] == "summarise") == ["0", "1", "2", "3"]
    ids = [row[3] for row in rows]
    assert len(set(ids)) == len(ids) == 6
    ecs = stack.client("ecs")

    def described() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ecs.describe_tasks(cluster="skylift", tasks=ids)["tasks"]
        return found

    # Airflow knows the result a moment before the container has ended.
    seconds_until(lambda: {one["lastStatus"] for one in described()} == {"STOPPED"}, 30)
    assert {one["containers"][0]["exitCode"] for one in described()} == {0}
    for expected in ("Airflow UI", "skylift env password flown", "API endpoint", "skylift down"):
        assert expected in shown
    assert {"results/seattle-weather.json", "results/seattle-weather.svg"} <= keys(stack.client("s3"), "skylift-flown")


def test_nothing_of_a_running_environment_listens_beyond_loopback(stack: Stack, flown: tuple[Path, str]) -> None:
    owners = [process for process in psutil.process_iter() if _stands_in(process, stack.home)]
    server = psutil.Process(json.loads((stack.home / "server.json").read_text())["pid"])
    listening = {
        (process.name(), one.laddr.ip)
        for process in [server, *owners]
        for one in process.net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert len(listening) >= 3, "the server, PostgreSQL and Airflow's API server at least"
    assert all(address.startswith("127.") for _, address in listening), listening


def _stands_in(process: psutil.Process, home: Path) -> bool:
    """Containers and PostgreSQL have their working folder below the home."""
    try:
        return Path(process.cwd()).is_relative_to(home)
    except psutil.Error:
        return False


def test_the_password_is_printed_by_its_own_command_only(stack: Stack, flown: tuple[Path, str]) -> None:
    password = stack.must("env", "password", "flown").strip()
    assert len(password) >= 12
    shown = flown[1] + stack.must("env", "show", "flown", "--json") + stack.must("status", "--json")
    assert password not in shown + (stack.home / "server.log").read_text()


def test_a_saved_dag_is_in_the_bucket_within_a_second_and_soon_runs(stack: Stack, flown: tuple[Path, str]) -> None:
    folder, _ = flown
    s3 = stack.client("s3")
    (folder / "dags" / "tiny.py").write_text(TINY)
    assert seconds_until(lambda: "dags/tiny.py" in keys(s3, "skylift-flown"), 5) < 1.0
    stack.must("env", "run", "tiny", "--env", "flown")
    (folder / "dags" / "tiny.py").unlink()
    assert seconds_until(lambda: "dags/tiny.py" not in keys(s3, "skylift-flown"), 5) < 1.0


def test_a_dag_that_is_not_there_is_refused_with_those_that_are(stack: Stack, flown: tuple[Path, str]) -> None:
    refused = stack.run("env", "run", "nope", "--env", "flown")
    assert refused.returncode == 1
    assert "There is no DAG nope" in refused.stderr
    assert "quickstart" in refused.stderr


def test_a_dag_that_does_not_import_is_shown_with_its_error(stack: Stack, flown: tuple[Path, str]) -> None:
    folder, _ = flown
    broken = folder / "dags" / "broken.py"
    broken.write_text("from airflow.sdk import dag\nimport no_such_module\n")
    try:
        refused = stack.run("env", "run", "broken", "--env", "flown")
    finally:
        broken.unlink()
    assert refused.returncode == 1
    assert "broken.py" in refused.stderr
    assert "No module named 'no_such_module'" in refused.stderr


def test_changed_requirements_are_not_silently_ignored(stack: Stack, flown: tuple[Path, str]) -> None:
    folder, _ = flown
    with (folder / "requirements.txt").open("a") as file:
        file.write("# one more line\n")
    shown = stack.must("up", str(folder))
    assert "requirements.txt changed" in shown
    assert "skylift env delete flown" in shown
    other = stack.run("up", str(project(folder.parent / "elsewhere")), "--name", "flown")
    assert other.returncode == 1
    assert f"belongs to {folder}" in other.stderr


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"requirements_txt": "no-such-package-of-anyone==9.9\n"}, "REQUIREMENTS_FAILED: line 1: no-such-package"),
        ({"startup_sh": "echo before; exit 3\n"}, "STARTUP_SCRIPT_FAILED: startup.sh failed with exit code 3"),
    ],
)
def test_a_broken_project_fails_with_the_reason_and_can_be_corrected(
    stack: Stack, tmp_path: Path, files: dict[str, str], reason: str
) -> None:
    folder = project(tmp_path / "broken", **files)
    begun = time.monotonic()
    refused = stack.run("up", str(folder))
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert "CREATE_FAILED" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert time.monotonic() - begun < 60
    again = stack.run("up", str(folder))
    assert "removing the failed environment" in again.stderr
    assert reason in again.stderr
    stack.must("env", "delete", "broken")
    assert "broken" not in stack.must("env", "list")
