"""What the fleet does by default is what the options' defaults say."""

from __future__ import annotations

import pytest
from tests.unit.executor_airflow import ecs_conf

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
