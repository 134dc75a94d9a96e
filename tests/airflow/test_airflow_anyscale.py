"""Anyscale on the older Airflow versions: jobs and services end there as on the one in skylift's own environment.

Only a few DAGs, each of which needs something else of Airflow: ``dag.test`` takes seconds there for each Airflow task.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.airflow.test_airflow_versions import OLD, venv_of
from tests.local.anyscale.conftest import IMAGE
from tests.local.anyscale.dag_runs import DagRuns, run_dags

from skylift.testing import running_cloud

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]
DAGS = ("good", "exits", "ended_elsewhere", "serves", "sensor", "moved")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DagRuns]]:
    """What became of the DAGs, by version; all versions at once, because a DAG mostly waits."""
    home = tmp_path_factory.mktemp("anyscale")
    with running_cloud(home / "cloud", images={IMAGE: sys.prefix}) as cloud, ThreadPoolExecutor() as pool:
        runs = {one: pool.submit(run_dags, venv_of(one) / "bin" / "python", cloud, home / one, DAGS) for one in OLD}
        yield {version: run.result() for version, run in runs.items()}


@pytest.mark.parametrize("version", OLD)
def test_every_end_is_told_on_an_older_airflow(ended: dict[str, DagRuns], version: str) -> None:
    found = ended[version]
    assert found.unexpected() == {}, found.output[-3000:]
    assert "computed" in found.output
    assert "aph0_" not in found.output
