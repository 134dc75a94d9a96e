"""What tests of other people's software need: its environment, and a local cloud whose ``python`` is cheap and leaves a
trace."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.local.drivers import aws_variables
from tests.local.ecs_cloud import LOG_GROUP, REGION, Cloud

BATCH_LOGS = "/aws/batch/job"
# The words of an Airflow executor's command are: python -m MODULE --json-string PAYLOAD. It says what it got, and one
# in ten fails.
SHIM = """#!/bin/sh
printf '%s\\n' "$4"
number=${4#*'"task_id":"number_'}
number=${number%%'"'*}
case "$number" in *3) exit 3 ;; esac
"""


@contextmanager
def upstream_cloud(home: Path) -> Iterator[Cloud]:
    """A local cloud with a cluster ``default`` and log groups, where containers' ``python`` is the shim."""
    program = home / "image" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(SHIM)
    program.chmod(0o755)
    cloud = Cloud(home).start()
    try:
        cloud.client().create_cluster(clusterName="default")
        for group in (LOG_GROUP, BATCH_LOGS):
            cloud.client("logs").create_log_group(logGroupName=group)
        yield cloud
    finally:
        cloud.stop()


@contextmanager
def no_mistakes() -> Iterator[None]:
    """Fails when the server answered a request with an error of its own (HTTP 500, 503) meanwhile."""
    told: list[str] = []
    ear = _Ear(told)
    logger = logging.getLogger("skylift")
    logger.addHandler(ear)
    try:
        yield
    except BaseException as error:
        error.add_note(f"the server's warnings meanwhile: {told}")
        raise
    finally:
        logger.removeHandler(ear)
    assert told == []


class _Ear(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(self.format(record))


def environ(url: str, home: Path, **values: str) -> dict[str, str]:
    """A clean environment for a process: the cloud for AWS, an Airflow of its own."""
    unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return clean | {
        **aws_variables(url),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        **values,
    }


def shell_variables(shellenv: str) -> dict[str, str]:
    """The variables that the output of ``skylift shellenv`` exports."""
    lines = (line.removeprefix("export ") for line in shellenv.splitlines() if line.startswith("export "))
    return {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}


def messages(cloud: Cloud, group: str) -> list[str]:
    """All log lines of a group."""
    pages = cloud.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return [event["message"] for page in pages for event in page["events"]]
