"""The operators in Airflow itself (its task runner, its triggers, its database): what each end is told as."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
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
    "too_slow": r"took longer than job_timeout_seconds \(1\), and was ended. At last it was \w+",
    "containerfile": "Only Anyscale's own client can do this: containerfile.*requirements.txt.*give image_uri",
    "inline_compute": "Only Anyscale's own client can do this: compute_config.*compute_config='name:version'",
    "no_folder": "/nowhere is no folder on the worker",
    "no_compute": "There is no compute config gpu:3 in this cloud",
    "ended_elsewhere": r"Job prodjob_\w+ was ended by somebody at Anyscale \(TERMINATED\)",
    "bad_number": "poll_interval is 'soon', and must be a number. Nothing was sent",
    "serves": "success",
    "both": "in_place replaces all at once",
    "sensor": "success",
    "sick": r"did not serve within service_rollout_timeout_seconds \(3\): at last it was UNHEALTHY: out of memory",
    "broken": r"Service broken does not serve \(SYSTEM_FAILURE\): no nodes. Its page has its log",
    "moved": "success",
}


@pytest.fixture(scope="module")
def ended(
    skylift_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[tuple[str, str]], list[dict[str, Any]], str]:
    """How each DAG ended, the jobs that there are, and all output."""
    home = tmp_path_factory.mktemp("airflow")
    with running_anyscale(skylift_cloud, home / "anyscale", image=IMAGE, rollout_seconds=0.5) as anyscale:
        unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS.parent),
            "GUIDE_FOLDER": str(guide(home / "guide")),
            **connections(anyscale),
        }
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environ, check=True, capture_output=True)
        with (home / "output").open("w") as output:
            command = [sys.executable, str(DAGS), str(home / "told.json")]
            running = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
            while running.poll() is None:
                meddle(anyscale)
                time.sleep(0.1)
        text = (home / "output").read_text()
        assert running.returncode == 0, text[-3000:]
        told = json.loads((home / "told.json").read_text())
        return [(name, said) for name, said in told], anyscale.jobs(), text


def meddle(anyscale: Anyscale) -> None:
    """What others do at Anyscale, or what happens there by itself."""
    for job in anyscale.jobs():
        if str(job["name"]).startswith("ended_elsewhere-") and job["state"] == "RUNNING":
            anyscale.end_job(job["id"])
    for name, state, why in (("sick", "UNHEALTHY", "out of memory"), ("broken", "SYSTEM_FAILURE", "no nodes")):
        if name in anyscale.services():
            anyscale.set_service(name, state, why)


def guide(folder: Path) -> Path:
    """The files beside the DAG that was written for the existing provider."""
    contents = {
        "scripts/main.sh": f"ls; {sys.executable} -c 'import part; print(part.WORD)'; echo for $WHO\n",
        "scripts/big.csv": "1",
        "scripts/data/more": "1",
        "scripts/.gitignore": "*.secret",
        "scripts/a.secret": "1",
        "module/part.py": "WORD = 'from the module'\n",
    }
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


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


def test_a_moved_dag_sends_what_it_says(ended: Any) -> None:
    assert "from the module" in ended[2]
    assert "for moved" in ended[2]
    for left_out in ("big.csv", "a.secret"):
        assert left_out not in ended[2]


def test_only_what_was_asked_for_was_submitted(ended: Any) -> None:
    names = sorted(str(job["name"]).rpartition("-")[0] for job in ended[1])
    assert names == ["by", "ended_elsewhere", "exits", "good", "in_worker", "moved", "too_slow"]
    assert {job["state"] for job in ended[1] if str(job["name"]).startswith("too_slow")} <= {"TERMINATED", "RUNNING"}


def test_no_key_is_printed(ended: Any) -> None:
    assert "aph0_" not in ended[2]
