"""Runs of a project's DAGs in tests: by ``skylift test``, in the image, against the test's local cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DAGS = "SKYLIFT_DAGS"
"""The variable that tells a DAG its environment's bucket."""

SECONDS = 900.0


@dataclass(frozen=True)
class DagOutcome:
    """How a run ended.

    Attributes:
        success: whether the run succeeded.
        output: the logs of its tasks, as text; the last lines say why it failed.
    """

    success: bool
    output: str


def run_dag(
    dag_id: str,
    project: str | Path = ".",
    *,
    conf: Mapping[str, Any] | None = None,
    bucket: str = "",
    python: str = "",
    seconds: float = SECONDS,
) -> DagOutcome:
    """Runs a DAG once and waits for its end. Its AWS calls go where this process's AWS variables lead, if that is this
    machine.

    Args:
        project: the folder.
        conf: of the run.
        bucket: the DAG finds it as its environment's bucket; empty: as without an environment.
        python: a Python with Airflow and skylift; default: that of the environment's image.
        seconds: after which the run is ended, and fails the test by ``subprocess.TimeoutExpired``.
    """
    words = [sys.executable, "-m", "skylift.cli", "test", dag_id, str(project), "--conf", json.dumps(dict(conf or {}))]
    words += ["--python", python] if python else []
    environ = {name: value for name, value in os.environ.items() if name != DAGS}
    environ |= {DAGS: f"s3://{bucket}/dags"} if bucket else {}
    done = subprocess.run(
        words,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds,
    )
    return DagOutcome(done.returncode == 0, done.stdout)
