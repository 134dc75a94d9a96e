"""Last words on the local cloud: what is found out about real containers, and how Airflow's own readers of remote logs
show it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.local import batch_cloud
from tests.local.ecs_cloud import ACCOUNT, LOG_GROUP, OWNER, REGION, Cloud, definition, run, until, wait_for
from tests.unit.executor_airflow import Conf, ecs_conf

from skylift.aws import signed
from skylift.aws.batch.endings import BatchEndings
from skylift.aws.ecs.endings import EcsEndings
from skylift.aws.ecs.tasks import EcsTasks
from skylift.aws.output import LogReader, Stream
from skylift.core.errors import Refused
from skylift.executors.ecs import EcsCompute
from skylift.executors.in_container.payload import Payloads
from skylift.executors.last_words import logs as last_words_logs
from skylift.executors.last_words.batch import BatchExplainer
from skylift.executors.last_words.ecs import EcsExplainer
from skylift.executors.last_words.live_log import StatusCache
from skylift.executors.options.ecs import ecs_options

pytestmark = pytest.mark.local

PATH = "dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/task_id=t/attempt=1.log"
LINES = [("error", "Killed for memory: 512 MiB."), ("info", "the last line")]
TALKS = "for n in range(30): print('line', n)\nraise SystemExit(1)"
EATS = "print('begin', flush=True)\nkept = [bytearray(b'x') * (400 << 20)]\nimport time; time.sleep(60)"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    started = Cloud(tmp_path_factory.mktemp("cloud")).start()
    try:
        started.client().create_cluster()
        for group in (LOG_GROUP, "/airflow"):
            started.client("logs").create_log_group(logGroupName=group)
        started.client("s3").create_bucket(Bucket="remote")
        yield started
    finally:
        started.stop()


@pytest.fixture
def aws(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The cloud, with this process's AWS settings turned to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return cloud


def explainer(cloud: Cloud, most: int = 20) -> EcsExplainer:
    return EcsExplainer(EcsEndings(cloud.client()), "main", LogReader(region=REGION), most=most)


# What is found out.


def test_an_ecs_task_that_failed_shows_its_last_lines(aws: Cloud) -> None:
    arn = run(aws.client(), definition("python", "-c", TALKS))
    until(aws.client(), arn, "STOPPED")
    stream = f"p/main/{arn.rpartition('/')[2]}"
    first, *lines = explainer(aws, most=5).explain(arn).splitlines()
    assert first == f"Last lines of the container's log (log group {LOG_GROUP}, stream {stream}):"
    assert lines == [f"line {n}" for n in range(25, 30)]
    assert explainer(aws, most=0).explain(arn) == ""
    assert explainer(aws).standing(arn).startswith(f"ECS task {arn} is STOPPED since 20")
    output = explainer(aws).output(arn)
    assert output
    assert output.stream == Stream(LOG_GROUP, stream, REGION)
    # A container that is not called as the options say: the one whose command was overridden.
    arn = run(
        aws.client(),
        definition("true"),
        overrides={"containerOverrides": [{"name": "main", "command": ["python", "-c", TALKS]}]},
    )
    until(aws.client(), arn, "STOPPED")
    other = EcsExplainer(EcsEndings(aws.client()), "airflow", LogReader(region=REGION), most=1)
    assert other.explain(arn).splitlines()[1] == "line 29"


def test_an_ecs_task_over_its_memory_says_which_limit(aws: Cloud) -> None:
    of_all = run(aws.client(), definition("python", "-c", EATS.replace("400", "600")))
    of_one = run(aws.client(), definition("python", "-c", EATS, memory=300))
    for arn, limit in ((of_all, "512 MiB (memory of the ECS task)"), (of_one, "300 MiB (memory of container main)")):
        until(aws.client(), arn, "STOPPED", seconds=40)
        text = explainer(aws).explain(arn)
        assert f"Killed for memory: the container went over its memory limit of {limit}." in text, text
        assert text.splitlines()[-1] == "begin"


def test_what_may_not_be_read_is_one_line(aws: Cloud) -> None:
    arn = run(aws.client(), definition("python", "-c", TALKS))
    until(aws.client(), arn, "STOPPED")
    values = {"code": "AccessDeniedException", "message": "not authorized to perform: logs:GetLogEvents", "status": 400}
    body = {"kind": "error", "name": "no", "values": {**values, "service": "logs", "operation": "GetLogEvents"}}
    signed.call("POST", "/_skylift/faults", body, region=REGION)
    try:
        (line,) = explainer(aws).explain(arn).splitlines()
    finally:
        signed.call("DELETE", "/_skylift/faults/no", region=REGION)
    assert line.startswith("Last lines of the container's log cannot be shown: logs GetLogEvents")
    assert "not authorized to perform: logs:GetLogEvents" in line
    request = definition("python", "-c", TALKS)
    del request["containerDefinitions"][0]["logConfiguration"]
    arn = run(aws.client(), request)
    until(aws.client(), arn, "STOPPED")
    assert "has no log driver awslogs" in explainer(aws).explain(arn)


def test_one_that_never_began_and_one_that_is_not_known_have_no_lines(aws: Cloud) -> None:
    request = definition("true", image="nowhere/none:1")
    arn = run(aws.client(), request)
    until(aws.client(), arn, "STOPPED")
    assert explainer(aws).explain(arn) == ""
    gone = f"{arn.rpartition('/')[0]}/{'0' * 32}"
    assert explainer(aws).explain(gone) == ""
    assert "does not know" in explainer(aws).standing(gone)
    with pytest.raises(Refused):
        EcsExplainer(EcsEndings(aws.client(), "nowhere"), "main", LogReader(), most=1).explain(
            "arn:aws:ecs:us-east-1:1:task/x"
        )


def test_a_batch_job_over_its_memory_says_so(aws: Cloud) -> None:
    batch = aws.client("batch")
    batch_cloud.prepare(batch)
    halves = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    batch_cloud.define(batch, "python", "-c", EATS.replace("400", "600"), resourceRequirements=halves)
    job = batch_cloud.submit(batch)
    found = batch_cloud.until(batch, job)
    seen = BatchExplainer(BatchEndings(batch), LogReader(region=REGION), most=20)
    text = seen.explain(job)
    assert "its memory limit of 512 MiB (MEMORY of the Batch job)" in text, text
    assert text.splitlines()[-1] == "begin"
    assert found["container"]["logStreamName"] in text
    assert seen.standing(job).startswith(f"Batch job {found['jobArn']} is FAILED since 20")
    output = seen.output(job)
    assert output
    assert output.stream == Stream("/aws/batch/job", found["container"]["logStreamName"])
    assert seen.explain("no-such-job") == ""
    assert "does not know" in seen.standing("no-such-job")


def test_lines_are_read_on_from_where_one_was(aws: Cloud) -> None:
    logs = aws.client("logs")
    stream = Stream("/airflow", "reading-on", REGION)
    output = LogReader(region=REGION)
    assert output.since(stream) == ((), "")
    logs.create_log_stream(logGroupName=stream.group, logStreamName=stream.name)
    begun = int(time.time() * 1000) - 60_000
    seen: list[str] = []
    token = ""
    for number in range(3):
        event = {"timestamp": begun + number, "message": f"line {number}\n"}
        logs.put_log_events(logGroupName=stream.group, logStreamName=stream.name, logEvents=[event])
        lines, token = output.since(stream, token)
        seen += lines
        assert output.since(stream, token) == ((), token)
    assert seen == ["line 0", "line 1", "line 2"]
    assert output.since(stream, start=(begun + 2) / 1000)[0] == ("line 2",)


def test_somebody_who_looks_sees_the_lines_come(aws: Cloud, tmp_path: Path) -> None:
    """As Airflow's API server asks, without a remote log that shows lines before the end."""
    go = tmp_path / "go"
    waits = f"import os, time\nprint('first')\nwhile not os.path.exists('{go}'): time.sleep(0.05)\nprint('second')"
    begun = datetime.now(UTC)
    arn = run(aws.client(), definition("python", "-u", "-c", waits), startedBy="launch-1")
    options = ecs_options(ecs_conf(cluster="default", container_name="main"))
    compute = EcsCompute(EcsTasks(aws.client(), "default"), options, Payloads(), explainer=explainer(aws))
    more = {"queue": "default", "executor_config": {}, "start_date": begun, "external_executor_id": "launch-1"}
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=1, **more)
    moment = [0.0]
    glances = StatusCache(lambda: moment[0], lambda: False)

    def looks() -> tuple[list[str], list[str]]:
        moment[0] += 60
        return glances.look(lambda: compute, ti, 1)

    wait_for(lambda: looks()[1] == ["first\n"], tell=lambda: str(looks()))
    assert looks()[0][0].startswith(f"ECS task {arn} is RUNNING since 20")
    go.touch()
    wait_for(lambda: looks()[1] == ["first\nsecond\n"], tell=lambda: str(looks()))


# Where Airflow's UI reads it.


def test_cloudwatch_shows_the_words_after_those_of_the_container(aws: Cloud, tmp_path: Path) -> None:
    from airflow.providers.amazon.aws.log.cloudwatch_task_handler import CloudWatchRemoteLogIO

    remote = CloudWatchRemoteLogIO(
        base_log_folder=tmp_path, log_group_arn=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/airflow"
    )
    stamp = time.time()
    for lines, when in (([("info", "from the container")], stamp - 60), (LINES, stamp)):
        last_words_logs.write(PATH, lines, when, remote=remote, conf=Conf({}))
    ended = SimpleNamespace(end_date=None)

    def read() -> list[dict[str, Any]]:
        _, streams = remote.stream(PATH, ended)
        return [json.loads(line) for stream in streams for line in stream]

    wait_for(lambda: len(read()) == 3)
    assert [(one["level"], one["event"]) for one in read()] == [("info", "from the container"), *LINES]
    assert read()[1]["timestamp"] < read()[2]["timestamp"], "the reader sorts by time"
    none = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/none"
    other = CloudWatchRemoteLogIO(base_log_folder=tmp_path, log_group_arn=none)
    with pytest.raises(Refused, match="PutLogEvents"):
        last_words_logs.write(PATH, LINES, stamp, remote=other, conf=Conf({}))


@pytest.mark.parametrize("delete_local_copy", [True, False])
def test_s3_shows_the_words_beside_those_of_the_container(aws: Cloud, tmp_path: Path, delete_local_copy: bool) -> None:
    from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO

    folder = f"s3://remote/{delete_local_copy}"
    remote = S3RemoteLogIO(remote_base=folder, base_log_folder=tmp_path, delete_local_copy=delete_local_copy)
    conf = Conf({("logging", "base_log_folder"): str(tmp_path)})
    remote.write('{"event": "from the container"}\n', f"{folder}/{PATH}")
    for lines in ([("warning", "an attempt before")], LINES):
        last_words_logs.write(PATH, lines, 1000.0, remote=remote, conf=conf)
    sources, logs = remote.read(PATH, SimpleNamespace(end_date=None))  # type: ignore[arg-type]
    assert [source.rpartition("/")[2] for source in sources] == ["attempt=1.log", "attempt=1.log.executor.log"]
    assert logs is not None
    assert [json.loads(line)["event"] for log in logs for line in log.splitlines()] == [
        "from the container",
        "an attempt before",
        *(text for _, text in LINES),
    ]
    assert not [file for file in tmp_path.rglob("*") if file.is_file()], "the remote log is the log"
