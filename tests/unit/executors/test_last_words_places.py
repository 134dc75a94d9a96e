"""Where the executor's words on a try go: CloudWatch's stream, an upload of Airflow's, or the local file; and what is
said where none of them takes it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.unit.executor_airflow import Conf

from skylift.core.errors import Refused, Unavailable
from skylift.executors.last_words.logs import write

pytestmark = pytest.mark.unit
NAME = "dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/attempt=1.log"
LINES = [("error", "it died"), ("info", "quoted")]


def told(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutLogEvents")


class Logs:
    """CloudWatch Logs as boto3's client, as far as it is called."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), list[tuple[str, dict[str, Any]]]()

    def put_log_events(self, **request: Any) -> None:
        self.calls.append(("put", request))
        if self.errors:
            raise self.errors.pop(0)

    def create_log_stream(self, **request: Any) -> None:
        self.calls.append(("create", request))


def cloudwatch(logs: Any) -> Any:
    def connect() -> Any:
        if isinstance(logs, Exception):
            raise logs
        return logs

    return SimpleNamespace(log_group="tasks", hook=SimpleNamespace(get_conn=connect))


def put(remote: Any, folder: Path | str = "/nowhere") -> None:
    write(NAME, LINES, 1000.5, remote=remote, conf=Conf({("logging", "base_log_folder"): str(folder)}))


def test_cloudwatch_gets_events_in_the_shape_that_airflow_reads() -> None:
    logs = Logs()
    put(cloudwatch(logs))
    where = {"logGroupName": "tasks", "logStreamName": NAME.replace(":", "_")}
    entries = [
        {"event": "it died", "level": "error", "logger": "skylift.executor"},
        {"event": "quoted", "level": "info", "logger": "skylift.executor"},
    ]
    ((verb, request),) = logs.calls
    sent = request.pop("logEvents")
    assert (verb, request) == ("put", where)
    assert [json.loads(one["message"]) for one in sent] == entries
    assert [one["timestamp"] for one in sent] == [1_000_500, 1_000_501], "a millisecond apart, so that they stay sorted"


def test_a_stream_that_is_not_there_is_made() -> None:
    logs = Logs(told("ResourceNotFoundException"))
    put(cloudwatch(logs))
    assert [verb for verb, _ in logs.calls] == ["put", "create", "put"]
    assert logs.calls[1][1] == {"logGroupName": "tasks", "logStreamName": NAME.replace(":", "_")}
    assert logs.calls[0][1] == logs.calls[2][1]


@pytest.mark.parametrize(
    ("logs", "kind", "said"),
    [
        (Logs(told("AccessDeniedException")), Refused, "logs PutLogEvents tasks dag_id=d"),
        (Logs(told("ThrottlingException")), Unavailable, "logs PutLogEvents tasks dag_id=d"),
        (LookupError("no connection aws"), Unavailable, "no client for the remote log tasks: no connection aws"),
        (Refused("the connection may not be read"), Refused, "^the connection may not be read"),
    ],
)
def test_what_cloudwatch_does_not_take_says_where(logs: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        put(cloudwatch(logs))


@pytest.mark.parametrize("leaves", [True, False])
def test_another_remote_log_uploads_a_file_of_its_own_and_none_is_left(tmp_path: Path, leaves: bool) -> None:
    uploaded: dict[str, list[dict[str, str]]] = {}

    class Remote:
        def upload(self, path: str, ti: Any) -> None:
            assert ti is None
            file = tmp_path / path
            uploaded[path] = [json.loads(line) for line in file.read_text().splitlines()]
            if not leaves:
                file.unlink()

    put(Remote(), tmp_path)
    (entries,) = uploaded.values()
    assert list(uploaded) == [f"{NAME}.executor.log"]
    assert [one["event"] for one in entries] == ["it died", "quoted"]
    assert [one["timestamp"] for one in entries] == [
        "1970-01-01T00:16:40.500000+00:00",
        "1970-01-01T00:16:40.501000+00:00",
    ]
    assert not (tmp_path / f"{NAME}.executor.log").exists(), "the remote one is the log now"


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "dag_id=d").write_text("a file where a folder should be")
    with pytest.raises(Refused, match=str(tmp_path / "dag_id=d")):
        put(None, tmp_path)
    with pytest.raises(Refused, match=r"base_log_folder: \.\./up"):
        write("../up", LINES, 0.0, remote=None, conf=Conf({("logging", "base_log_folder"): str(tmp_path)}))
