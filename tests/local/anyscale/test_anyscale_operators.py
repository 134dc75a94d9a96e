"""The operators in Airflow itself (its task runner, its triggers, its database): what each end is told as."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.local.anyscale.conftest import IMAGE

from skylift.testing import Cloud
from skylift.testing.anyscale import Anyscale, running_anyscale

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]

DAGS = Path(__file__).with_name("anyscale_dags.py")
EXPECTED = {
    "good": "success",
    "in_worker": "success",
    "bad_key": "Anyscale answered 401 .*does not know this API key.*put it into the connection",
    "no_key": "The connection empty has no API key",
    "no_permission": "Anyscale answered 403 to the submission of job no_permission-.*may not do that",
    "exits": r"Job prodjob_\w+ failed \(OUT_OF_RETRIES\): job run jobrun_\w+: the entrypoint ended with exit code 3",
    "too_slow": r"took longer than job_timeout_seconds \(1\), and was ended",
    "containerfile": "containerfile, and a compute_config that is not a name.*give image_uri",
    "bad_number": "poll_interval is 'soon', and must be a number. Nothing was sent",
    "serves": "success",
    "both": "in_place replaces all at once",
    "sensor": "success",
}


@pytest.fixture(scope="module")
def ended(
    local_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[tuple[str, str]], list[dict[str, Any]], str]:
    """How each DAG ended, the jobs that there are, and all output."""
    home = tmp_path_factory.mktemp("airflow")
    with running_anyscale(local_cloud, home / "anyscale", image=IMAGE, rollout_seconds=0.5) as anyscale:
        unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS.parent),
            **connections(anyscale),
        }
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environ, check=True, capture_output=True)
        done = subprocess.run(
            [sys.executable, DAGS, home / "told.json"], env=environ, text=True, capture_output=True, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-3000:]
        told = json.loads((home / "told.json").read_text())
        return [(name, text) for name, text in told], anyscale.jobs(), output


def connections(anyscale: Anyscale) -> dict[str, str]:
    keys = {"MINE": anyscale.key, "WRONG": "aph0_wrong", "EMPTY": "", "LOOKER": anyscale.looker}
    return {f"AIRFLOW_CONN_{name}": json.dumps({**anyscale.connection, "password": key}) for name, key in keys.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_end_is_told(ended: Any, name: str) -> None:
    told = [text for one, text in ended[0] if one == name]
    assert told
    for text in told:
        assert re.search(EXPECTED[name], text), text


def test_the_log_of_the_job_is_in_that_of_the_task(ended: Any) -> None:
    assert ended[2].count("computed") >= 2
    assert "last words" in ended[2]


def test_only_what_was_asked_for_was_submitted(ended: Any) -> None:
    names = sorted(str(job["name"]).rpartition("-")[0] for job in ended[1])
    assert names == ["exits", "good", "in_worker", "too_slow"]
    assert {job["state"] for job in ended[1] if str(job["name"]).startswith("too_slow")} <= {"TERMINATED", "RUNNING"}


def test_no_key_is_printed(ended: Any) -> None:
    assert "aph0_" not in ended[2]
