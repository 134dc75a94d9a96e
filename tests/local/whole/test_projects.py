"""A project's day on a real environment: the commands of ``docs/projects.md``, and where its secrets are not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.stack import ROOT, SKYLIFT, Stack

pytestmark = [pytest.mark.local, pytest.mark.long]
NAME = "day"
PAGE = (ROOT / "docs" / "projects.md").read_text()
PASSWORD, KEY, WORD = "pw-7Hq2-never-told", "key-9Zx4-never-told", "word-3Kd8-never-told"
SECRETS = (PASSWORD, KEY, WORD)
SETTINGS = f"""
name = "{NAME}"
options = {{ "core.default_timezone" = "Europe/Berlin" }}
environment = {{ GREETING = "hello", WORD = {{ secret = "elsewhere/word", key = "word" }} }}
connections = {{ warehouse = {{ conn_type = "postgres", host = "db.test", login = "me", password = {{ env = "DB" }} }} }}
variables = {{ shops = ["Lisbon", "Porto"] }}
pools = {{ slow = 3 }}
"""
SEES = """
import os
from airflow.sdk import BaseHook, Variable, dag, task

@dag(schedule=None)
def sees():
    @task
    def all_of_it():
        assert os.environ["GREETING"] == "hello"
        assert os.environ["API_KEY"].startswith("key-")
        assert os.environ["WORD"].startswith("word-")
        assert BaseHook.get_connection("warehouse").password.startswith("pw-")
        assert Variable.get("shops", deserialize_json=True) == ["Lisbon", "Porto"]
        print("all of it was there")
    all_of_it()

sees()
"""


@pytest.fixture(scope="module")
def project(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("projects") / "demo"
    stack.must("init", str(folder))
    (folder / "skylift.toml").write_text(SETTINGS)
    (folder / ".env").write_text(f"API_KEY={KEY}\nDB={PASSWORD}\n")
    (folder / "dags" / "sees.py").write_text(SEES)
    stack.client("secretsmanager").create_secret(Name="elsewhere/word", SecretString=json.dumps({"word": WORD}))
    done = stack.run("up", str(folder), "--run", "--dag", "daily_sales")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{stack.log()}"
    assert not [one for one in SECRETS if one in done.stdout + done.stderr]
    yield folder
    stack.must("env", "delete", NAME, "--yes")


def on_page(line: str) -> str:
    """A command that the page has."""
    assert f"\n{line}\n" in PAGE, f"not on the page: {line}"
    return line


def test_a_new_project_runs_and_its_own_tests_pass(stack: Stack, project: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        words, cwd=project, env=stack.environ, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_a_shell_has_the_images_python_and_the_projects_variables(stack: Stack, project: Path) -> None:
    words = "import os, sys; print(sys.executable, os.environ['GREETING'], os.environ['SKYLIFT_DAGS'], os.getcwd())"
    shown = stack.must("shell", str(project), "--", "python", "-c", words).split()
    assert shown[0].startswith(str(stack.home / "images"))
    assert shown[1:] == ["hello", f"s3://skylift-{NAME}/dags", str(project)]
    assert stack.run("shell", str(project), "--", "sh", "-c", "exit 7").returncode == 7


def test_one_dag_runs_in_the_terminal_with_the_clouds_aws_or_says_that_there_is_none(
    stack: Stack, project: Path, tmp_path: Path
) -> None:
    words = on_page("skylift test daily_sales").split()[1:]
    assert "sold most" in stack.must(*words, str(project))
    python = stack.must("shell", str(project), "--", "python", "-c", "import sys; print(sys.executable)").strip()
    alone = Stack(tmp_path / "home", stack.environ | {"SKYLIFT_HOME": str(tmp_path / "home")})
    done = alone.run(*words, str(project), "--python", python)
    assert (done.returncode, "No local cloud runs" in done.stderr) == (1, True), done.stderr
    unknown = stack.run("test", "nosuch", str(project))
    assert (unknown.returncode, "There are: daily_sales, sees" in unknown.stderr) == (1, True), unknown.stderr


def test_a_dag_sees_variables_connections_and_what_stays_elsewhere(stack: Stack, project: Path) -> None:
    stack.must("run", "sees", "--env", NAME)
    assert "all of it was there" in stack.must("logs", "sees.all_of_it", "--env", NAME)
    pools = stack.airflow(NAME).pools()
    assert pools["slow"] == 3


def test_its_secrets_are_nowhere(stack: Stack, project: Path) -> None:
    ecs = stack.client("ecs")
    arns = [arn for page in ecs.get_paginator("list_task_definitions").paginate() for arn in page["taskDefinitionArns"]]
    definitions = [ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"] for arn in arns]
    tasks = [arn for page in ecs.get_paginator("list_tasks").paginate(cluster="skylift") for arn in page["taskArns"]]
    logs = stack.client("logs")
    groups = [
        one["logGroupName"]
        for page in logs.get_paginator("describe_log_groups").paginate()
        for one in page["logGroups"]
    ]
    lines = [
        event["message"]
        for group in groups
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        for event in page["events"]
    ]
    places: dict[str, Any] = {
        "task definitions": definitions,
        "ECS tasks": ecs.describe_tasks(cluster="skylift", tasks=tasks[:100])["tasks"],
        "GetEnvironment": stack.client("mwaa").get_environment(Name=NAME),
        "logs": lines,
        "the server's log": (stack.home / "server.log").read_text(),
        "what is recorded": (stack.home / "projects.json").read_text(),
        "events": stack.must("env", "events", NAME),
        "env show": stack.must("env", "show", NAME, "--json"),
        "ps": stack.must("ps", "--all"),
        "a plan": stack.must("up", str(project), "--plan"),
        "processes": [one.info["cmdline"] for one in psutil.process_iter(["cmdline"])],
        "containers": stack.must("connections", "list", "--env", NAME) + stack.must("variables", "list", "--env", NAME),
    }
    assert len(definitions) > 5
    assert len(lines) > 20
    assert {name for name, found in places.items() if any(one in str(found) for one in SECRETS)} == set()


def test_what_runs_is_listed_and_has_logs(stack: Stack, project: Path) -> None:
    parts = json.loads(stack.must("ps", "--env", NAME, "--json"))
    running = {one["name"]: one for one in parts if one["kind"] == "part"}
    assert {"api-server", "scheduler", "dag-processor", "triggerer"} <= set(running)
    assert all(one["state"] == "RUNNING" and one["age"] > 0 for one in running.values())
    assert running["scheduler"]["memory"] > 10_000_000
    ended = json.loads(stack.must(*on_page("skylift ps").split()[1:], "--all", "--json"))
    tasks = [one for one in ended if one["kind"] == "Airflow task" and one["environment"] == NAME]
    assert {"daily_sales.find_shops", "daily_sales.sum_up [0]"} <= {one["name"] for one in tasks}
    one = next(one for one in tasks if one["name"] == "daily_sales.write_report")
    assert stack.run("logs", one["id"]).returncode == 0
    on_page("skylift logs daily_sales.write_report --try 1")
    assert "sold most" in stack.must("logs", "daily_sales.write_report", "--try", "1", "--env", NAME)
    runs = json.loads(stack.must("runs", "daily_sales", "--env", NAME, "--json"))
    assert [one["state"] for one in runs] == ["success"]
    assert "write_report" in stack.must("runs", "daily_sales", runs[0]["dag_run_id"], "--env", NAME)
    started = stack.must("run", "daily_sales", "--no-wait", "--env", NAME).strip()
    assert "success" in stack.must("run", "daily_sales", "--env", NAME, "--follow", started)


def test_drift_is_shown_and_stays_and_a_changed_file_is_applied(stack: Stack, project: Path) -> None:
    mwaa = stack.client("mwaa")
    before = mwaa.get_environment(Name=NAME)["Environment"]
    options = before["AirflowConfigurationOptions"] | {"skylift.heartbeat_seconds": "301"}
    mwaa.update_environment(Name=NAME, AirflowConfigurationOptions=options)
    shown = stack.must("up", str(project), "--plan")
    assert "nothing to change" in shown
    assert "options.skylift.heartbeat_seconds = 301 was set elsewhere" in shown
    (project / "skylift.toml").write_text(SETTINGS + 'maintenance_window = "MON:03:00"\n')
    told = stack.run("up", str(project))
    assert told.returncode == 0, told.stderr
    assert "SUN:02:00 → MON:03:00" in told.stderr
    assert "was set elsewhere" in told.stderr
    after = mwaa.get_environment(Name=NAME)["Environment"]
    assert after["WeeklyMaintenanceWindowStart"] == "MON:03:00"
    assert after["AirflowConfigurationOptions"] == options
    stack.must("up", str(project), "--undo-drift")
    assert (
        mwaa.get_environment(Name=NAME)["Environment"]["AirflowConfigurationOptions"]
        == before["AirflowConfigurationOptions"]
    )


def test_connections_and_variables_go_out_and_come_back(stack: Stack, project: Path, tmp_path: Path) -> None:
    where = ("--env", NAME)
    stack.must("connections", "set", "files", f"ftp://me:{PASSWORD}@files.test:21/x?passive=yes", *where)
    assert PASSWORD not in stack.must("connections", "list", *where)
    rows = {one["id"]: one for one in json.loads(stack.must("connections", "list", *where, "--json"))}
    assert (rows["files"]["conn_type"], rows["files"]["host"], rows["files"]["from"]) == (
        "ftp",
        "files.test",
        "Airflow's database",
    )
    assert rows["warehouse"]["from"] == "skylift.toml or .env"
    stack.must("connections", "export", str(tmp_path / "connections.json"), *where)
    exported = json.loads((tmp_path / "connections.json").read_text())
    assert exported["files"]["password"] == PASSWORD
    assert os.stat(tmp_path / "connections.json").st_mode & 0o077 == 0
    stack.must(*on_page("skylift variables set sales_bucket sales").split()[1:], *where)
    stack.must("variables", "export", str(tmp_path / "variables.json"), *where)
    assert json.loads((tmp_path / "variables.json").read_text())["sales_bucket"] == "sales"
    stack.must("connections", "delete", "files", *where, "--yes")
    assert "made" in stack.must("connections", "import", str(tmp_path / "connections.json"), *where)
    assert "stays" in stack.run("connections", "import", str(tmp_path / "connections.json"), *where).stderr
    assert re.search(r"sales_bucket\s+sales\b", stack.must("variables", "list", *where))


def test_an_environment_becomes_a_project_again(stack: Stack, project: Path, tmp_path: Path) -> None:
    """Over our own MWAA API with real boto3, with the settings that ``skylift shellenv`` gives to any AWS tool."""
    told = subprocess.run(
        ["/bin/sh", "-c", f'eval "$({SKYLIFT} shellenv)" && {SKYLIFT} env import {NAME} {tmp_path}/back'],
        env=stack.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    back = tmp_path / "back"
    ours = {path.name: path.read_bytes() for path in (project / "dags").glob("*.py")}
    assert {path.name: path.read_bytes() for path in (back / "dags").glob("*.py")} == ours
    assert (back / "requirements.txt").read_bytes() == (project / "requirements.txt").read_bytes()
    text = (back / "skylift.toml").read_text()
    assert '"core.default_timezone" = "Europe/Berlin"' in text
    assert '# files = { conn_type = "ftp"' in text
    assert '"slow" = 3' in text
    assert not [one for one in SECRETS if one in text + told.stderr]


def test_an_environment_is_stopped_and_started(stack: Stack, project: Path) -> None:
    ecs = stack.client("ecs")
    assert f"skylift start {NAME}" in stack.run("stop", NAME, "--yes").stderr
    assert json.loads(stack.must("ps", "--env", NAME, "--json")) == []
    assert f"{NAME}  AVAILABLE (stopped)" in stack.must("env", "list")
    refused = stack.run("run", "daily_sales", "--env", NAME)
    assert refused.returncode == 1
    assert "is stopped" in refused.stderr
    assert (
        ecs.list_tasks(cluster="skylift", desiredStatus="RUNNING", family=f"skylift-{NAME}-scheduler")["taskArns"] == []
    )
    assert "it would be started" in stack.must("up", str(project), "--plan")
    stack.must("start", NAME)
    assert len(json.loads(stack.must("ps", "--env", NAME, "--json"))) == 4
    assert json.loads(stack.must("runs", "daily_sales", "--env", NAME, "--json")), "the history is there"
