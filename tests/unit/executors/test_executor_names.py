"""Executors by other names: the amazon provider's class paths as an alias, the user's own aliases, class names,
teams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit
THEIRS = "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor"
OURS = "skylift.executors.ecs.AwsEcsExecutor"
BATCH = "airflow.providers.amazon.aws.executors.batch.AwsBatchExecutor:skylift.executors.batch.AwsBatchExecutor"

ASKED = """
import json, logging, sys
from types import SimpleNamespace
from airflow.executors.executor_loader import ExecutorLoader
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.dag_processing.dagbag import DagBag
from skylift.executors import airflow_compat

names, dag = json.loads(sys.argv[1])
executors = ExecutorLoader.init_executors()
runner = SimpleNamespace(executors=executors, executor=executors[0], _multi_team=False, log=logging.getLogger("x"))
found = {}
for name in names:
    row = SimpleNamespace(get_executor_name=lambda: name)
    executor = SchedulerJobRunner._try_to_load_executor(runner, row, None, team_name=None)
    found[str(name)] = executor and [type(executor).__module__ + "." + type(executor).__name__, executor.team_name]
errors = list(DagBag(dag).import_errors.values()) if dag else []
print(json.dumps([found, airflow_compat.scheduler_assigns_all(), errors]))
"""


def asked(executor: str, names: list[str | None], folder: Path, dag: str | None = None) -> Any:
    """What a scheduler, and the parsing of a DAG, make of these names, in a process with this ``[core] executor``."""
    environ = os.environ | {
        "AIRFLOW__CORE__EXECUTOR": executor,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_HOME": str(folder),
    }
    told = subprocess.run(
        [sys.executable, "-c", ASKED, json.dumps([names, dag])],
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


def test_the_providers_path_as_an_alias_is_parsed_queued_and_adopted_by_ours(tmp_path: Path) -> None:
    dag = tmp_path / "dag.py"
    dag.write_text(
        textwrap.dedent(
            f"""
            from airflow.sdk import dag, task

            @dag(schedule=None)
            def migrated():
                @task(executor="{THEIRS}")
                def by_path(): ...

                @task(executor="AwsEcsExecutor")
                def by_class(): ...

                by_path() >> by_class()

            migrated()
            """
        )
    )
    names = [THEIRS, OURS, "AwsEcsExecutor", BATCH.partition(":")[0], "gone.Executor", None]
    found, assigns_all, errors = asked(f"{THEIRS}:{OURS},{BATCH}", names, tmp_path, dag=str(dag))
    ecs = ["skylift.executors.ecs.AwsEcsExecutor", None]
    # A row of the database is looked up by this when it is queued, and when it is adopted.
    assert found == {
        THEIRS: ecs,
        OURS: ecs,
        "AwsEcsExecutor": ecs,
        BATCH.partition(":")[0]: ["skylift.executors.batch.AwsBatchExecutor", None],
        "gone.Executor": None,
        "None": ecs,
    }
    assert errors == []
    assert assigns_all, "all executors ask the scheduler for an id"
    _, _, errors = asked(OURS, [None], tmp_path, dag=str(dag))
    assert len(errors) == 1, "without the alias, the whole file is lost"
    assert THEIRS in errors[0]


def test_beside_an_executor_that_asks_for_no_ids_ours_are_written_by_us(tmp_path: Path) -> None:
    found, assigns_all, _ = asked(f"LocalExecutor,mine:{OURS}", ["mine", "AwsEcsExecutor", None], tmp_path)
    assert found["mine"] == found["AwsEcsExecutor"] == ["skylift.executors.ecs.AwsEcsExecutor", None]
    assert found["None"][0].endswith("LocalExecutor")
    assert not assigns_all, "the scheduler passes over who names ours by its class"
