"""Airflow's logs in CloudWatch, sent by our code: the provider's content and names, with fewer calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.providers.amazon.aws.log.cloudwatch_task_handler import CloudWatchRemoteLogIO
from tests.local.runtime_cloud import environment, rest_of_aws

from skylift.runtime import task_logs

pytestmark = pytest.mark.local
ARN = "arn:aws:logs:us-east-1:000000000000:log-group:"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with rest_of_aws(tmp_path_factory.mktemp("aws")) as found, environment(**found):
        yield boto3.client("logs")


def written(logs: Any, group: str, stream: str, one: CloudWatchRemoteLogIO) -> list[str]:
    """What comes of two lines in one flush, and one in another; the calls that it took."""
    calls: list[str] = []
    handler = one.handler
    handler.cwl_client.meta.events.register("before-call.logs", lambda model, **_: calls.append(model.name))
    one.handler.log_stream_name = stream
    for line in ("first", "second"):
        handler.handle(logging.makeLogRecord({"name": "task", "msg": {"event": line}}))
    handler.flush()
    handler.handle(logging.makeLogRecord({"name": "task", "msg": {"event": "third"}}))
    handler.flush()
    found = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
    assert [event["message"] for event in found] == [f'{{"event": "{line}"}}' for line in ("first", "second", "third")]
    return calls


def test_a_stream_is_made_and_then_written_to(logs: Any, tmp_path: Path) -> None:
    logs.create_log_group(logGroupName="there")
    ours = task_logs.TaskLogs(base_log_folder=tmp_path, log_group_arn=f"{ARN}there")
    assert written(logs, "there", "a/b=c", ours) == ["CreateLogStream", "PutLogEvents", "PutLogEvents"]


def test_a_missing_group_is_made(logs: Any, tmp_path: Path) -> None:
    ours = task_logs.TaskLogs(base_log_folder=tmp_path, log_group_arn=f"{ARN}missing")
    calls = written(logs, "missing", "s", ours)
    assert calls[:3] == ["CreateLogStream", "CreateLogGroup", "CreateLogStream"]


def test_the_same_lines_as_the_providers(logs: Any, tmp_path: Path) -> None:
    logs.create_log_group(logGroupName="theirs")
    theirs = CloudWatchRemoteLogIO(base_log_folder=tmp_path, log_group_arn=f"{ARN}theirs")
    with environment(AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID=""):
        assert len(written(logs, "theirs", "s", theirs)) > 3


def test_airflow_finds_it_where_logs_go_to_cloudwatch() -> None:
    assert task_logs.LOGGING_CONFIG["version"] == 1
    place = f"cloudwatch://{ARN}there"
    base = "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"
    with environment(**{"AIRFLOW__LOGGING__REMOTE_LOGGING": "True", base: place}):
        found = task_logs.REMOTE_TASK_LOG
        assert isinstance(found, task_logs.TaskLogs)
        assert (found.log_group, found.region_name) == ("there", "us-east-1")
    with environment(**{"AIRFLOW__LOGGING__REMOTE_LOGGING": "True", base: "s3://elsewhere/logs"}):
        assert task_logs.REMOTE_TASK_LOG is None
    with environment(**{"AIRFLOW__LOGGING__REMOTE_LOGGING": "False", base: place}):
        assert task_logs.REMOTE_TASK_LOG is None


def test_what_a_trigger_wrote_is_read_with_the_try(logs: Any, tmp_path: Path) -> None:
    logs.create_log_group(logGroupName="deferred")
    ours = task_logs.TaskLogs(base_log_folder=tmp_path, log_group_arn=f"{ARN}deferred")
    stream = "dag_id=d/run_id=r_1/task_id=t/attempt=1.log"
    written(logs, "deferred", stream, ours)
    for name, line in ((f"{stream}.trigger.7.log", "waited"), (f"{stream}x", "another")):
        logs.create_log_stream(logGroupName="deferred", logStreamName=name)
        message = {"timestamp": int(time.time() * 1000), "message": f'{{"event": "{line}"}}'}
        logs.put_log_events(logGroupName="deferred", logStreamName=name, logEvents=[message])
    _, read = ours.read(stream.replace("r_1", "r:1"), None)
    text = "".join(read)
    assert [one in text for one in ("first", "third", "waited", "another")] == [True, True, True, False]
