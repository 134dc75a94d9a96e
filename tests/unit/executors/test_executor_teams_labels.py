"""The containers of a team's executor carry the team's name, on both computes; everybody's carry none."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from airflow.models import Connection
from tests.unit.executor_airflow import batch_conf, ecs_conf

from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.ecs import AwsEcsExecutor

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("kind", "conf"),
    [
        (AwsEcsExecutor, ecs_conf(check_health_on_startup="False")),
        (AwsBatchExecutor, batch_conf(check_health_on_startup="False")),
    ],
)
@pytest.mark.parametrize(("team", "labels"), [(None, {}), ("blue", {"team": "blue"})])
def test_a_team_is_a_label(
    kind: Any, conf: Any, team: str | None, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if team and "team_name" not in inspect.signature(Connection.get_connection_from_secrets).parameters:
        pytest.skip("Airflow 3.1 has no connections of teams")
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    executor = kind(parallelism=1)
    executor.conf, executor.team_name = conf, team
    compute = executor.make_compute()
    assert compute._labels == labels
    assert compute.explainer is not None, "who tells why a container died"
