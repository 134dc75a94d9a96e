"""Anyscale on the older Airflow versions: jobs and services end there as on the one in skylift's own environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.airflow.test_airflow_versions import OLD, venv_of
from tests.local.anyscale.conftest import IMAGE
from tests.local.anyscale.dag_runs import run_dags

from skylift.testing import running_cloud

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]


@pytest.mark.parametrize("version", OLD)
def test_every_end_is_told_on_an_older_airflow(version: str, tmp_path: Path) -> None:
    with running_cloud(tmp_path / "cloud", images={IMAGE: sys.prefix}) as cloud:
        ended = run_dags(venv_of(version) / "bin" / "python", cloud, tmp_path / "airflow")
    assert ended.unexpected() == {}, ended.output[-3000:]
    assert ended.output.count("computed") >= 2
    assert "aph0_" not in ended.output
