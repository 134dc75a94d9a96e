"""How the reason of an end is composed, written and reported, and what the UI gets meanwhile."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.executor_airflow import Conf

from skylift.aws.ecs.tasks import task_of
from skylift.core.attempt import Attempt, Exit, Output, Verdict
from skylift.core.errors import Refused, Unavailable
from skylift.executors.ecs import observation
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.flight import News, Order, Stage
from skylift.executors.fleet.settle import Event, Settlement, WorkloadKind, settle
from skylift.executors.last_words import words as last_words
from skylift.executors.last_words.live_log import StatusCache
from skylift.executors.last_words.log_writer import MOST_HELD, MOST_WAITING, LogWriter
from skylift.executors.last_words.words import LAST_LINES, Limit, memory_words, readable, short

pytestmark = pytest.mark.unit

ARN = "arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef"
TOKEN = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiIwMTkifQ.c2lnbmF0dXJl"


# What is said.


def test_a_lack_of_memory_is_told_with_the_limit() -> None:
    limit = Limit(512, "memory of the ECS task")
    killed = memory_words("OutOfMemoryError: Container killed due to memory usage", 137, limit)
    assert killed == "Killed for memory: the container went over its memory limit of 512 MiB (memory of the ECS task)."
    assert memory_words("", 137, limit).startswith(
        "Killed with SIGKILL. If it was for memory: its memory limit was 512"
    )
    assert memory_words("", 137, limit, stopped=True) == "", "who stopped it killed it in the end"
    assert memory_words("", 1, limit) == ""
    assert "not known" in memory_words("OutOfMemoryError", None, None)


@pytest.mark.parametrize(
    ("arn", "link"),
    [
        (
            ARN,
            "https://console.aws.amazon.com/ecs/v2/clusters/prod/tasks/0123456789abcdef/configuration?region=eu-west-1",
        ),
        (
            ARN.replace("aws:ecs:eu-west-1", "aws-cn:ecs:cn-north-1"),
            "https://console.amazonaws.cn/ecs/v2/clusters/prod/tasks/0123456789abcdef/configuration?region=cn-north-1",
        ),
        (
            ARN.replace("aws:ecs:eu-west-1", "aws-us-gov:ecs:us-gov-west-1"),
            "https://console.amazonaws-us-gov.com/ecs/v2/clusters/prod/tasks/0123456789abcdef/configuration"
            "?region=us-gov-west-1",
        ),
        (ARN.replace("arn:aws:", "arn:aws-iso:"), ""),
        ("fake:1", ""),
    ],
)
def test_the_console_is_that_of_the_partition(arn: str, link: str) -> None:
    assert last_words.ecs_link(arn, "prod") == link


def test_links_to_a_log_and_to_a_batch_job() -> None:
    assert last_words.log_link(ARN, "", "/ecs/airflow", "p/main/01") == (
        "https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/"
        "$252Fecs$252Fairflow/log-events/p$252Fmain$252F01"
    )
    assert "region=us-east-2" in last_words.log_link(ARN, "us-east-2", "g", "s")
    job = "arn:aws:batch:eu-west-1:123456789012:job/a1:7"
    assert last_words.batch_link(job) == "https://console.aws.amazon.com/batch/home?region=eu-west-1#jobs/detail/a1%3A7"


def test_the_lines_are_for_people_and_hold_no_token() -> None:
    airflow = {"timestamp": "2026-11-20T10:16:24.4Z", "level": "info", "event": "ate 32 MiB", "logger": "task.stdout"}
    failed = {"event": "Task failed", "error_detail": [{"exc_type": "MemoryError", "exc_value": "no\nmore"}]}
    text = last_words.lines_words(
        [json.dumps(airflow), json.dumps(failed), f"token={TOKEN} end", "{not json", "x" * 9000, "10:00 ::group::Pre"],
        "log group g, stream s",
    )
    first, *lines = text.splitlines()
    assert first == f"{LAST_LINES} (log group g, stream s):"
    assert lines[:4] == ["10:16:24 info ate 32 MiB", "Task failed MemoryError: no more", "token=*** end", "{not json"]
    assert len(lines) == 5, "a mark that folds lines in the UI is none of ours"
    assert len(lines[4]) == last_words.MOST_CHARACTERS
    assert readable(json.dumps({"event": f"Authorization {TOKEN}"})) == "Authorization ***"
    assert last_words.lines_words([], "g") == "The container printed nothing (g)."
    assert "\n" not in last_words.unread_words("AccessDenied:\n  not authorized")


def test_the_events_info_is_one_short_line_without_what_was_printed() -> None:
    reason = f"stopped; {ARN}\nKilled for memory.\n{LAST_LINES} (g):\nmy password is secret"
    assert short(reason) == f"stopped; {ARN}; Killed for memory"
    assert short("one line") == "one line"
    assert len(short("x" * 5000)) == last_words.MOST_SHORT


def test_who_stopped_it_from_outside_is_recorded_though_airflow_knows_the_end() -> None:
    def settled(code: int, *, outside: bool) -> Settlement:
        return settle(Verdict.FINISHED, code, WorkloadKind.TASK, number=1, most=3, outside=outside)

    assert settled(Exit.ENDED_BADLY, outside=True) == Settlement(event=Event.SUCCESS, record=True)
    assert settled(Exit.ENDED_BADLY, outside=False) == Settlement(event=Event.SUCCESS)
    assert settled(Exit.DONE, outside=True) == Settlement(), "it was done before it was stopped"
    for code, by_whom in (
        ("SpotInterruption", True),
        ("EssentialContainerExited", False),
        ("TaskFailedToStart", False),
    ):
        task = {"taskArn": ARN, "lastStatus": "STOPPED", "stopCode": code, "startedAt": 1}
        assert observation(ARN, task_of(task), "main").outside is by_whom


# How it is written, and when it is told.


class Log:
    """Where lines would go; refuses when it is told to."""

    def __init__(self) -> None:
        self.written: list[tuple[str, list[tuple[str, str]], float]] = []
        self.error: Exception | None = None

    def write(self, path: str, lines: Sequence[tuple[str, str]], when: float) -> None:
        if self.error:
            raise self.error
        self.written.append((path, list(lines), when))


class Desk:
    """A log writer without a thread, on a clock that a test sets."""

    def __init__(self) -> None:
        self.log = Log()
        self.time = 0.0
        self.log_writer = LogWriter(
            self.log.write, clock=lambda: self.time, now=lambda: 1000.0 + self.time, threads=False
        )


def news(
    stage: Stage = Stage.ENDED, *, record: bool = True, kind: WorkloadKind = WorkloadKind.TASK, **fields: Any
) -> News:
    order = Order("key", kind, "x", str, log_path="dag_id=d/attempt=1.log")
    event = Event.FAILED if stage is Stage.ENDED and record else Event.NONE
    return News(order, stage, **{"event": event, "reason": "it died", "record": record, **fields})


def test_an_end_is_told_when_its_words_are_written() -> None:
    desk = Desk()
    desk.log_writer.take(news(reason=f"it died\nKilled for memory.\n{LAST_LINES} (g):\nate 32 MiB"))
    assert desk.log_writer.drain() == []
    assert desk.log_writer.step()
    assert [one.stage for one in desk.log_writer.drain()] == [Stage.ENDED]
    assert desk.log_writer.drain() == []
    assert desk.log.written == [
        (
            "dag_id=d/attempt=1.log",
            [
                ("error", "it died"),
                ("error", "Killed for memory."),
                ("info", f"{LAST_LINES} (g):"),
                ("info", "ate 32 MiB"),
            ],
            1000.0,
        )
    ]


@pytest.mark.parametrize(
    "error", [Refused("AccessDenied"), Unavailable("no answer"), ValueError("another provider's remote log")]
)
def test_a_log_that_cannot_be_written_costs_the_words_not_the_end(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    desk.log.error = error
    desk.log_writer.take(news())
    with caplog.at_level(logging.WARNING):
        assert desk.log_writer.step()
    assert [one.stage for one in desk.log_writer.drain()] == [Stage.ENDED]
    assert str(error) in caplog.text


def test_a_log_that_does_not_answer_holds_up_nothing_for_long() -> None:
    desk = Desk()
    desk.log_writer.take(news())
    desk.time = MOST_HELD - 0.1
    assert desk.log_writer.drain() == []
    desk.log_writer.take(news(record=False))
    assert [one.record for one in desk.log_writer.drain()] == [False], "others do not wait for it"
    desk.time = MOST_HELD
    assert [one.record for one in desk.log_writer.drain()] == [True]


def test_only_what_nobody_else_tells_is_written() -> None:
    desk = Desk()
    for one in (news(record=False), news(Stage.RUNNING, record=False), news(kind=WorkloadKind.CALLBACK)):
        desk.log_writer.take(one)
    assert len(desk.log_writer.drain()) == 3
    desk.log_writer.take(news(Stage.REPEATED))
    assert len(desk.log_writer.drain()) == 1, "a repeat is told at once, and written"
    assert desk.log_writer.step()
    assert not desk.log_writer.step()
    assert desk.log.written[0][1] == [("warning", "it died")]


def test_words_without_end_are_not_kept_without_end() -> None:
    desk = Desk()
    for _ in range(MOST_WAITING + 5):
        desk.log_writer.take(news())
    assert len(desk.log_writer.drain()) == 5


def test_the_scribes_thread_writes_and_ends() -> None:
    log = Log()
    log_writer = LogWriter(log.write)
    log_writer.close()
    log_writer = LogWriter(log.write)
    for _ in range(3):
        log_writer.take(news())
    log_writer.close(60)
    assert [one.stage for one in log_writer.drain()] == [Stage.ENDED] * 3
    assert len(log.written) == 3
    log_writer.take(news())
    assert log_writer.drain() == [], "what comes after the end is held back until it is too late"


# What the UI gets while it runs.


STARTED = datetime(2026, 11, 20, 12, tzinfo=UTC)


class OutputOfOne(Output):
    """One container's output."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.looks = 0
        self.asked_for: list[str] = []

    def since(self, token: str, start: float) -> tuple[tuple[str, ...], str]:
        assert start == STARTED.timestamp() - 5
        self.looks += 1
        return tuple(self.lines[int(token or 0) :]), str(len(self.lines))


class Watched(FakeCompute):
    """A fake compute that has an explainer, itself."""

    def __init__(self) -> None:
        super().__init__()
        self.explainer = self
        self.printed = OutputOfOne()

    def standing(self, ref: str) -> str:
        return f"{ref} is RUNNING since noon"

    def output(self, ref: str) -> Output:
        self.printed.asked_for.append(ref)
        return self.printed


def instance(**fields: Any) -> Any:
    values = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1, "try_number": 1}
    more = {"external_executor_id": "x", "executor_config": {}, "queue": "default", "start_date": STARTED}
    return SimpleNamespace(**{**values, **more, **fields})


class View:
    """Somebody who looks at a running task instance in Airflow's UI, with S3 or nothing as remote log."""

    def __init__(self, *, streams: bool = False) -> None:
        self.time = 0.0
        self.compute = Watched()
        self.compute.submit([Attempt("x", 1, str)])
        self.glances = StatusCache(lambda: self.time, lambda: streams)

    def look(self, ti: Any = None) -> tuple[list[str], list[str]]:
        return self.glances.look(lambda: self.compute, ti or instance(), 1)


def test_a_running_task_shows_where_it_runs_and_its_lines_so_far() -> None:
    view = View()
    view.compute.printed.lines = ["one", f"two {TOKEN}"]
    assert view.look() == (["fake:x.1 is RUNNING since noon"], ["one\ntwo ***\n"])
    view.compute.printed.lines.append("three")
    view.time = 3.0
    # All of them, as Airflow counts them to find out which are new.
    assert view.look()[1] == ["one\ntwo ***\nthree\n"]


def test_many_looks_cost_few_calls() -> None:
    view = View()
    for tenth in range(95):
        view.time = tenth / 10
        view.look()
    assert len(view.compute.finds) == 1
    assert view.compute.printed.looks == 5
    view.time = 30.0
    view.look()
    assert len(view.compute.finds) == 2


def test_lines_that_a_streaming_remote_log_shows_are_not_shown_twice() -> None:
    view = View(streams=True)
    view.compute.printed.lines = ["one"]
    assert view.look() == (["fake:x.1 is RUNNING since noon"], [])


def test_nothing_is_asked_about_another_try_or_one_that_was_never_launched() -> None:
    view = View()
    assert view.look(instance(external_executor_id=None)) == ([], [])
    assert view.look(instance(try_number=2)) == ([], [])
    assert view.compute.finds == []


def test_a_service_that_does_not_answer_is_a_line_in_the_log() -> None:
    view = View()
    view.compute.refusals["find"] = [Unavailable("ecs ListTasks: Rate exceeded")]
    assert view.look() == (["Nothing can be said of the container: ecs ListTasks: Rate exceeded"], [])
    assert view.look()[0], "asked once, not with each look"
    assert len(view.compute.finds) == 1


def test_another_container_of_the_same_launch_begins_a_new_log() -> None:
    view = View()
    view.compute.printed.lines = ["one"]
    view.look()
    view.compute.submit([Attempt("x", 2, str)])
    view.compute.printed.lines = ["first of the second"]
    view.time = 20.0
    assert view.look() == (["fake:x.2 is RUNNING since noon"], ["first of the second\n"])
    assert view.compute.printed.asked_for == ["fake:x.1", "fake:x.2"]


# Without a remote log.


def test_without_a_remote_log_the_words_stand_beside_the_local_one(tmp_path: Path) -> None:
    from airflow.utils.log.file_task_handler import FileTaskHandler

    from skylift.executors.last_words import logs as last_words_logs

    log = tmp_path / "dag_id=d" / "attempt=1.log"
    log.parent.mkdir()
    log.write_text('{"event": "from the container"}\n')
    conf = Conf({("logging", "base_log_folder"): str(tmp_path)})
    for lines in ([("warning", "first")], [("error", "it died"), ("info", "quoted")]):
        last_words_logs.write("dag_id=d/attempt=1.log", lines, 1000.0, remote=None, conf=conf)
    sources, streams = FileTaskHandler(str(tmp_path))._read_from_local(log)
    assert [Path(source).name for source in sources] == ["attempt=1.log", "attempt=1.log.executor.log"]
    entries = [json.loads(line) for line in streams[1] if line]
    assert [(one["level"], one["event"]) for one in entries] == [
        ("warning", "first"),
        ("error", "it died"),
        ("info", "quoted"),
    ]
    assert entries[2]["timestamp"] == "1970-01-01T00:16:40.001000+00:00"
    with pytest.raises(Refused, match="leads out of"):
        last_words_logs.write("../../attempt=1.log", [("error", "x")], 0.0, remote=None, conf=conf)
