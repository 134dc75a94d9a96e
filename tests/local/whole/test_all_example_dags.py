"""All example DAGs in the image end under our executor as under LocalExecutor, Airflow task by Airflow task."""

from __future__ import annotations

import importlib.util
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.local.dag_outcomes import States, outcomes, patiently
from tests.local.standalone import image_of, standalone
from tests.stack import Stack

from skylift.cli.runs.airflow_api import AirflowApi

# Not in the long tier: it takes a quarter of an hour.
pytestmark = [pytest.mark.local, pytest.mark.soak, pytest.mark.timeout(3600)]

FOLDERS = {
    "core": "airflow/example_dags",
    "standard": "airflow/providers/standard/example_dags",
    "sql": "airflow/providers/common/sql/example_dags",
}
NOT_DAGS = ("__init__.py", "__pycache__", "plugins", "libs")

PLUGIN = '''
"""What the plugins beside Airflow's examples register, which only `load_examples` would load."""
from airflow.example_dags.plugins.business_day_window import BusinessDayWindow
from airflow.example_dags.plugins.custom_partition_mapper import PrefixStripMapper
from airflow.example_dags.plugins.custom_partition_timetable import ScheduledRuntimePartitionTimetable
from airflow.example_dags.plugins.decreasing_priority_weight_strategy import DecreasingPriorityStrategy
from airflow.example_dags.plugins.workday import AfterWorkdayTimetable
from airflow.plugins_manager import AirflowPlugin


class OfTheExamples(AirflowPlugin):
    name = "of_the_examples"
    partition_mappers = [PrefixStripMapper]
    priority_weight_strategies = [DecreasingPriorityStrategy]
    timetables = [AfterWorkdayTimetable, ScheduledRuntimePartitionTimetable]
    windows = [BusinessDayWindow]
'''

EMPTY = {"example_kubernetes_executor.py", "example_local_kubernetes_executor.py"}
"""Files that hold no DAG without the Kubernetes provider."""

LEAST = 113
"""So many there are at least."""

CONFS: dict[str, dict[str, Any]] = {
    "example_params_ui_tutorial": {"required_field": "long enough"},
}
"""What a run needs to be given."""

NOT_RUN: dict[str, str] = {
    "example_hitl_operator": "asks Airflow's user admin, whom IAM does not have, and would wait for ever",
    "example_sensors": "waits for a time of the day that is an hour away",
}
DICE: dict[str, str] = {
    "example_branch_operator": "the branches are drawn at random",
    "example_branch_python_operator_decorator": "the branches are drawn at random",
}
CALENDAR: dict[str, str] = {
    "example_branch_datetime_operator_2": "branches by the time of day",
    "example_weekday_branch_operator": "branches by the day of the week",
}
ORDER: dict[str, str] = dict.fromkeys(
    (
        "asset_with_extra_by_context",
        "asset_with_extra_by_yield",
        "asset_with_extra_from_classic_operator",
        "read_asset_event",
        "read_asset_event_from_classic",
    ),
    "two files give one address two names: Airflow takes the asset of the file that it parsed first, and refuses the other",
)
NOT_COMPARED = DICE | CALENDAR | ORDER

LONGEST_SECONDS = 1500


def test_all_example_dags_end_as_under_local_executor(stack: Stack, tmp_path: Path) -> None:
    project = _project(tmp_path / "all-examples")
    at = datetime.now(UTC)
    stack.must("up", str(project), seconds=900)
    ours = _outcomes(stack.airflow("all-examples"), project, at)
    stack.must("env", "delete", "all-examples")
    airflow = image_of(stack.home)
    plugins = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins")}
    with standalone(airflow, project / "dags", tmp_path / "standalone", more=plugins) as api:
        theirs = _outcomes(api, project, at)
    assert set(ours) == set(theirs)
    assert len(ours) + len(NOT_RUN) >= LEAST
    assert set(NOT_COMPARED) <= set(ours), "an exception without its DAG"
    different = {
        name: {
            task: (ours[name].get(task), state) for task, state in theirs[name].items() if ours[name].get(task) != state
        }
        for name in ours.keys() - NOT_COMPARED.keys()
        if ours[name] != theirs[name]
    }
    assert different == {}, "ours, theirs"


def _project(folder: Path) -> Path:
    """The files of the Airflow that the lock pins, unchanged; found without importing it."""
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    packages = Path(spec.origin).parents[1]
    for name, where in FOLDERS.items():
        shutil.copytree(packages / where, folder / "dags" / name, ignore=shutil.ignore_patterns(*NOT_DAGS))
    (folder / "plugins").mkdir()
    (folder / "plugins" / "of_the_examples.py").write_text(PLUGIN)
    return folder


def _outcomes(api: AirflowApi, project: Path, at: datetime) -> dict[str, States]:
    return outcomes(api, _all(api, project) - NOT_RUN.keys(), LONGEST_SECONDS, confs=CONFS, logical_date=at)


def _all(api: AirflowApi, project: Path) -> set[str]:
    """Ids of all DAGs, once each file is parsed (Airflow records the DAGs of a file together)."""
    wanted = {file.name for file in (project / "dags").rglob("*.py")} - EMPTY
    deadline = time.monotonic() + 900
    while missing := wanted - {Path(dag["fileloc"]).name for dag in patiently(api.dags).values()}:
        assert time.monotonic() < deadline, f"not parsed: {missing}; {patiently(api.import_errors)}"
        time.sleep(2)
    assert patiently(api.import_errors) == []
    return set(patiently(api.dags))
