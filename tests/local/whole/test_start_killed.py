"""SIGKILL at each step of a container's start: work that never began according to Airflow's database is started
again."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from tests.local import batch_cloud
from tests.local.drivers import aws_variables, batch_section, driven, ecs_section
from tests.local.ecs_cloud import Cloud, definition
from tests.local.executor_api import execution_api, for_containers

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(3000)]

KILLS = """
import os, sys, time

AT, FILE, SKIP = os.environ.get("KILL_AT"), os.environ.get("KILL_FILE", ""), int(os.environ.get("KILL_SKIP", "0"))
FIRST = os.getpid()
busy = []


def reached(step):
    if step != AT or busy:
        return
    busy.append(True)
    with open(FILE, "a+") as file:
        file.write("x")
        file.seek(0)
        times = len(file.read())
    busy.clear()
    if times == SKIP + 1:
        os.kill(FIRST, 9)
        time.sleep(600)


def hook(event, args):
    if event == "import" and args[0] in IMPORTS:
        reached(IMPORTS[args[0]])
    elif event == "socket.connect" and isinstance(args[1], tuple):
        reached("start" if args[1][1] == int(os.environ["KILL_API_PORT"]) else "fetch")
    elif event == "os.fork":
        reached("fork")


IMPORTS = {"airflow.executors.workloads": "airflow", "airflow.sdk.execution_time.supervisor": "supervisor"}
if AT:
    sys.addaudithook(hook)
    reached("python")
"""
"""``sitecustomize`` of the containers: at the step that the environment names, the first process is killed, once."""

STEPS = ("python", "fetch", "airflow", "supervisor", "fork", "start")

DAG = """
import json
import sys
from airflow.sdk import dag, task


@dag(schedule=None)
def d():
    for name, config in json.loads(CONFIGS).items():
        @task(task_id=name, executor_config=config)
        def one():
            sys.modules["sitecustomize"].reached("task")
        one()


d()
"""


@pytest.fixture(scope="module")
def both(cloud: Cloud) -> Cloud:
    """The cloud, with a job queue of Batch."""
    batch_cloud.prepare(cloud.client("batch"))
    return cloud


def config(kind: str, home: Path, name: str, step: str, skip: int = 0) -> dict[str, Any]:
    words = {"KILL_AT": step, "KILL_FILE": str(home / f"{name}.reached"), "KILL_SKIP": str(skip)}
    override = {"environment": [{"name": name, "value": value} for name, value in words.items()]}
    return {"containerOverrides": override} if kind == "Batch" else {"overrides": {"containerOverrides": [override]}}


@pytest.mark.parametrize(("kind", "warm"), [("Ecs", 0), ("Batch", 0), ("Ecs", 60)])
def test_what_never_began_is_made_again_wherever_it_is_killed(
    both: Cloud, tmp_path: Path, kind: str, warm: int
) -> None:
    configs = {name: config(kind, tmp_path, name, name) for name in (*STEPS, "task")}
    handed = {
        f"handed_{step}": config(kind, tmp_path, f"handed_{step}", step, 1)
        for step in ("airflow", "fork", "start")
        if warm
    }
    # Of the same kind as the one before, so it goes into the same container, and is what is killed there.
    configs |= handed | {f"{name}_next": one for name, one in handed.items()}
    home = tmp_path / "home"
    with execution_api(home, DAG.replace("CONFIGS", repr(json.dumps(configs)))) as api:
        site = tmp_path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(KILLS)
        source = Path(__file__).parents[3]
        port = api.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].rpartition(":")[2].partition("/")[0]
        path = f"{site}:{sysconfig.get_path('purelib')}:{source / 'src'}"
        environment = for_containers(api.environ, PYTHONPATH=path, KILL_API_PORT=port)
        name = f"killed-{kind}-{warm}"
        if kind == "Batch":
            batch_cloud.define(both.client("batch"), "true", name=name, environment=environment)
        else:
            both.client().register_task_definition(**definition("true", environment=environment) | {"family": name})
        words = [f"skylift.executors.{kind.lower()}.Aws{kind}Executor", *STEPS, "task", *handed]
        words += ["--", *(f"{name}_next" for name in handed)]
        variables = api.environ | aws_variables(both.url) | ecs_section(name) | batch_section(name)
        variables |= {
            "AIRFLOW__SKYLIFT__PAYLOAD_URL": f"s3://workloads/{name}",
            "AIRFLOW__SKYLIFT__WARM_SECONDS": str(warm),
        }
        found = driven("start_driver.py", *words, variables=variables, answer=tmp_path / "answer.json", seconds=1500)
    del found["logged"]
    task = found.pop("task")
    assert task["state"] == "failed", task
    assert any("exit code 137" in line for line in task["log"]), task
    assert {name: one["state"] for name, one in found.items()} == dict.fromkeys(found, "success"), found
    for step in STEPS:
        assert any("never began, another follows" in line for line in found[step]["log"]), (step, found[step])
