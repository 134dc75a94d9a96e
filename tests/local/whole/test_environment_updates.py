"""Updates of a real environment: what restarts and what does not, a run that goes through, and what is undone."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.stack import ROOT, Stack

pytestmark = [pytest.mark.local, pytest.mark.long]
NAME = "changes"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
PAGE = (ROOT / "docs" / "environments.md").read_text()
LONG_DAG = """
import time
from airflow.sdk import DAG, task
with DAG("long", schedule=None):
    @task
    def wait():
        time.sleep(45)
    @task
    def after():
        return 1
    wait() >> after()
"""
NEEDS = "from airflow.sdk import DAG\nimport pyjokes\nwith DAG('needs'):\n    pass\n"


@pytest.fixture(scope="module")
def project(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project") / NAME
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "long.py").write_text(LONG_DAG)
    (folder / "requirements.txt").write_text("pyjokes\n")
    stack.must("up", str(folder), "--no-apply")
    yield folder
    stack.must("env", "delete", NAME, "--yes")


def tasks(stack: Stack) -> dict[str, list[str]]:
    """ARNs of the ECS tasks of each component."""
    ecs = stack.client("ecs")
    return {
        role: sorted(ecs.list_tasks(cluster="skylift", serviceName=f"skylift-{NAME}-{role}")["taskArns"])
        for role in COMPONENTS
    }


def updated(stack: Stack, **members: Any) -> tuple[dict[str, Any], set[str]]:
    """The environment after an update, and the components whose ECS tasks are no longer the same."""
    mwaa, before = stack.client("mwaa"), tasks(stack)
    mwaa.update_environment(Name=NAME, **members)
    deadline = time.monotonic() + 900
    while (found := mwaa.get_environment(Name=NAME)["Environment"])["Status"] in {"UPDATING", "ROLLING_BACK"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    after = tasks(stack)
    return dict(found), {role for role in COMPONENTS if not set(before[role]) <= set(after[role])}


class Probe:
    """Asks the UI again and again, from a thread, and counts what did not answer."""

    def __init__(self, url: str) -> None:
        self._url, self._over = url, threading.Event()
        self.failures: list[str] = []
        self.asked = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self._over.wait(0.1):
            self.asked += 1
            try:
                with opener.open(f"{self._url}/api/v2/version", timeout=60) as answer:
                    answer.read()
            except OSError as error:
                self.failures.append(str(error))


def test_what_restarts_nothing_and_what_restarts_one_part(stack: Stack, project: Path) -> None:
    level = {"Enabled": True, "LogLevel": "WARNING"}
    for members, wanted in (
        ({"WeeklyMaintenanceWindowStart": "MON:03:00"}, set()),
        ({"MinWorkers": 2}, set()),
        ({"LoggingConfiguration": {"WorkerLogs": level}}, set()),
        ({"LoggingConfiguration": {"DagProcessingLogs": level}}, {"dag-processor"}),
        ({"LoggingConfiguration": {"SchedulerLogs": level}}, {"scheduler", "triggerer"}),
        ({"MaxWorkers": 11}, {"scheduler"}),
    ):
        found, restarted = updated(stack, **members)  # type: ignore[arg-type]
        assert (found["Status"], found["LastUpdate"]["Status"]) == ("AVAILABLE", "SUCCESS"), found
        assert restarted == wanted, members


def test_a_run_goes_through_an_update_of_everything_and_the_ui_answers_all_the_time(
    stack: Stack, project: Path
) -> None:
    environment = stack.client("mwaa").get_environment(Name=NAME)["Environment"]
    api = stack.airflow(NAME)
    until(lambda: "long" in api.dags())
    api.unpause("long")
    run = api.trigger("long", "through-an-update", {})
    until(lambda: "running" in {one.state for one in api.task_lines("long", run)})
    with Probe(f"http://{environment['WebserverUrl']}") as probe:
        found, restarted = updated(stack, AirflowConfigurationOptions={"core.default_timezone": "Europe/Berlin"})
    assert found["LastUpdate"]["Status"] == "SUCCESS"
    assert restarted == set(COMPONENTS)
    assert (probe.failures, probe.asked > 10) == ([], True)
    until(lambda: stack.airflow(NAME).run_state("long", run) in {"success", "failed"})
    lines = stack.airflow(NAME).task_lines("long", run)
    assert [(one.state, one.try_number) for one in lines] == [("success", 1)] * 2, "no try was lost"


def test_broken_requirements_touch_nothing_and_say_the_resolvers_line(stack: Stack, project: Path) -> None:
    before = stack.client("mwaa").get_environment(Name=NAME)["Environment"]["RequirementsS3ObjectVersion"]
    (project / "requirements.txt").write_text("pyjokes\nnosuchpackage-xyz==9.9\n")
    until(lambda: "not applied" in stack.must("status"))
    plan = json.loads(stack.must("env", "update", NAME, "--plan", "--json"))
    assert [step["effect"] for step in plan["steps"]][:2] == ["build", "prove"]
    here = tasks(stack)
    done = stack.run("env", "update", NAME, "--yes")
    assert done.returncode == 1
    assert "line 2: nosuchpackage-xyz==9.9" in done.stderr
    assert tasks(stack) == here
    found = stack.client("mwaa").get_environment(Name=NAME)["Environment"]
    assert (found["Status"], found["RequirementsS3ObjectVersion"]) == ("UPDATE_FAILED", before)
    assert found["LastUpdate"]["Error"]["ErrorCode"] == "REQUIREMENTS_FAILED"
    assert "the last update failed, and was undone. REQUIREMENTS_FAILED: line 2" in stack.must("status")


def test_a_dag_that_would_no_longer_parse_stops_an_update(stack: Stack, project: Path) -> None:
    (project / "dags" / "needs.py").write_text(NEEDS)
    (project / "dags" / "broken.py").write_text("from airflow.sdk import DAG\nimport nosuchmodule\n")
    bucket = stack.client("mwaa").get_environment(Name=NAME)["Environment"]["SourceBucketArn"].rpartition(":")[2]
    until(lambda: stack.client("s3").list_objects_v2(Bucket=bucket, Prefix="dags/needs.py")["KeyCount"] == 1)
    here = tasks(stack)
    found, _ = updated(stack, RequirementsS3Path="")
    error = found["LastUpdate"]["Error"]
    assert (found["Status"], error["ErrorCode"]) == ("UPDATE_FAILED", "DAGS_FAILED")
    assert "\"needs.py\", line 2: ModuleNotFoundError: No module named 'pyjokes'" in error["ErrorMessage"]
    assert "broken.py" not in error["ErrorMessage"], "it does not parse today either"
    assert tasks(stack) == here


def test_a_saved_file_becomes_an_update_and_events_say_what_happened(stack: Stack, project: Path) -> None:
    (project / "requirements.txt").write_text("pyjokes\n")
    stack.must("up", str(project), "--apply")
    (project / "requirements.txt").write_text("pyjokes\nnosuchpackage-xyz==9.8\n")
    until(lambda: "nosuchpackage-xyz==9.8" in stack.must("env", "events", NAME))
    (project / "requirements.txt").write_text("pyjokes\ncowsay\n")
    until(lambda: "cowsay" in requirements(stack) and status(stack) == "AVAILABLE")
    lines = [json.loads(line) for line in stack.must("env", "events", NAME, "--json").splitlines()]
    assert [line["status"] for line in lines][:2] == ["CREATING", "AVAILABLE"]
    assert lines[-1]["text"].startswith("UpdateEnvironment ended well")
    assert lines[-1]["seconds"] > 0


def test_a_scheduler_that_hangs_is_replaced_and_a_broken_file_of_others_is_tried_once(
    stack: Stack, project: Path
) -> None:
    mwaa, s3 = stack.client("mwaa"), stack.client("s3")
    options = mwaa.get_environment(Name=NAME)["Environment"]["AirflowConfigurationOptions"]
    mine = {"skylift.heartbeat_seconds": "10", "skylift.follow_bucket": "True"}
    found, restarted = updated(stack, AirflowConfigurationOptions={**options, **mine})
    assert (found["LastUpdate"]["Status"], restarted) == ("SUCCESS", set())
    here, begun = tasks(stack), len(events(stack))
    s3.put_object(Bucket=found["SourceBucketArn"].rpartition(":")[2], Key="requirements.txt", Body=b"nosuch-xyz==7\n")
    (arn,) = here["scheduler"]
    os.kill(container_pid(stack, arn), signal.SIGSTOP)
    until(lambda: any("scheduler was replaced, and works: no heartbeat for" in one for one in events(stack)))
    assert arn not in tasks(stack)["scheduler"]
    assert "scheduler was replaced" in stack.must("status")
    until(lambda: any("nosuch-xyz==7" in one for one in events(stack)) and status(stack) == "UPDATE_FAILED")
    found = mwaa.get_environment(Name=NAME)["Environment"]
    assert found["LastUpdate"]["Source"] == "FollowBucket"
    told = events(stack)[begun:]
    assert len([one for one in told if one.startswith("FollowBucket: the bucket has something new")]) == 1
    assert len([one for one in told if f"ECS task {arn.rpartition('/')[2][:8]} is replaced" in one]) == 1
    updated(stack, AirflowConfigurationOptions=options)


def test_the_pages_commands_run(stack: Stack, project: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    mine = [line.replace("quickstart", NAME).split()[1:] for line in lines if line.startswith("skylift env")]
    assert len(mine) >= 5
    for words in mine:
        stack.must(*words)


def events(stack: Stack) -> list[str]:
    return [json.loads(line)["text"] for line in stack.must("env", "events", NAME, "--json").splitlines()]


def container_pid(stack: Stack, arn: str) -> int:
    """The first process of an ECS task's container."""
    file = stack.home / "cloud" / "containers" / f"{arn.rpartition('/')[2][:12]}-0" / "pid"
    return int(file.read_text().split()[2])


def status(stack: Stack) -> str:
    return str(stack.client("mwaa").get_environment(Name=NAME)["Environment"]["Status"])


def requirements(stack: Stack) -> str:
    found = stack.client("mwaa").get_environment(Name=NAME)["Environment"]
    bucket, version = found["SourceBucketArn"].rpartition(":")[2], found["RequirementsS3ObjectVersion"]
    body = stack.client("s3").get_object(Bucket=bucket, Key="requirements.txt", VersionId=version)["Body"]
    return str(body.read().decode())


def until(condition: Any, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.3)
