"""What differs between Airflow versions is the same through ``airflow_compat``; make test-airflow runs this on each of
them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.executors.executor_loader import ExecutorLoader
from airflow.jobs import scheduler_job_runner
from tests.unit.executor_airflow import callback_workload, task_workload

from skylift.executors import airflow_compat
from skylift.executors.executor import SkyliftExecutor
from skylift.executors.fleet.settle import WorkloadKind
from skylift.executors.in_container import main as in_container
from skylift.executors.orders import order_of

pytestmark = pytest.mark.unit


class Session:
    """Keeps what is executed, as a scheduler's session would on its way to the database."""

    def __init__(self) -> None:
        self.executed: deque[Any] = deque()

    def execute(self, statement: Any) -> None:
        self.executed.append(statement)


def test_a_task_instance_has_a_key_and_an_event_log() -> None:
    workload = task_workload("x")
    assert airflow_compat.kind_of(workload) is WorkloadKind.TASK
    assert airflow_compat.key_of(workload) == workload.ti.key
    assert airflow_compat.has_event_log(workload.ti.key)


def test_what_keeps_its_id_over_launches_may_have_a_container_already() -> None:
    # The id of a task instance's launch is new each time.
    assert not order_of(task_workload(), lambda: None).adopted
    assert order_of(callback_workload(), lambda: None).adopted


def test_a_callback_has_a_key_and_no_event_log() -> None:
    workload = callback_workload()
    assert airflow_compat.kind_of(workload) is WorkloadKind.CALLBACK
    key = airflow_compat.key_of(workload)
    assert str(key) == airflow_compat.external_id_of(workload)
    assert not airflow_compat.has_event_log(key)


def test_the_external_id_goes_along_and_stays_out_of_the_document() -> None:
    workload = airflow_compat.with_external_id(task_workload(executor_config={"a": 1}), "mine")
    assert airflow_compat.external_id_of(workload) == "mine"
    assert airflow_compat.executor_config_of(workload) == {"a": 1}
    document = airflow_compat.document_of(workload, lambda: None)()
    assert "external_executor_id" not in document
    assert "executor_config" not in json.loads(document)["ti"]
    again = in_container.parse(document)
    assert again.ti.key == workload.ti.key
    assert again.token == "secret-token"


def test_each_queuing_has_an_external_id_of_its_own_in_the_database() -> None:
    """By Airflow's scheduler or by us; a deferred task instance comes back with the old one."""
    session, workload = Session(), task_workload()
    assert airflow_compat.pre_assigned(workload, session, assigned=True) is workload
    assert not session.executed, "the scheduler has done it"
    first = airflow_compat.pre_assigned(workload, session, assigned=False)
    second = airflow_compat.pre_assigned(first, session, assigned=False)
    ids = [airflow_compat.external_id_of(one) for one in (workload, first, second)]
    assert len(set(ids)) == 3
    assert all(uuid.UUID(one) for one in ids)
    written = [statement.compile().params["external_executor_id"] for statement in session.executed]
    assert written == ids[1:]
    assert all("task_instance.map_index = " in str(statement) for statement in session.executed)


def test_what_is_launched_is_out_of_all_queues_that_there_are() -> None:
    executor = SimpleNamespace(queued_tasks={"a": 1, "b": 2})
    airflow_compat.unqueue(executor, "a")
    airflow_compat.unqueue(executor, "never there")
    assert executor.queued_tasks == {"b": 2}


def test_what_weighs_most_is_launched_first() -> None:
    light, heavy, middle = (task_workload(name) for name in ("light", "heavy", "middle"))
    for workload, weight in ((light, 1), (heavy, 9), (middle, 5)):
        workload.ti.priority_weight = weight
    executor = SkyliftExecutor(parallelism=2)
    for workload in (light, heavy, middle):
        executor.queue_workload(workload, session=None)
    executor.trigger_tasks(2)
    assert {key.task_id for key in executor.running} == {"heavy", "middle"}
    assert [key.task_id for key in executor.queued_tasks] == ["light"]


def test_stats_are_those_that_the_scheduler_has_set_up() -> None:
    """Airflow's SDK has a second set, which in a scheduler goes nowhere."""
    theirs = [vars(scheduler_job_runner).get(name) for name in ("stats", "Stats")]
    assert any(airflow_compat.stats is one for one in theirs if one is not None)


def test_without_remote_logging_there_is_no_remote_log() -> None:
    assert airflow_compat.remote_task_log() is None


NAMES = """
from airflow.executors.executor_loader import ExecutorLoader
from skylift.executors.airflow_compat import executor_names
try:
    ExecutorLoader.get_executor_names(validate_teams=False)
except TypeError:
    pass
print(executor_names())
"""

FOUND = """
import sys
from airflow.executors.executor_loader import ExecutorLoader
for name in sys.argv[1:]:
    ExecutorLoader.lookup_executor_name_by_str(name)
print(ExecutorLoader.get_default_executor_name().module_path)
"""

ECS, BATCH = "skylift.executors.ecs.AwsEcsExecutor", "skylift.executors.batch.AwsBatchExecutor"


@pytest.mark.parametrize(
    ("scheduler", "names", "default"),
    [
        (ECS, [ECS, "AwsEcsExecutor"], ECS),
        (f"{BATCH},night:{ECS}", [BATCH, "AwsBatchExecutor", "night", ECS, "AwsEcsExecutor"], BATCH),
        (f"LocalExecutor,{ECS}", ["LocalExecutor", "AwsEcsExecutor"], "airflow.executors.local_executor.LocalExecutor"),
        (f"{ECS};a={BATCH},far:elsewhere.Far;b=own:{ECS}", [ECS, BATCH, "far", "elsewhere.Far", "own"], ECS),
    ],
)
def test_a_container_knows_the_schedulers_executors_by_every_name(
    scheduler: str, names: list[str], default: str
) -> None:
    """Without being set up for teams, and without the classes."""
    if ";" in scheduler and not hasattr(ExecutorLoader, "_validate_teams_exist_in_database"):
        pytest.skip("this Airflow has no teams")
    told = _python(NAMES, AIRFLOW__CORE__EXECUTOR=scheduler, AIRFLOW__CORE__MULTI_TEAM=str(";" in scheduler))
    assert _python(FOUND, *names, AIRFLOW__CORE__EXECUTOR=told) == default


def _python(program: str, *words: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_what_we_do_not_run_is_of_no_kind() -> None:
    assert airflow_compat.kind_of(task_workload()) == "task"
    assert airflow_compat.kind_of(object()) is None
    assert airflow_compat.kind_of(None) is None
