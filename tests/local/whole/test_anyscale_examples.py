"""The Anyscale example on a real skylift: Ray computes, its log is in Airflow, and nothing is submitted twice or left."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stack import ROOT, Stack

from skylift.cli.runs.airflow_api import AirflowApi

pytestmark = [pytest.mark.local, pytest.mark.soak, pytest.mark.timeout(900)]

NAME = "anyscale_job"
EXAMPLE = ROOT / "examples" / NAME
BUCKET = "skylift-anyscale-job"
PROBES = """
from datetime import timedelta
from airflow.sdk import DAG
from skylift.anyscale import SubmitAnyscaleJob
common = dict(task_id="t", conn_id="anyscale", max_retries=0, poll_interval=1, retries=2,
              retry_delay=timedelta(seconds=1), job_timeout_seconds=300)
with DAG(dag_id="killed", schedule=None, is_paused_upon_creation=False):
    SubmitAnyscaleJob(name="killed", entrypoint="while [ ! -e {gate} ]; do sleep 0.2; done", deferrable=False, **common)
with DAG(dag_id="marked", schedule=None, is_paused_upon_creation=False):
    SubmitAnyscaleJob(name="marked", entrypoint="sleep 600", **common)
"""


def test_the_example_runs_and_what_dies_or_is_ended_leaves_one_job_or_none(stack: Stack, tmp_path: Path) -> None:
    told = stack.must("up", str(EXAMPLE), "--run", "--with-anyscale")
    assert "success" in told
    log = stack.must("logs", "--env", NAME, "--dag", NAME, "--task", "count_primes")
    assert "below 200000 there are 17984 prime numbers" in log
    assert "aph0_" not in log + told + stack.log(1000)
    gate = tmp_path / "gate"
    stack.client("s3").put_object(Bucket=BUCKET, Key="dags/probes.py", Body=PROBES.format(gate=gate).encode())
    api = stack.airflow(NAME)
    until(lambda: {"killed", "marked"} <= set(api.dags()))
    api.trigger("killed", "r", {})
    until(lambda: jobs(stack, "killed"))
    kill_airflow_tasks(stack)
    gate.touch()
    until(lambda: instance(api, "killed")["state"] == "success")
    assert instance(api, "killed")["try_number"] == 2
    assert [job["state"]["current_state"] for job in jobs(stack, "killed")] == ["SUCCESS"]
    api.trigger("marked", "r", {})
    # Airflow tells a trigger only once the triggerer runs it, and its first line shows that.
    until(lambda: ": RUNNING" in stack.run("logs", "--env", NAME, "--dag", "marked").stdout)
    assert instance(api, "marked")["state"] == "deferred"
    path = "/api/v2/dags/marked/dagRuns/r/taskInstances/t"
    api.call("PATCH", path, {"new_state": "failed"})
    until(lambda: [job["state"]["current_state"] for job in jobs(stack, "marked")] == ["TERMINATED"])


def instance(api: AirflowApi, dag: str) -> dict[str, Any]:
    return api.call("GET", f"/api/v2/dags/{dag}/dagRuns/r/taskInstances/t")


def jobs(stack: Stack, name: str) -> list[dict[str, Any]]:
    """The fake's jobs of that name."""
    kept = json.loads((stack.home / "anyscale" / "address.json").read_text())
    url = f"http://127.0.0.1:{kept['port']}/api/v2/decorated_ha_jobs/?count=100"
    request = urllib.request.Request(url, headers={"Cookie": f"cli_token={kept['key']}"})
    with urllib.request.urlopen(request) as answer:
        return [one for one in json.load(answer)["results"] if one["name"].startswith(f"{name}-")]


def kill_airflow_tasks(stack: Stack) -> None:
    """SIGKILL to every process in the containers of the environment's Airflow tasks."""
    ecs = stack.client("ecs")
    arns = ecs.list_tasks(cluster="skylift", family=f"skylift-{NAME}-task")["taskArns"]
    folders = [f"containers/{arn.rpartition('/')[2][:12]}" for arn in arns]
    killed = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and any(one in os.readlink(process / "cwd") for one in folders):
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(process.name)
        except OSError:
            continue
    assert killed


def until(condition: Callable[[], Any], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
