"""AWS's libraries log one line a minute: no traceback at every call, and no lost message."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
import s3transfer
import urllib3
from tests.unit.executor_airflow import ecs_conf, task_workload

from skylift.aws.quiet import LOUD, QUIET, OncePerMinute
from skylift.core.clock import ManualClock
from skylift.executors.ecs import AwsEcsExecutor

pytestmark = pytest.mark.unit
WARNS = re.compile(r"\b(logger|log|LOG|_logger)\.(warning|warn|error|exception|critical)\(")


def test_every_logger_of_these_libraries_that_warns_is_named() -> None:
    found = set()
    for library in (boto3, botocore, s3transfer, urllib3):
        root = Path(library.__file__).parent
        for path in root.rglob("*.py"):
            name = ".".join((library.__name__, *path.relative_to(root).with_suffix("").parts))
            # These need more packages, or are used by nobody here.
            if WARNS.search(path.read_text()) and not name.endswith((".crt", ".pyopenssl", ".resources.model")):
                found.add(name)
    assert found <= {*LOUD}


def warned(
    filter_: OncePerMinute, text: str, *args: Any, error: Exception | None = None, name: str = "a"
) -> str | None:
    info = (type(error), error, None) if error else None
    record = logging.LogRecord(name, logging.WARNING, "f", 1, text, args, info)
    return record.getMessage() if filter_.filter(record) and not record.exc_info else None


def test_a_failure_is_one_line_a_minute_with_the_number_of_those_left_out() -> None:
    clock = ManualClock()
    once = OncePerMinute(clock)
    error = OSError("no\nroute")
    assert warned(once, "It failed in %s.", "advance", error=error) == "It failed in advance. OSError: no route"
    assert [warned(once, "It failed in %s.", "haste", error=error) for _ in range(3)] == [None] * 3
    assert warned(once, "Another.") == "Another.", "another kind is said at once"
    assert warned(once, "It failed in %s.", "x", name="b") == "It failed in x.", "of another logger, too"
    clock.advance(QUIET)
    assert warned(once, "It failed in %s.", "advance") == "It failed in advance. (and 3 more like it)"
    debug = logging.LogRecord("a", logging.DEBUG, "f", 1, "It failed in %s.", ("detail",), None)
    assert once.filter(debug), "who asked for details gets them"


def test_kinds_do_not_pile_up() -> None:
    once = OncePerMinute(ManualClock())
    for number in range(1000):
        assert warned(once, f"kind {number}")
    assert len(once._until) <= 100


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nothing listens, and at which nothing can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_sts_that_cannot_be_reached_is_a_few_lines_and_the_work_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, closed_port: int
) -> None:
    extra = (
        '{"role_arn": "arn:aws:iam::123456789012:role/r", "region_name": "us-east-1", '
        f'"service_config": {{"sts": {{"endpoint_url": "http://127.0.0.1:{closed_port}"}}}}}}'
    )
    monkeypatch.setenv("AIRFLOW_CONN_MINE", f'{{"conn_type": "aws", "login": "k", "password": "s", "extra": {extra}}}')
    executor = AwsEcsExecutor(parallelism=40)
    executor.conf = ecs_conf(conn_id="mine")
    executor.start()
    workloads = [task_workload(f"t{number}") for number in range(20)]
    try:
        for workload in workloads:
            executor.queue_workload(workload, session=None)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            executor.heartbeat()
            time.sleep(0.1)
        assert not executor.get_event_buffer(), "nothing fails of it"
        assert len(executor.running) == 20
    finally:
        executor.end()
    assert "Traceback" not in caplog.text
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    concerned = [line for line in lines if str(closed_port) in line]
    assert 1 <= len(concerned) <= 12, "\n".join(lines)
    assert all("the Airflow connection 'mine'" in line for line in concerned)
    libraries = [one for one in caplog.records if one.name.partition(".")[0] in {"botocore", "urllib3", "boto3"}]
    assert len([one for one in libraries if one.levelno >= logging.WARNING]) <= 2, "mandatory, advisory"
