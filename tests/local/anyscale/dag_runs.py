"""Runs the DAGs of ``anyscale_dags.py`` in any Airflow, beside a fake of Anyscale, and says how each must end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.local.anyscale.conftest import IMAGE

from skylift.testing import Cloud
from skylift.testing.anyscale import Anyscale, running_anyscale

DAGS = Path(__file__).with_name("anyscale_dags.py")
EXPECTED = {
    "good": "success",
    "in_worker": "success",
    "bad_key": "Anyscale answered 401 .*does not know this API key.*put it into the connection",
    "no_key": "The connection empty has no API key",
    "no_permission": "Anyscale answered 403 to the submission of job no_permission-.*may not do that",
    "exits": r"Job prodjob_\w+ failed \(OUT_OF_RETRIES\): job run jobrun_\w+: the entrypoint ended with exit code 3",
    "too_slow": r"took longer than job_timeout_seconds \(1\), and was ended. At last it was \w+",
    "containerfile": "success",
    "bad_containerfile": r"could not build an image from \S+/Bad \(failed\): the line 'RUN false' failed. Its log: http",
    "inline_compute": "Only Anyscale's own client can do this: compute_config.*requirements.txt.*='name:version'",
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


@dataclass(frozen=True)
class DagRuns:
    """What became of the DAGs.

    Attributes:
        wanted: the DAGs that ran.
        told: name and end of each DAG run, in order.
        jobs: those that Anyscale has afterwards.
        output: of Airflow.
    """

    wanted: Sequence[str]
    told: list[tuple[str, str]]
    jobs: list[dict[str, Any]]
    output: str

    def unexpected(self) -> dict[str, list[str]]:
        """The DAGs that ended otherwise than they must, and how."""
        ends = {name: [text for one, text in self.told if one == name] for name in self.wanted}
        return {
            name: texts
            for name, texts in ends.items()
            if not texts or not all(re.search(EXPECTED[name], text) for text in texts)
        }


def run_dags(python: Path, cloud: Cloud, home: Path, wanted: Sequence[str] = tuple(EXPECTED)) -> DagRuns:
    """Runs them.

    Args:
        python: of the environment that has Airflow.
        cloud: in which the jobs run; it must have the image ``IMAGE``.
        home: a folder for this alone.
        wanted: ids of the DAGs.
    """
    with running_anyscale(cloud, home / "anyscale", image=IMAGE, rollout_seconds=0.5) as anyscale:
        unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW", "PYTHON", "VIRTUAL_ENV")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS.parent),
            "GUIDE_FOLDER": str(guide(home / "guide")),
            **connections(anyscale),
        }
        subprocess.run([python, "-m", "airflow", "db", "migrate"], env=environ, check=True, capture_output=True)
        with (home / "output").open("w") as output:
            running = subprocess.Popen(
                [python, DAGS, home / "told.json", *wanted], env=environ, stdout=output, stderr=output
            )
            while running.poll() is None:
                meddle(anyscale)
                time.sleep(0.1)
        text = (home / "output").read_text()
        assert running.returncode == 0, text[-3000:]
        told = json.loads((home / "told.json").read_text())
        return DagRuns(wanted, [(name, said) for name, said in told], anyscale.jobs(), text)


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
        "Containerfile": "FROM anyscale/ray:2.59.0-py311\nRUN pip install six\n",
        "Bad": "FROM anyscale/ray:2.59.0-py311\nRUN false\n",
        "module/part.py": "WORD = 'from the module'\n",
    }
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def connections(anyscale: Anyscale) -> dict[str, str]:
    keys = {"MINE": anyscale.key, "WRONG": "aph0_wrong", "EMPTY": "", "LOOKER": anyscale.looker}
    return {f"AIRFLOW_CONN_{name}": json.dumps({**anyscale.connection, "password": key}) for name, key in keys.items()}
