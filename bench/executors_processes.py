"""Drivers of the bench as processes: their environment, how they are started, and what they answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import aws_limits_batch, aws_limits_ecs
from bench.aws_limits import SECRET

ROOT = Path(__file__).parents[1]
PAYLOADS = "s3://bench/workloads"


class NotThere(Exception):
    """The executor does not exist (yet)."""


class Driver:
    """One process around one executor.

    Args:
        url: of the bench's AWS.
        whose: ``ours`` or ``provider``.
        kind: ``ecs`` or ``batch``.
        scenario: a function of ``executors_scenarios`` or its sisters.
        options: Airflow's options for it, e.g. ``skylift__batch_arrays``.
        asked: the scenario's arguments.
    """

    def __init__(
        self, url: str, whose: str, kind: str, scenario: str, options: dict[str, str] | None = None, **asked: Any
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="skylift-bench-")
        home = Path(self._folder.name)
        self._answer, self._log = home / "answer.json", home / "driver.log"
        self._who = f"{whose} {kind} {scenario}"
        account = f"{whose}{kind}{scenario}{home.name[-8:]}".upper().replace("_", "")
        words = [sys.executable, "-m", "bench.executors_driver", whose, kind, scenario, json.dumps(asked)]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*words, str(self._answer)],
                env=variables(url, home, kind, whose, account, options or {}),
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def answer(self, seconds: float = 400) -> dict[str, Any]:
        """Waits for its end. Raises ``NotThere``, or ``RuntimeError`` with the end of its log."""
        try:
            code = self.process.wait(seconds)
            if code == 0:
                return json.loads(self._answer.read_text())  # type: ignore[no-any-return]
            text = self._log.read_text()
            if code == 3:
                raise NotThere(text.strip().splitlines()[-1])
            raise RuntimeError(f"{self._who} ended with {code}: {text[-3000:]}")
        finally:
            self.end()

    def end(self) -> None:
        """Kills it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()


def variables(url: str, home: Path, kind: str, whose: str, account: str, options: dict[str, str]) -> dict[str, str]:
    """A clean environment: the bench's AWS, an Airflow without a database, the executor's section."""
    unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    ecs = {
        "cluster": aws_limits_ecs.CLUSTER,
        "container_name": aws_limits_ecs.CONTAINER,
        "task_definition": aws_limits_ecs.DEFINITION,
        "launch_type": "FARGATE",
        "subnets": "subnet-1",
    }
    batch = {"job_queue": aws_limits_batch.QUEUE, "job_definition": aws_limits_batch.DEFINITION, "job_name": "airflow"}
    section = f"aws_{kind}_executor__"
    ours = {"skylift__payload_url": PAYLOADS} if whose == "ours" else {}
    settings = {section + name: value for name, value in (ecs if kind == "ecs" else batch).items()}
    settings |= {section + "region_name": aws_limits_ecs.REGION, section + "check_health_on_startup": "True"}
    settings |= ours | options
    return clean | {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": aws_limits_ecs.REGION,
        "AWS_DEFAULT_REGION": aws_limits_ecs.REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__API_AUTH__JWT_SECRET": "bench-" * 16,
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        **{"AIRFLOW__" + name.upper(): value for name, value in settings.items()},
    }
