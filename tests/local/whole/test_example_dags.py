"""Airflow's own example DAGs end the same, Airflow task by Airflow task, under our executors as under LocalExecutor."""

from __future__ import annotations

import importlib.util
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.local.dag_outcomes import States, outcomes
from tests.local.standalone import image_of, standalone
from tests.stack import Stack

from skylift.cli.runs.airflow_api import AirflowApi

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

LONGEST_SECONDS = 600

ECS, BATCH = "skylift.executors.ecs.AwsEcsExecutor", "skylift.executors.batch.AwsBatchExecutor"

OTHERWISE = """

# Added by the test: the same DAGs under another name, {whose} Airflow task on AWS Batch.
from airflow.sdk.definitions._internal.contextmanager import DagContext as _Context
for _dag in {{_one for _one in globals().values() if type(_one).__name__ == "DAG"}} | {{_one for _one, _ in _Context.autoregistered_dags}}:
    for _number, _task in enumerate(_dag.tasks):
        if _number % {every} == 0:
            getattr(_task, "partial_kwargs", _task.__dict__)["executor"] = "{executor}"
    if not _dag.dag_id.endswith("{suffix}"):
        _dag.dag_id += "{suffix}"
"""
"""What makes copies of the files: ``every`` 1 puts all on Batch, 2 every other one."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example DAGs."""
    return _with_files(tmp_path_factory.mktemp("project") / "examples")


@pytest.fixture(scope="module")
def theirs(stack: Stack, project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, States]:
    """How they end under LocalExecutor; needs an image, which ``skylift up`` has built."""
    with standalone(image_of(stack.home), project / "dags", tmp_path_factory.mktemp("standalone") / "home") as api:
        return _outcomes(api)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_example_dags_end_the_same_on_batch_alone_with_array_jobs(
    stack: Stack, project: Path, request: pytest.FixtureRequest
) -> None:
    stack.must("up", seconds=400)
    options = ("--option", f"core.executor={BATCH}", "--option", "skylift.batch_arrays=True")
    stack.must("env", "create", "arrays", str(project), *options, seconds=400)
    on_batch = _outcomes(stack.airflow("arrays"))
    jobs = _jobs(stack, "skylift-arrays-task")
    stack.must("env", "delete", "arrays")
    _compare(on_batch, request.getfixturevalue("theirs"))
    sizes = [one.get("arrayProperties", {}).get("size", 1) for one in jobs]
    ran = [state for states in on_batch.values() for state in states.values() if state in {"success", "failed"}]
    assert max(sizes) > 1, "no array job at all"
    assert len(sizes) < sum(sizes), f"{len(sizes)} SubmitJob for {sum(sizes)} workloads of {len(ran)} Airflow tasks"
    assert sum(sizes) >= len(ran) / 2, "the others are EmptyOperators, which run nowhere"


def test_example_dags_end_as_under_local_executor(stack: Stack, project: Path, request: pytest.FixtureRequest) -> None:
    stack.must("up", str(project), seconds=400)
    ours = _outcomes(stack.airflow("examples"))
    stack.must("env", "delete", "examples")
    _compare(ours, request.getfixturevalue("theirs"))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_example_dags_end_the_same_on_batch_and_on_both_at_once(
    stack: Stack, project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    copies = tmp_path / "both"
    for suffix, every, whose in (("_batch", 1, "each"), ("_both", 2, "every other")):
        shutil.copytree(project / "dags", copies / "dags" / suffix[1:])
        added = OTHERWISE.format(whose=whose, every=every, executor=BATCH, suffix=suffix)
        for file in (copies / "dags" / suffix[1:]).glob("*.py"):
            file.write_text(file.read_text() + added)
    stack.must("up", seconds=400)
    stack.must("env", "create", "both", str(copies), "--option", f"core.executor={ECS},{BATCH}", seconds=400)
    api = stack.airflow("both")
    on_batch, mixed = _outcomes(api, "_batch"), _outcomes(api, "_both")
    jobs = _jobs(stack, "skylift-both-task")
    stack.must("env", "delete", "both")
    theirs = request.getfixturevalue("theirs")
    _compare(on_batch, theirs)
    _compare(mixed, theirs)
    tags = [one["tags"] for one in jobs]
    for dag_id, states in on_batch.items():
        there = {one["task_id"] for one in tags if one["dag_id"] == f"{dag_id}_batch"}
        assert there, f"{dag_id}_batch: nothing of {set(states)} was a Batch job"
    some = {one["task_id"] for one in tags if one["dag_id"] == "example_bash_operator_both"}
    assert 0 < len(some) < len(mixed["example_bash_operator"]), "some on Batch, the others on ECS"


def _jobs(stack: Stack, queue: str) -> list[dict[str, Any]]:
    """All Batch jobs of a queue; arrays by their parents."""
    batch = stack.client("batch")
    filters = [{"name": "JOB_NAME", "values": ["*"]}]
    pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, filters=filters)
    ids = [one["jobId"] for page in pages for one in page["jobSummaryList"]]
    hundreds = [ids[start : start + 100] for start in range(0, len(ids), 100)]
    return [one for some in hundreds for one in batch.describe_jobs(jobs=some)["jobs"]]


def _compare(ours: dict[str, States], theirs: dict[str, States]) -> None:
    for dag_id in EXAMPLES:
        assert theirs[dag_id], f"{dag_id}: LocalExecutor ran nothing, so nothing is compared"
        if dag_id in RANDOM:
            assert _kinds(ours[dag_id]) == _kinds(theirs[dag_id]), dag_id
        else:
            assert ours[dag_id] == theirs[dag_id], dag_id


def _with_files(project: Path) -> Path:
    """The project, with the files of the Airflow that the lock pins; found without importing it."""
    (project / "dags").mkdir(parents=True)
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    packages = Path(spec.origin).parents[1]
    for name in EXAMPLES.values():
        shutil.copy(packages / name, project / "dags")
    # A template that one of them names lies beside it.
    shutil.copytree(packages / "airflow/providers/standard/example_dags/sql", project / "dags" / "sql")
    return project


def _outcomes(api: AirflowApi, suffix: str = "") -> dict[str, States]:
    """How the examples end, by the DAG's own name."""
    found = outcomes(api, [f"{name}{suffix}" for name in EXAMPLES], LONGEST_SECONDS)
    return {dag_id.removesuffix(suffix): states for dag_id, states in found.items()}


def _kinds(states: States) -> Counter[tuple[str, str]]:
    """Counts by state and by the name less its last part, so that branch_a and branch_d are of one kind."""
    return Counter((task_id.rpartition("_")[0], state) for (task_id, _), state in states.items())
