"""The operators in Airflow itself (its task runner, its triggers, its database): what each end is told as."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.local.anyscale.dag_runs import EXPECTED, DagRuns, run_dags

from skylift.testing import Cloud

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ended(skylift_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> DagRuns:
    return run_dags(Path(sys.executable), skylift_cloud, tmp_path_factory.mktemp("airflow"))


@pytest.mark.parametrize("name", EXPECTED)
def test_each_end_is_told(ended: DagRuns, name: str) -> None:
    assert name not in ended.unexpected(), ended.unexpected()[name]


def test_the_log_of_the_job_is_in_that_of_the_task(ended: DagRuns) -> None:
    assert ended.output.count("computed") >= 3
    assert "last words" in ended.output


def test_a_moved_dag_sends_what_it_says(ended: DagRuns) -> None:
    assert "from the module" in ended.output
    assert "for moved" in ended.output
    for left_out in ("big.csv", "a.secret"):
        assert left_out not in ended.output


def test_only_what_was_asked_for_was_submitted(ended: DagRuns) -> None:
    names = sorted(str(job["name"]).rpartition("-")[0] for job in ended.jobs)
    assert names == ["by", "containerfile", "ended_elsewhere", "exits", "good", "in_worker", "moved", "too_slow"]
    assert {job["state"] for job in ended.jobs if str(job["name"]).startswith("too_slow")} <= {"TERMINATED", "RUNNING"}


def test_no_key_is_printed(ended: DagRuns) -> None:
    assert "aph0_" not in ended.output
