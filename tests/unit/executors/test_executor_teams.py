"""Executors of teams in one scheduler: a team's mistake is that team's alone, and is told with its name."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.models import Connection
from tests.unit.executor_airflow import callback_workload, task_workload

from skylift.core.errors import Refused
from skylift.executors import airflow_compat
from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.ecs import AwsEcsExecutor

pytestmark = pytest.mark.unit
EVERYBODYS = {
    "CORE__MULTI_TEAM": "True",
    "AWS_ECS_EXECUTOR__CLUSTER": "c",
    "AWS_ECS_EXECUTOR__CONTAINER_NAME": "airflow",
    "AWS_ECS_EXECUTOR__TASK_DEFINITION": "t",
    "AWS_ECS_EXECUTOR__REGION_NAME": "us-east-1",
    "AWS_ECS_EXECUTOR__CHECK_HEALTH_ON_STARTUP": "False",
    "AWS_BATCH_EXECUTOR__JOB_QUEUE": "q",
    "AWS_BATCH_EXECUTOR__JOB_DEFINITION": "d",
    "AWS_BATCH_EXECUTOR__REGION_NAME": "us-east-1",
    "AWS_BATCH_EXECUTOR__CHECK_HEALTH_ON_STARTUP": "False",
}


@pytest.fixture
def everybody(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Options that are right for all; gives a list of executors, which are ended afterwards."""
    if "team_name" not in inspect.signature(Connection.get_connection_from_secrets).parameters:
        pytest.skip("Airflow 3.1 has no connections of teams")
    for name, value in EVERYBODYS.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)
    executors: list[Any] = []
    yield executors
    for one in executors:
        one.end()


WRONG = [
    (AwsEcsExecutor, "AWS_ECS_EXECUTOR__LAUNCH_TYPE", "fargate", "[aws_ecs_executor] launch_type"),
    (AwsEcsExecutor, "AWS_ECS_EXECUTOR__CONN_ID", "gone", "[aws_ecs_executor] conn_id of team 'red'"),
    (AwsEcsExecutor, "SKYLIFT__QUEUES", '{"b": {"subnets": null}}', "[skylift] queues"),
    (AwsEcsExecutor, "SKYLIFT__POLL_SECONDS", "never", "[skylift] poll_seconds"),
    (AwsBatchExecutor, "AWS_BATCH_EXECUTOR__JOB_QUEUE", "", "[aws_batch_executor] job_queue"),
    (AwsBatchExecutor, "SKYLIFT__BATCH_ARRAYS", "True", "batch_arrays needs payload_url"),
    (AwsEcsExecutor, "AWS_ECS_EXECUTOR__REGION_NAME", "no region", "Provided region_name"),
]


@pytest.mark.parametrize(("kind", "variable", "value", "named"), WRONG, ids=[f"{one[1]}={one[2]}" for one in WRONG])
def test_a_teams_mistake_fails_its_own_workloads_and_no_other_teams(
    everybody: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: type[Any],
    variable: str,
    value: str,
    named: str,
) -> None:
    monkeypatch.setenv(f"AIRFLOW__RED___{variable}", value)
    red, blue = kind(parallelism=2, team_name="red"), kind(parallelism=2, team_name="blue")
    everybody += [red, blue]
    for one in everybody:
        one.start()
    lines = [line for line in "".join(capsys.readouterr()).splitlines() if "cannot start" in line]
    assert len(lines) == 1, "one line, and of one team"
    assert f"{kind.__name__} of team 'red' cannot start: " in lines[0]
    assert named in lines[0]
    workloads = [task_workload(), callback_workload()]
    for workload in workloads:
        red.queue_workload(workload, session=None)
    events: dict[Any, Any] = {}
    until = time.monotonic() + 60
    while len(events) < len(workloads) and time.monotonic() < until:
        # The reason is written into the task instance's own log first, by a thread.
        red.heartbeat()
        events |= dict(red.get_event_buffer())
        time.sleep(0.02)
    assert {*events} == {airflow_compat.key_of(one) for one in workloads}
    for state, why in events.values():
        assert str(state).endswith("failed")
        assert named in str(why)
        assert "team 'red'" in str(why)
    assert not red.running, "no slot stays taken"
    assert not blue._cannot_start


def test_what_runs_of_a_team_that_cannot_start_is_neither_reset_nor_stopped(
    everybody: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__RED___AWS_ECS_EXECUTOR__LAUNCH_TYPE", "x")
    red = AwsEcsExecutor(parallelism=1, team_name="red")
    everybody.append(red)
    red.start()
    assert red.try_adopt_task_instances([object()]) == []
    assert not red.running
    red.revoke_task(ti=task_workload().ti)


def test_everybodys_mistake_still_stops_the_start(everybody: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AWS_ECS_EXECUTOR__LAUNCH_TYPE", "x")
    with pytest.raises(Refused, match=r"\[aws_ecs_executor\] launch_type"):
        AwsEcsExecutor().start()


@pytest.mark.parametrize("kind", [AwsEcsExecutor, AwsBatchExecutor])
def test_without_a_region_anywhere_the_start_says_what_to_set(
    everybody: list[Any], monkeypatch: pytest.MonkeyPatch, kind: type[Any]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    for section in ("ECS", "BATCH"):
        monkeypatch.setenv(f"AIRFLOW__AWS_{section}_EXECUTOR__REGION_NAME", "")
    with pytest.raises(Refused, match="You must specify a region: set AWS_REGION, or region_name") as refused:
        kind().start()
    assert "\n" not in str(refused.value)
