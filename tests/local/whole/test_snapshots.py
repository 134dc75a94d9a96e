"""Snapshots of a real environment: what is put back is what was there, row by row; a killed restore leaves all old rows
or all new ones; a clone has the same rows and runs nothing."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from tests.stack import Stack

pytestmark = [pytest.mark.local, pytest.mark.soak]
NAME, COPY, PREVIEW = "kept", "kept-copy", "kept-preview"
DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def numbers():
    @task
    def some():
        return [1, 2, 3]
    @task
    def double(n):
        return 2 * n
    double.expand(n=some())

numbers()
"""
COLUMNS = {
    "connection": "conn_id, conn_type, host, login, password, extra",
    "variable": "key, val, description",
    "slot_pool": "pool, slots, include_deferred",
    "dag_run": "id, dag_id, run_id, state, logical_date, start_date, end_date, conf::text, run_type",
    "task_instance": "id, dag_id, run_id, task_id, map_index, state, try_number, start_date, end_date, hostname",
    "xcom": "dag_id, run_id, task_id, map_index, key, value::text",
    "log": "id, dttm, dag_id, task_id, event, extra",
}


@pytest.fixture(scope="module")
def project(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("projects") / NAME
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "numbers.py").write_text(DAG)
    stack.must("up", str(folder), "--run")
    stack.must("connections", "set", "db", "postgres://me:pw@db.test/x", "--env", NAME)
    stack.must("variables", "set", "colour", "blue", "--env", NAME)
    yield folder
    for name in (PREVIEW, COPY, NAME):
        stack.run("env", "delete", name, "--yes")


def database(stack: Stack, name: str = NAME) -> Any:
    secret = stack.client("secretsmanager").get_secret_value(SecretId=f"skylift/{name}/database")["SecretString"]
    at = json.loads(secret)
    return psycopg.connect(
        host=at["host"], port=at["port"], dbname=at["dbname"], user=at["username"], password=at["password"]
    )


def rows(stack: Stack, name: str = NAME, *leave_out: str) -> dict[str, list[Any]]:
    """Rows of named columns, by table."""
    with database(stack, name) as connection:
        return {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3, 4").fetchall()
            if table not in leave_out and columns.count(",") >= 3
            else connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
            for table, columns in COLUMNS.items()
            if table not in leave_out
        }


def damage(stack: Stack) -> None:
    with database(stack) as connection:
        for table in ("xcom", "task_instance", "dag_run", "connection"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE variable SET val = 'lost'")


def test_what_is_put_back_is_what_was_there(stack: Stack, project: Path) -> None:
    taken = stack.must("snapshot", NAME).strip()
    # What Airflow itself goes on to write: the event log, and heartbeats that are not compared.
    before = rows(stack, NAME, "log")
    assert len(before["task_instance"]) == 4
    assert len(before["xcom"]) >= 4
    s3 = stack.client("s3")
    body = s3.get_object(Bucket=f"skylift-{NAME}", Key="dags/numbers.py")["Body"].read()
    damage(stack)
    s3.delete_object(Bucket=f"skylift-{NAME}", Key="dags/numbers.py")
    assert rows(stack, NAME, "log") != before
    assert [one["id"] for one in json.loads(stack.must("snapshots", NAME, "--json"))] == [taken]
    stack.must("restore", NAME, taken, "--yes")
    assert rows(stack, NAME, "log") == before
    assert s3.get_object(Bucket=f"skylift-{NAME}", Key="dags/numbers.py")["Body"].read() == body
    stack.must("run", "numbers", "--env", NAME)  # and numbers go on after the highest


def test_a_restore_that_is_killed_leaves_the_old_rows_or_the_new(stack: Stack, project: Path) -> None:
    stack.must("snapshot", NAME)
    new = rows(stack, NAME, "log")
    stack.must("stop", NAME, "--yes")
    damage(stack)
    old = rows(stack, NAME, "log")
    assert old != new
    dice, outcomes = random.Random(), set()
    for _ in range(8):
        delay = dice.uniform(0.0, 3.0)
        arn = one_restore(stack)
        time.sleep(delay)  # when it dies is what is tried; nothing depends on how fast anything is
        kill(arn)
        ended(stack, arn)
        now = rows(stack, NAME, "log")
        assert now in (old, new), f"killed after {delay:.2f} s"
        outcomes.add(now == new)
        if now == new:
            damage(stack)
    print(f"new rows after a kill: {outcomes}")
    ended(stack, one_restore(stack))
    assert rows(stack, NAME, "log") == new
    stack.must("start", NAME)


def one_restore(stack: Stack) -> str:
    newest = json.loads(stack.must("snapshots", NAME, "--json"))[-1]["id"]
    environment = stack.client("mwaa").get_environment(Name=NAME)["Environment"]["NetworkConfiguration"]
    started = stack.client("ecs").run_task(
        cluster="skylift",
        taskDefinition=f"skylift-{NAME}-migrate",
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": environment["SubnetIds"],
                "securityGroups": environment["SecurityGroupIds"],
            }
        },
        overrides={
            "containerOverrides": [
                {"name": "airflow", "command": ["restore", f"s3://skylift-{NAME}/snapshots/{NAME}/{newest}"]}
            ]
        },
    )
    return str(started["tasks"][0]["taskArn"])


def kill(arn: str) -> None:
    """Kills the container's processes: those that know their ECS task by its id."""
    for one in psutil.process_iter():
        try:
            if arn.rpartition("/")[2] in one.environ().get("ECS_CONTAINER_METADATA_URI_V4", ""):
                one.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue


def ended(stack: Stack, arn: str) -> None:
    deadline = time.monotonic() + 300
    while stack.client("ecs").describe_tasks(cluster="skylift", tasks=[arn])["tasks"][0]["lastStatus"] != "STOPPED":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_clone_has_the_rows_and_runs_nothing(stack: Stack, project: Path) -> None:
    before = rows(stack, NAME, "log")
    stack.must("clone", NAME, COPY)
    assert rows(stack, COPY, "log") == before
    with database(stack, COPY) as connection:
        assert connection.execute("SELECT DISTINCT is_paused FROM dag").fetchall() == [(True,)]
    assert "db" in stack.must("connections", "list", "--env", COPY)
    stack.must("connections", "export", str(project.parent / "copied.json"), "--env", COPY)
    assert json.loads((project.parent / "copied.json").read_text())["db"]["password"] == "pw", (
        "with the same Fernet key"
    )
    stack.must("run", "numbers", "--env", COPY)
    assert len(rows(stack, COPY, "log")["dag_run"]) == len(before["dag_run"]) + 1
    assert rows(stack, NAME, "log") == before


def test_a_clone_has_the_files_of_another_folder(stack: Stack, project: Path) -> None:
    branch = project.parent / "branch"
    (branch / "dags").mkdir(parents=True)
    (branch / "dags" / "more.py").write_text(DAG.replace("numbers", "more"))
    stack.must("snapshot", NAME)
    taken = stack.must("snapshot", NAME, "--keep", "2").strip()
    there = [one["id"] for one in json.loads(stack.must("snapshots", NAME, "--json"))]
    assert (len(there), there[-1]) == (2, taken)
    before = rows(stack, NAME, "log")
    stack.must("clone", NAME, PREVIEW, "--project", str(branch), "--snapshot", taken)
    assert rows(stack, PREVIEW, "log") == before
    keys = {one["Key"] for one in stack.client("s3").list_objects_v2(Bucket=f"skylift-{PREVIEW}")["Contents"]}
    assert keys == {"dags/more.py"}
    stack.must("run", "more", "--env", PREVIEW)


def test_a_part_is_restarted(stack: Stack, project: Path) -> None:
    ecs = stack.client("ecs")
    service = {"cluster": "skylift", "serviceName": f"skylift-{NAME}-dag-processor"}
    before = ecs.list_tasks(**service)["taskArns"]
    stack.must("restart", "dag-processor", "--env", NAME)
    after = ecs.list_tasks(**service)["taskArns"]
    assert len(after) == 1
    assert before != after
