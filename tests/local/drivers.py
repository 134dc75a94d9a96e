"""Runs the drivers in this folder (``*_driver.py``), processes with their own Airflow, and returns their answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.local.ecs_cloud import OWNER, REGION

SOURCE = Path(__file__).parents[2]


def driven(
    driver: str, *words: str, variables: Mapping[str, str], answer: Path, seconds: float = 1100
) -> dict[str, Any]:
    """Runs a driver as a process; returns its answer, with its log as ``logged``."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(driver)), str(answer), *words],
        env={"PYTHONPATH": f"{SOURCE}:{SOURCE / 'src'}", **variables},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(done.stdout[-4000:] + done.stderr[-6000:])
    return {"logged": done.stdout + done.stderr, **json.loads(answer.read_text())}


def aws_variables(url: str) -> dict[str, str]:
    """The environment variables with which a process reaches a local cloud."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": OWNER.access_key,
        "AWS_SECRET_ACCESS_KEY": OWNER.secret,
        "AWS_REGION": REGION,
    }


def ecs_section(task_definition: str = "work") -> dict[str, str]:
    """``[aws_ecs_executor]`` for the ECS tasks of ``ecs_cloud.definition``."""
    return {
        "AIRFLOW__AWS_ECS_EXECUTOR__CLUSTER": "default",
        "AIRFLOW__AWS_ECS_EXECUTOR__CONTAINER_NAME": "main",
        "AIRFLOW__AWS_ECS_EXECUTOR__TASK_DEFINITION": task_definition,
        "AIRFLOW__AWS_ECS_EXECUTOR__REGION_NAME": REGION,
        "AIRFLOW__AWS_ECS_EXECUTOR__SUBNETS": "subnet-1",
    }


def batch_section(job_definition: str) -> dict[str, str]:
    """``[aws_batch_executor]`` for the Batch jobs of ``batch_cloud.define``."""
    return {
        "AIRFLOW__AWS_BATCH_EXECUTOR__JOB_QUEUE": "q",
        "AIRFLOW__AWS_BATCH_EXECUTOR__JOB_DEFINITION": job_definition,
        "AIRFLOW__AWS_BATCH_EXECUTOR__REGION_NAME": REGION,
    }
