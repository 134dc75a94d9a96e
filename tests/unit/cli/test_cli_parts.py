"""``skylift ps`` from ECS's and Batch's answers, the logs of containers, and connections from URIs and JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skylift.cli.commands.ps import age, table
from skylift.cli.logs.airflow_tasks import named
from skylift.cli.logs.containers import is_container
from skylift.cli.parts.rows import MEBIBYTE, of_batch_job, of_ecs_task, ordered
from skylift.cli.runs.airflow_objects import connection_from, connection_of
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
NAMES = ["demo", "demo-two"]


def ecs_task(family: str, status: str = "RUNNING", **more: Any) -> dict[str, Any]:
    return {
        "taskArn": "arn:aws:ecs:us-east-1:0:task/skylift/" + "a" * 32,
        "taskDefinitionArn": f"arn:aws:ecs:us-east-1:0:task-definition/{family}:3",
        "lastStatus": status,
        "createdAt": NOW - timedelta(minutes=9),
        **more,
    }


def tags(**values: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def test_a_part_belongs_to_the_longest_name_that_fits() -> None:
    row = of_ecs_task(ecs_task("skylift-demo-two-scheduler", group="service:x"), {"processors": 0.5, "bytes": 7}, NAMES)
    assert (row.environment, row.name, row.kind, row.state) == ("demo-two", "scheduler", "part", "RUNNING")
    assert (row.cpu, row.memory, row.age(NOW), row.id) == (0.5, 7, 540.0, "a" * 32)


def test_an_airflow_task_has_its_own_name_and_says_why_it_ended() -> None:
    labels = tags(dag_id="etl", task_id="group.load", map_index="3", try_number="2")
    ended = ecs_task(
        "skylift-demo-task",
        "STOPPED",
        tags=labels,
        stoppedAt=NOW,
        stoppedReason="Essential container in task exited",
        stopCode="EssentialContainerExited",
        containers=[{"exitCode": 137, "reason": "OutOfMemoryError: too much"}],
    )
    row = of_ecs_task(ended, {}, NAMES)
    assert (row.environment, row.name, row.kind) == ("demo", "etl.group.load [3], try 2", "Airflow task")
    assert row.why == "Essential container in task exited; exit code 137, OutOfMemoryError: too much"
    well = of_ecs_task({**ended, "containers": [{"exitCode": 0}]}, {}, NAMES)
    assert well.why == ""


def test_others_work_is_listed_under_its_own_name() -> None:
    assert of_ecs_task(ecs_task("orders"), {}, NAMES).kind == "ECS task"
    assert of_ecs_task(ecs_task("skylift-demo-migrate"), {}, NAMES).kind == "one-off"
    job = {
        "jobId": "1",
        "jobName": "nightly",
        "status": "RUNNABLE",
        "statusReason": "no room",
        "jobQueue": "arn:aws:batch:us-east-1:0:job-queue/mine",
        "createdAt": 1_000,
    }
    row = of_batch_job(job, NAMES)
    assert (row.environment, row.name, row.state, row.why) == ("", "nightly", "RUNNABLE", "no room")
    own = of_batch_job({**job, "jobQueue": "x/skylift-demo-task", "tags": {"dag_id": "d", "task_id": "t"}}, NAMES)
    assert (own.environment, own.name) == ("demo", "d.t")


def test_parts_come_first_and_what_is_nobodys_last() -> None:
    rows = [
        of_ecs_task(ecs_task("orders"), {}, NAMES),
        of_ecs_task(ecs_task("skylift-demo-task", tags=tags(dag_id="d", task_id="t")), {}, NAMES),
        of_ecs_task(ecs_task("skylift-demo-scheduler", group="service:s"), {"bytes": 3 * MEBIBYTE}, NAMES),
    ]
    assert [one.name for one in ordered(rows)] == ["scheduler", "d.t", "orders"]
    assert table(rows, NOW).row_count == 3


def test_ages_for_people() -> None:
    assert [age(one) for one in (None, 3.4, 125, 8000, 260_000)] == ["-", "3 s", "2 min", "2 h", "3 d"]


@pytest.mark.parametrize(
    ("word", "is_one"),
    [
        ("a" * 32, True),
        ("arn:aws:ecs:us-east-1:0:task/skylift/" + "a" * 32, True),
        ("1b2c3d4e-1111-2222-3333-444455556666", True),
        ("1b2c3d4e-1111-2222-3333-444455556666:4", True),
        ("scheduler", False),
        ("etl.load", False),
    ],
)
def test_what_names_a_container(word: str, is_one: bool) -> None:
    assert is_container(word) is is_one


class Streams:
    """CloudWatch Logs with streams of some DAGs."""

    def __init__(self, *dags: str) -> None:
        self._dags = dags

    def describe_log_streams(self, **request: Any) -> dict[str, Any]:
        wanted = request["logStreamNamePrefix"]
        return {"logStreams": [{"logStreamName": one} for one in self._dags if f"dag_id={one}/" == wanted]}


def test_dots_may_be_in_a_dags_id_and_in_a_tasks() -> None:
    assert named(Streams("a.b"), "g", "a.b") == ("a.b", None)
    assert named(Streams("a.b"), "g", "a.b.c.d") == ("a.b", "c.d")
    assert named(Streams("a"), "g", "a.b.c") == ("a", "b.c")
    with pytest.raises(Refused, match="no DAG or DAG"):
        named(Streams("a"), "g", "x.y")


def test_a_connection_is_read_from_a_uri_as_airflow_does() -> None:
    found = connection_of("x", "postgresql://me:p%40ss@db.test:5432/sales?sslmode=require")
    assert found == {
        "conn_type": "postgres",
        "host": "db.test",
        "login": "me",
        "password": "p@ss",
        "schema": "sales",
        "port": 5432,
        "extra": '{"sslmode": "require"}',
    }
    assert connection_of("x", '{"conn_type": "aws", "extra": {"region_name": "x"}}') == {
        "conn_type": "aws",
        "extra": '{"region_name": "x"}',
    }
    assert connection_from("x", {"conn_type": "http", "is_encrypted": True, "host": ""}) == {"conn_type": "http"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("hunter2", "must be a URI"),
        ('{"conn_type": hunter2}', "is not JSON"),
        ('{"host": "hunter2"}', "needs conn_type"),
        ('{"conn_type": "x", "user": "hunter2"}', "has user, which"),
        ("http://me:hunter2@host:port/", "is not a URI"),
    ],
)
def test_a_wrong_connection_is_refused_without_its_value(value: str, told: str) -> None:
    with pytest.raises(Refused, match=told) as caught:
        connection_of("x", value)
    assert "hunter2" not in str(caught.value)


def test_a_table_of_connections_is_plain_json() -> None:
    assert json.loads(json.dumps(connection_of("x", "ftp://files.test"))) == {"conn_type": "ftp", "host": "files.test"}
