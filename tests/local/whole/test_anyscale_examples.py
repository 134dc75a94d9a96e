"""The Anyscale example on a real skylift: Ray computes, its log is in Airflow, and nothing is submitted twice or left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stack import ROOT, Stack, running

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.core.environment import BATCH_EXECUTOR, CELERY_EXECUTOR, ECS_EXECUTOR
from skylift.core.errors import Unavailable

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
    until(lambda: instance(api, "marked")["state"] == "deferred")
    path = "/api/v2/dags/marked/dagRuns/r/taskInstances/t"
    api.call("PATCH", path, {"new_state": "failed"})
    until(lambda: [job["state"]["current_state"] for job in jobs(stack, "marked")] == ["TERMINATED"])
    api.call(
        "POST", "/api/v2/dags/marked/clearTaskInstances", {"dry_run": False, "dag_run_id": "r", "only_failed": False}
    )
    until(lambda: instance(api, "marked")["state"] == "deferred")
    api.call(
        "POST", "/api/v2/dags/marked/clearTaskInstances", {"dry_run": False, "dag_run_id": "r", "only_failed": False}
    )
    until(lambda: len(jobs(stack, "marked")) == 3)
    until(lambda: sorted(job["state"]["current_state"] for job in jobs(stack, "marked"))[1:] == ["TERMINATED"] * 2)
    until(lambda: instance(api, "marked")["state"] == "deferred")
    api.call("PATCH", path, {"new_state": "success"})
    until(lambda: {job["state"]["current_state"] for job in jobs(stack, "marked")} == {"TERMINATED"})


def test_the_service_example_runs(stack: Stack) -> None:
    stack.must("up", str(ROOT / "examples" / "anyscale_service"), "--run", "--with-anyscale")
    ended = stack.airflow("anyscale_service").call("GET", "/api/v2/dags/anyscale_service/dagRuns")["dag_runs"]
    assert [one["state"] for one in ended] == ["success"]
    stack.must("env", "delete", "anyscale_service", "--yes")


SECRET_PROBE = """
from airflow.sdk import DAG, BaseHook, task
from skylift.anyscale import SubmitAnyscaleJob

SEEN = BaseHook.get_connection("anyscale_secret").password.startswith("aph0_")
with DAG(dag_id="secret_parsed" if SEEN else "not_seen", schedule=None, is_paused_upon_creation=False):
    @task(executor="skylift.executors.batch.AwsBatchExecutor")
    def in_batch():
        assert BaseHook.get_connection("anyscale_secret").password.startswith("aph0_")

    @task(executor="CeleryExecutor")
    def on_a_worker():
        assert BaseHook.get_connection("anyscale_secret").password.startswith("aph0_")

    SubmitAnyscaleJob(task_id="in_ecs_and_triggerer", conn_id="anyscale_secret", entrypoint="echo", poll_interval=1)
    in_batch()
    on_a_worker()
"""


def test_the_secret_is_read_wherever_airflow_runs_with_the_least_policy(tmp_path: Path) -> None:
    project = tmp_path / "anyscale_job_secretsmanager"
    shutil.copytree(ROOT / "examples" / project.name, project)
    (project / "dags" / "secret_probe.py").write_text(SECRET_PROBE)
    settings = project / "skylift.toml"
    executors = ",".join((ECS_EXECUTOR, BATCH_EXECUTOR, CELERY_EXECUTOR))
    settings.write_text(settings.read_text().replace("[options]\n", f'[options]\n"core.executor" = "{executors}"\n', 1))
    with running(tmp_path / "home", iam="enforce") as stack:
        stack.must("up", str(project), "--with-anyscale")
        api = stack.airflow(project.name)
        until(lambda: "secret_parsed" in api.dags())
        api.trigger("secret_parsed", "r", {})
        until(lambda: api.call("GET", "/api/v2/dags/secret_parsed/dagRuns/r")["state"] in {"success", "failed"})
        ended = api.call("GET", "/api/v2/dags/secret_parsed/dagRuns/r/taskInstances")["task_instances"]
        told = stack.run("logs", "--env", project.name, "--dag", "secret_parsed").stdout + stack.log(60)
        assert [one["state"] for one in ended] == ["success"] * 3, told
        named = json.loads(stack.must("iam-policy", "--observed", "--json"))
        readers = {one["principal"] for one in named if one["action"] == "secretsmanager:GetSecretValue"}
        assert f"skylift-{project.name}" in str(readers)


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
    """Waits until it is so; an API server that does not answer is asked again."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Unavailable):
            if condition():
                return
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
