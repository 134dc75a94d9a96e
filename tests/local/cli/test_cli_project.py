"""A project from start to end: the quickstart run with the real command, its folder followed, and every kind of bad
input refused with a clear message."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.at_terminal import at_terminal
from tests.local.denials import denials
from tests.stack import QUICKSTART, SKYLIFT, Stack

from skylift.cli.runs.patience import patiently
from skylift.core.errors import Unavailable

pytestmark = [pytest.mark.local, pytest.mark.timeout(1800)]

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


FAILS = """
from datetime import timedelta
from airflow.sdk import dag, task

@dag(schedule=None)
def fails():
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def boom(n: int):
        print("hello from the first try")
        try:
            int("x")
        except ValueError as e: raise RuntimeError(f"bad thing {n}") from e
    boom.expand(n=[1, 2])

fails()
"""
WAITS = """
import time
from pathlib import Path
from airflow.sdk import dag, task

@dag(schedule=None)
def waits():
    @task
    def until_told():
        while not Path("{folder}/go").exists():
            time.sleep(0.1)
    until_told()

waits()
"""


@pytest.fixture(scope="module")
def flown(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A copy of quickstart, brought up and run; with what the command printed."""
    folder = tmp_path_factory.mktemp("projects") / "flown"
    shutil.copytree(QUICKSTART, folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = stack.run("up", str(folder), "--run", seconds=1500)
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


def test_the_quickstarts_roles_have_what_it_needs_and_need_what_they_have(
    stack: Stack, flown: tuple[Path, str]
) -> None:
    """IAM's policies allow every call of the run; and without any statement that the run touched, a call is denied."""
    calls = json.loads(stack.must("iam-policy", "--observed", "--json"))
    iam = stack.client("iam")
    touched: dict[str, set[str]] = {}
    for role, title in (("skylift-flown", "environment"), ("skylift_task_execution", "start")):
        seen = [one for one in calls if one["principal"].endswith(f":role/{role}")]
        # All environments share the execution role. The queue of events allows its environment by its own policy.
        own = [one for one in seen if role == "skylift-flown" or "flown" in one["resource"]]
        own = [one for one in own if not one["action"].startswith("sqs:")]
        assert [one for one in own if "denied" in one] == []
        document = iam.get_role_policy(RoleName=role, PolicyName=title)["PolicyDocument"]
        assert denials(document, own) == []
        for number, statement in enumerate(document["Statement"]):
            fewer = [one for at, one in enumerate(document["Statement"]) if at != number]
            for action in denials({**document, "Statement": fewer}, own):
                touched.setdefault(f"{title} {statement['Action'][0]}", set()).add(action)
    assert touched["environment ecs:RunTask"] == {"ecs:RunTask"}
    assert touched["environment iam:PassRole"] == {"iam:PassRole"}
    assert touched["environment s3:DeleteObject"] == {"s3:DeleteObject"}
    assert touched["start secretsmanager:GetSecretValue"] == {"secretsmanager:GetSecretValue"}
    assert touched["start logs:CreateLogStream"] == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert len(touched) >= 9, touched


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
    for expected in ("Airflow UI", "skylift env open flown", "API endpoint", "skylift down"):
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


def test_a_token_is_printed_by_its_own_command_only(stack: Stack, flown: tuple[Path, str]) -> None:
    token = stack.must("env", "token", "flown").strip()
    assert len(token) >= 100
    assert any(dag["dag_id"] == "quickstart" for dag in asked(stack, "/api/v2/dags", token)["dags"])
    shown = flown[1] + stack.must("env", "show", "flown", "--json") + stack.must("status", "--json")
    assert token not in shown + (stack.home / "server.log").read_text()


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
    assert f"  {broken}:\n" in refused.stderr, "the file on the user's machine"
    assert "dag_bundles" not in refused.stderr
    assert "No module named 'no_such_module'" in refused.stderr


def test_a_failed_run_says_why_and_gives_the_command_for_the_log(stack: Stack, flown: tuple[Path, str]) -> None:
    folder, _ = flown
    (folder / "dags" / "fails.py").write_text(FAILS)
    try:
        done = stack.run("env", "run", "fails", "--env", "flown")
        assert done.returncode == 1
        assert "\n✗ run cli__" in done.stderr
        assert "✗ boom [0] (try 2): RuntimeError: bad thing 1\n" in done.stdout
        typed = re.search(r"its log: (.* --task boom --try 2 --map-index 0)\n", done.stdout)
        assert typed, done.stdout
        shown = subprocess.run(
            ["bash", "-c", typed[1]], env=stack.environ, capture_output=True, text=True, check=True
        ).stdout
    finally:
        (folder / "dags" / "fails.py").unlink()
    assert f'File "{folder}/dags/fails.py", line 12, in boom\n' in shown
    assert (
        "ValueError: invalid literal for int() with base 10: 'x'\n\nThe above exception was the direct cause" in shown
    )
    assert "RuntimeError: bad thing 1\n" in shown
    assert '{"' not in shown, "no JSON"
    first = stack.must("logs", "--dag", "fails", "--env", "flown", "--task", "boom", "--try", "1")
    assert first.count("=== boom [") == 2
    assert "INFO hello from the first try" in first


def asked(stack: Stack, path: str, token: str) -> dict[str, Any]:
    """The answer of the environment's Airflow to whoever has this token."""
    root = f"http://{json.loads(stack.must('env', 'show', 'flown', '--json'))['WebserverUrl']}"

    def once() -> dict[str, Any]:
        request = urllib.request.Request(root + path, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: dict[str, Any] = json.loads(answer.read())
        except OSError as error:  # a busy machine restarts an API server that does not answer its health checks
            raise Unavailable(str(error)) from error
        return found

    return patiently(once, print, "Airflow")


def test_the_ui_says_which_environment_it_is(stack: Stack, flown: tuple[Path, str]) -> None:
    config = asked(stack, "/ui/config", stack.must("env", "token", "flown").strip())
    assert config["instance_name"] == "flown"


def test_saved_requirements_are_said_to_be_not_applied_until_they_are(stack: Stack, flown: tuple[Path, str]) -> None:
    folder, _ = flown
    requirements, before = folder / "requirements.txt", (folder / "requirements.txt").read_text()

    def named(*words: str) -> bool:
        found = json.loads(stack.must(*words, "--json"))
        shown = found if isinstance(found, list) else found["environments"]
        return next(one for one in shown if one["name"] == "flown")["not_applied"] == ["requirements.txt"]

    stack.must("up", str(folder), "--no-apply")
    log = len((stack.home / "server.log").read_text())
    requirements.write_text(before + "# one more line\n")
    told = "requirements.txt changed and is not applied to environment flown"
    seconds_until(lambda: told in (stack.home / "server.log").read_text()[log:], 600)
    for words in (["status"], ["env", "list"]):
        assert named(*words)
        text = stack.must(*words)
        assert told in text
        assert "skylift env update flown" in text
    assert "requirements.txt changed" in stack.must("up", str(folder))
    other = stack.run("up", str(project(folder.parent / "elsewhere")), "--name", "flown")
    assert other.returncode == 1
    assert f"belongs to {folder}" in other.stderr
    requirements.write_text(before)
    seconds_until(lambda: not named("status"), 600)
    assert told not in stack.must("env", "list")


def test_a_saved_skylift_toml_is_said_to_be_not_applied(stack: Stack, flown: tuple[Path, str]) -> None:
    folder, _ = flown
    file, told = folder / "skylift.toml", "skylift.toml or .env changed and is not applied"
    assert told not in stack.must("status")
    file.write_text('[options]\n"core.parallelism" = 7\n')
    try:
        for words in (["status"], ["env", "list"]):
            text = stack.must(*words)
            assert told in text
            assert f"up {folder}" in text
        shown = json.loads(stack.must("status", "--json"))["environments"]
        assert next(one for one in shown if one["name"] == "flown")["not_applied"] == ["skylift.toml"]
    finally:
        file.unlink()
    assert told not in stack.must("status")


def test_an_environment_is_deleted_when_asked_and_agreed(stack: Stack, flown: tuple[Path, str]) -> None:
    with at_terminal(SKYLIFT, "env", "delete", "flown", environ=stack.environ) as typed:
        typed.until("? [y/N]")
        assert "Delete environment flown with its database" in typed.shown
        typed.type("\n")
        assert typed.end() == 1
    assert "Nothing was deleted" in typed.shown
    assert "flown  " in stack.must("env", "list")


def test_a_creation_that_was_left_goes_on_and_can_be_given_up(stack: Stack, tmp_path: Path) -> None:
    folder = project(tmp_path / "left", startup_sh="sleep 20\n")
    with at_terminal(SKYLIFT, "up", str(folder), "--run", environ=stack.environ) as typed:
        typed.until("environment left: ")
        typed.interrupt()
        assert typed.end() == 130
    assert "Environment left is still being created" in typed.shown
    assert f"{SKYLIFT} up {folder} --run" in typed.shown
    assert f"{SKYLIFT} env delete left" in typed.shown
    assert "left  CREATING" in stack.must("env", "list")
    stack.must("env", "delete", "left", seconds=600)
    assert "left" not in stack.must("env", "list")


def test_a_run_that_was_left_goes_on_and_is_found_again(stack: Stack, flown: tuple[Path, str]) -> None:
    folder, _ = flown
    (folder / "dags" / "waits.py").write_text(WAITS.format(folder=folder))
    try:
        with at_terminal(SKYLIFT, "env", "run", "waits", "--env", "flown", environ=stack.environ) as typed:
            typed.until("running")
            typed.interrupt()
            assert typed.end() == 130
        back = re.search(r"Run (cli__\S+) of waits goes on\. To come back to it: (.*)\n", typed.shown)
        assert back, typed.shown
        (folder / "go").touch()
        done = subprocess.run(["bash", "-c", back[2]], env=stack.environ, capture_output=True, text=True, check=False)
    finally:
        (folder / "dags" / "waits.py").unlink()
    assert done.returncode == 0, done.stderr
    assert f"run {back[1]} of waits: success" in done.stderr


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
