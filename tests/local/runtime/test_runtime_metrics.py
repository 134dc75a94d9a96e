"""Airflow's own metrics module, with our client, into the local cloud's CloudWatch: processes, forks, filters."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.local.runtime_cloud import environment, rest_of_aws

from skylift.aws.metrics import CloudWatch, Series
from skylift.core.errors import Unavailable

pytestmark = pytest.mark.local

BEGIN = """
import atexit, os, sys, time
from airflow.observability.metrics import stats_utils
from airflow._shared.observability.metrics import stats
from skylift.runtime.metrics.client import send_regularly
send_regularly(["scheduler"])
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
stats.incr("scheduler_heartbeat", 3)
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with rest_of_aws(tmp_path_factory.mktemp("aws")) as found:
        yield found


def run(aws: dict[str, str], home: Path, name: str, script: str, **more: str) -> str:
    """Runs Python in an environment's container, as far as metrics see it; gives its output."""
    options = {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_CUSTOM_CLIENT_PATH": "skylift.runtime.metrics.client.CloudWatchStats",
        "SKYLIFT_ENVIRONMENT": name,
        "SKYLIFT_METRICS_SECONDS": "3600",
        "AIRFLOW_HOME": str(home),
    }
    environ = {**os.environ, **aws, **options, **more}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script], env=environ, text=True, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def total(aws: dict[str, str], environment_name: str, metric: str, **dimensions: str) -> float:
    """The sum of a metric's last hour."""
    with environment(**aws):
        cloudwatch = boto3.client("cloudwatch")
    now = datetime.now(UTC)
    wanted = {**dimensions, "Environment": environment_name}
    found = cloudwatch.get_metric_statistics(
        Namespace="AmazonMWAA",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in wanted.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in found["Datapoints"])


def test_what_is_left_is_sent_at_the_end(aws: dict[str, str], tmp_path: Path) -> None:
    run(aws, tmp_path, "end", "")
    assert total(aws, "end", "SchedulerHeartbeat", Function="Scheduler") == 3


def test_a_fork_sends_its_own_and_only_its_own(aws: dict[str, str], tmp_path: Path) -> None:
    """As Airflow forks (``sdk.execution_time.supervisor._fork_main``): what the parent registered to be run at its end
    is cleared, what the fork registers is run, then it ends at once."""
    script = """
if os.fork() == 0:
    atexit._clear()
    stats.incr("ti_successes", 2)
    stats.incr("scheduler_heartbeat", 10)
    atexit._run_exitfuncs()
    os._exit(0)
os.wait()
stats.incr("scheduler_heartbeat", 4)
"""
    run(aws, tmp_path, "fork", script)
    assert total(aws, "fork", "TaskInstanceSuccesses", DAG="All", Task="All") == 2
    assert total(aws, "fork", "SchedulerHeartbeat", Function="Scheduler") == 17


def test_forks_of_a_process_that_sends_all_the_time_never_hang(aws: dict[str, str], tmp_path: Path) -> None:
    script = """
for turn in range(40):
    stats.incr("scheduler_heartbeat")
    if (child := os.fork()) == 0:
        atexit._clear()
        stats.incr("ti_failures")
        atexit._run_exitfuncs()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    run(aws, tmp_path, "often", script, SKYLIFT_METRICS_SECONDS="1")
    assert total(aws, "often", "TaskInstanceFailures", DAG="All", Task="All") == 40
    assert total(aws, "often", "SchedulerHeartbeat", Function="Scheduler") == 43


def test_the_users_lists_choose(aws: dict[str, str], tmp_path: Path) -> None:
    report = """
stats.incr("ti.finish", tags={"dag_id": "d", "task_id": "t", "state": "success"})
stats.incr("ti_successes")
"""
    run(aws, tmp_path, "allow", report, AIRFLOW__METRICS__METRICS_ALLOW_LIST="ti_successes")
    run(aws, tmp_path, "block", report, AIRFLOW__METRICS__METRICS_BLOCK_LIST="^ti\\.finish")
    counts = {
        name: [
            total(aws, name, "TaskInstanceSuccesses", DAG="All", Task="All"),
            total(aws, name, "TaskInstanceFinished", DAG="d", Task="t", State="success"),
            total(aws, name, "SchedulerHeartbeat", Function="Scheduler"),
        ]
        for name in ("allow", "block")
    }
    assert counts == {"allow": [1, 0, 0], "block": [1, 0, 3]}


def test_airflow_ends_well_and_soon_without_cloudwatch(tmp_path: Path, aws: dict[str, str]) -> None:
    began = time.monotonic()
    nobody = {**aws, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    said = run(nobody, tmp_path, "away", 'print("still here")')
    assert "still here" in said
    assert said.count("CloudWatch does not take metrics") == 1
    assert time.monotonic() - began < 120


def test_an_error_of_boto3_is_the_houses(aws: dict[str, str]) -> None:
    data: list[dict[str, Any]] = [{"MetricName": "A", "Value": 1.0}]
    with (
        environment(**{**aws, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
        pytest.raises(Unavailable, match="PutMetric"),
    ):
        CloudWatch().put("AmazonMWAA", data)


def test_the_newest_value_of_each_metric_is_found(aws: dict[str, str]) -> None:
    with environment(**aws):
        cloudwatch = CloudWatch("us-east-1")
        now = datetime.now(UTC)
        for minutes, number in ((5, 1.0), (3, 7.0)):
            metric = {"MetricName": "A", "Dimensions": [{"Name": "Of", "Value": "me"}], "Value": number}
            cloudwatch.put("Newest", [{**metric, "Timestamp": now - timedelta(minutes=minutes)}])
        wanted = [Series("Newest", "A", {"Of": "me"}), Series("Newest", "A", {"Of": "nobody"})]
        found, none = cloudwatch.newest(wanted, now - timedelta(minutes=10))
        assert found is not None
        assert found[1] == 7
        assert timedelta(minutes=2) < now - found[0] < timedelta(minutes=5)
        assert none is None
        assert cloudwatch.newest(wanted[:1], now - timedelta(minutes=1)) == [None]
        many = [Series("Newest", "A", {"Of": f"number {number}"}) for number in range(501)]
        assert cloudwatch.newest([*many, wanted[0]], now - timedelta(minutes=10))[-1] == found


def test_neither_an_airflow_command_nor_a_task_s_log_tells_of_the_client(aws: dict[str, str], tmp_path: Path) -> None:
    script = """
import logging
logging.basicConfig(level=logging.INFO, force=True)
from airflow.observability.metrics import statsd_logger
from airflow.sdk.observability.metrics import statsd_logger as in_task
logging.getLogger("somebody").info("is heard")
statsd_logger.get_statsd_logger(), in_task.get_statsd_logger()
"""
    said = run(aws, tmp_path, "quiet", script)
    assert "is heard" in said
    assert "StatsD client" not in said
