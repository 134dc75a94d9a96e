"""Airflow's own example DAGs end the same, Airflow task by Airflow task, under AwsEcsExecutor as under LocalExecutor."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.local.standalone import standalone
from tests.stack import Stack

from skylift.cli.airflow_api import AirflowApi
from skylift.core.errors import Refused, Unavailable

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]

EXAMPLES = {
    "tutorial": "airflow/example_dags/tutorial.py",
    "tutorial_taskflow_api": "airflow/example_dags/tutorial_taskflow_api.py",
    "example_dynamic_task_mapping": "airflow/example_dags/example_dynamic_task_mapping.py",
    "example_task_group": "airflow/example_dags/example_task_group.py",
    "example_xcom": "airflow/example_dags/example_xcom.py",
    "example_setup_teardown": "airflow/example_dags/example_setup_teardown.py",
    "example_branch_operator": "airflow/providers/standard/example_dags/example_branch_operator.py",
    "example_bash_operator": "airflow/providers/standard/example_dags/example_bash_operator.py",
    "example_sensor_decorator": "airflow/providers/standard/example_dags/example_sensor_decorator.py",
    "example_python_operator": "airflow/providers/standard/example_dags/example_python_operator.py",
}
"""DAG id to file, unchanged, as Airflow ships it."""

RANDOM = {"example_branch_operator"}
"""DAGs that roll dice: compared by how many of each kind of Airflow task ended how."""

RUN_ID = "compared"
LONGEST_SECONDS = 600

States = dict[tuple[str, int], str]
T = TypeVar("T")


def test_example_dags_end_as_under_local_executor(stack: Stack, tmp_path: Path) -> None:
    project = tmp_path / "examples"
    (project / "dags").mkdir(parents=True)
    stack.must("up", str(_with_files(project)), seconds=400)
    ours = _outcomes(stack.airflow("examples"))
    stack.must("env", "delete", "examples")

    airflow = next(iter(sorted((stack.home / "images").glob("*/bin/airflow"))))
    with standalone(airflow, project / "dags", tmp_path / "standalone") as api:
        theirs = _outcomes(api)

    for dag_id in EXAMPLES:
        assert theirs[dag_id], f"{dag_id}: LocalExecutor ran nothing, so nothing is compared"
        if dag_id in RANDOM:
            assert _kinds(ours[dag_id]) == _kinds(theirs[dag_id]), dag_id
        else:
            assert ours[dag_id] == theirs[dag_id], dag_id


def _with_files(project: Path) -> Path:
    """The project, with the files of the Airflow that the lock pins; found without importing it."""
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    packages = Path(spec.origin).parents[1]
    for name in EXAMPLES.values():
        shutil.copy(packages / name, project / "dags")
    # A template that one of them names lies beside it.
    shutil.copytree(packages / "airflow/providers/standard/example_dags/sql", project / "dags" / "sql")
    return project


def _outcomes(api: AirflowApi) -> dict[str, States]:
    """Triggers all at once; the final state of every Airflow task instance of each run."""
    _until_parsed(api)
    for dag_id in EXAMPLES:
        _patiently(lambda one=dag_id: api.unpause(one))
        _patiently(lambda one=dag_id: _trigger(api, one))
    deadline = time.monotonic() + LONGEST_SECONDS
    waiting = set(EXAMPLES)
    while waiting and time.monotonic() < deadline:
        waiting = {dag_id for dag_id in waiting if not _over(api, dag_id)}
        time.sleep(1)
    assert not waiting, f"still running after {LONGEST_SECONDS} s: { {one: _states(api, one) for one in waiting} }"
    return {dag_id: _states(api, dag_id) for dag_id in EXAMPLES}


def _over(api: AirflowApi, dag_id: str) -> bool:
    return _patiently(lambda: api.run_state(dag_id, RUN_ID)) in {"success", "failed"}


def _trigger(api: AirflowApi, dag_id: str) -> None:
    try:
        api.trigger(dag_id, RUN_ID, {})
    except Refused as error:
        if "409" not in str(error):  # asked before, with an answer that did not arrive
            raise


def _patiently(call: Callable[[], T]) -> T:
    """The call's answer; an API server that is slow under 60 Airflow tasks at once is asked again for two minutes."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _until_parsed(api: AirflowApi) -> None:
    deadline = time.monotonic() + 120
    while missing := set(EXAMPLES) - set(_patiently(api.dags)):
        assert time.monotonic() < deadline, f"not parsed: {missing}; {json.dumps(api.import_errors())[:2000]}"
        time.sleep(0.5)


def _states(api: AirflowApi, dag_id: str) -> States:
    lines = _patiently(lambda: api.task_lines(dag_id, RUN_ID))
    return {(line.task_id, line.map_index): line.state for line in lines}


def _kinds(states: States) -> Counter[tuple[str, str]]:
    """Counts by state and by the name less its last part, so that branch_a and branch_d are of one kind."""
    return Counter((task_id.rpartition("_")[0], state) for (task_id, _), state in states.items())
