"""CloudWatch's metrics on the local cloud, with the real client: what is read back, and what a killed server keeps."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.rest_server import rest_of_aws

pytestmark = pytest.mark.local

DIMENSIONS = [{"Name": "Environment", "Value": "e"}]


def statistics(cloudwatch: Any, metric: str, **more: Any) -> dict[str, Any]:
    """Of the last hours, as one."""
    now = datetime.now(UTC)
    found = cloudwatch.get_metric_statistics(
        Namespace="Test",
        MetricName=metric,
        Dimensions=DIMENSIONS,
        StartTime=now - timedelta(days=2),
        EndTime=now + timedelta(days=1),
        Period=86400 * 10,
        **more,
    )
    (point,) = found["Datapoints"]
    return dict(point)


def put(cloudwatch: Any, *data: dict[str, Any]) -> None:
    cloudwatch.put_metric_data(Namespace="Test", MetricData=[{"Dimensions": DIMENSIONS, **one} for one in data])


def test_values_counts_and_statistic_sets_are_read_back(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path) as rest:
        cloudwatch = rest.client("cloudwatch")
        put(
            cloudwatch,
            {"MetricName": "Plain", "Value": 2.0, "Unit": "Count"},
            {"MetricName": "Plain", "Value": 4.0, "Unit": "Count"},
            {"MetricName": "Many", "Values": [1.0, 9.0], "Counts": [9.0, 1.0], "Unit": "Milliseconds"},
            {"MetricName": "Set", "StatisticValues": {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 5}},
        )
        plain = statistics(cloudwatch, "Plain", Statistics=["Sum", "Average", "SampleCount"])
        assert (plain["Sum"], plain["Average"], plain["SampleCount"], plain["Unit"]) == (6, 3, 2, "Count")
        many = statistics(cloudwatch, "Many", ExtendedStatistics=["p50", "p100"])
        assert many["ExtendedStatistics"] == {"p50": 1, "p100": 9}
        whole = statistics(cloudwatch, "Set", Statistics=["Average", "Maximum"])
        assert (whole["Average"], whole["Maximum"]) == (2.5, 5)
        now = datetime.now(UTC)
        metric = {"Namespace": "Test", "MetricName": "Plain", "Dimensions": DIMENSIONS}
        query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": 864000, "Stat": "Sum"}}
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[query], StartTime=now - timedelta(days=1), EndTime=now + timedelta(days=1)
        )
        assert answer["MetricDataResults"][0]["Values"] == [6]


def test_a_killed_server_has_kept_metrics_and_alarms(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path) as rest:
        cloudwatch = rest.client("cloudwatch")
        put(cloudwatch, {"MetricName": "Kept", "Value": 5.0})
        cloudwatch.put_metric_alarm(
            AlarmName="high",
            Namespace="Test",
            MetricName="Kept",
            Dimensions=DIMENSIONS,
            Statistic="Maximum",
            Period=3600,
            EvaluationPeriods=1,
            Threshold=10,
            ComparisonOperator="GreaterThanThreshold",
        )
        rest.kill()
    with rest_of_aws(tmp_path) as rest:
        cloudwatch = rest.client("cloudwatch")
        assert statistics(cloudwatch, "Kept", Statistics=["Sum"])["Sum"] == 5
        put(cloudwatch, {"MetricName": "Kept", "Value": 50.0})
        assert cloudwatch.describe_alarms(AlarmNames=["high"])["MetricAlarms"][0]["StateValue"] == "ALARM"
        names = {metric["MetricName"] for metric in cloudwatch.list_metrics(Namespace="Test")["Metrics"]}
        assert names == {"Kept"}
        rest.end()
    saved = json.loads((tmp_path / "cloudwatch.json").read_text())
    assert "Kept" in json.dumps(saved)  # the alarm's metric; no values
    assert '"metrics"' not in json.dumps(saved)


def test_a_damaged_file_is_told_of_and_left_alone(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path) as rest:
        put(rest.client("cloudwatch"), {"MetricName": "Kept", "Value": 5.0})
        rest.end()
    for beside in tmp_path.glob("metrics.db-*"):
        beside.unlink()
    (tmp_path / "metrics.db").write_text("no database " * 100)
    with rest_of_aws(tmp_path) as rest:
        with pytest.raises(ClientError, match=r"metrics\.db is damaged"):
            put(rest.client("cloudwatch"), {"MetricName": "Kept", "Value": 5.0})
        assert rest.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
        rest.end()
    assert (tmp_path / "metrics.db").read_text().startswith("no database")


def test_many_values_are_read_from_the_disk(tmp_path: Path) -> None:
    """Ministack would hold them all in memory, and look through them at each request."""
    with rest_of_aws(tmp_path) as rest:
        put(rest.client("cloudwatch"), {"MetricName": "Long", "Value": 0.0})
        rest.end()
    now = datetime.now(UTC).timestamp()
    with sqlite3.connect(tmp_path / "metrics.db") as disk:
        rows = ((now - 3000 - number / 1000, "None", 1.0, 2.0, 2.0, 2.0) for number in range(300_000))
        disk.executemany("INSERT INTO point SELECT id, ?, ?, ?, ?, ?, ? FROM metric", rows)
    with rest_of_aws(tmp_path) as rest:
        cloudwatch = rest.client("cloudwatch")
        for _ in range(50):
            put(cloudwatch, {"MetricName": "Other", "Value": 1.0})
        assert statistics(cloudwatch, "Long", Statistics=["Sum"])["Sum"] == 600_000
