"""What the fleet does by default is what the options' defaults say."""

from __future__ import annotations

import inspect

import pytest
from airflow.executors.workloads import ExecuteTask
from tests.unit.executor_airflow import ecs_conf

from skylift.executors import airflow_compat
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.fleet.timing import Timing

pytestmark = pytest.mark.unit


def test_a_fleet_without_options_is_one_whose_options_nobody_set() -> None:
    executor = AwsEcsExecutor(parallelism=1)
    executor.conf = ecs_conf()  # type: ignore[assignment]
    told, default = executor.timing(), Timing()
    for name in ("young", "old", "grace", "most_attempts", "launches", "calls", "capacity", "unanswered"):
        assert getattr(told, name) == getattr(default, name), name
    assert (default.looks, default.look_all, default.reconcile, default.ask) == (10, 1, 300, 30)
    assert (default.linger, default.token, default.eventful) == (0, 0, False)


def test_a_token_is_valid_as_long_as_this_airflow_says() -> None:
    """Since 3.2 a workload's token lives as long as it may be queued; before, like any token of the API."""
    asked: list[tuple[str, str]] = []

    class Configuration:
        def __init__(self, value: str | None) -> None:
            self.value = value

        def get(self, section: str, option: str, fallback: None) -> str | None:
            asked.append((section, option))
            return self.value

    since_3_2 = ("scheduler", "task_queued_timeout")
    before = ("execution_api", "jwt_expiration_time")
    assert airflow_compat.token_seconds(Configuration("77")) == 77.0
    assert airflow_compat.token_seconds(Configuration(None)) == 600.0
    makes_tokens = "generator" in inspect.signature(getattr(ExecuteTask, "generate_token", lambda: None)).parameters
    assert asked == [since_3_2 if makes_tokens else before] * 2
