"""The logs of Airflow task instances in CloudWatch Logs: one stream for each try. A stream is found by DAG, run,
Airflow task, map index and try."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.aws.errors import calling
from skylift.core.errors import Refused

STREAM = re.compile(
    r"dag_id=(?P<dag>[^/]+)/run_id=(?P<run>.+)/task_id=(?P<task>[^/]+)"
    r"(?:/map_index=(?P<index>\d+))?/attempt=(?P<try>\d+)\.log"
)
"""Airflow's default ``[logging] log_filename_template``, as its CloudWatch handler names streams."""


@dataclass(frozen=True)
class Try:
    """One try of one Airflow task instance, with the stream that has its log.

    Attributes:
        map_index: -1 where the Airflow task is not mapped.
        begun: when the stream was made, in milliseconds since the epoch.
    """

    stream: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    number: int
    begun: int = 0

    @property
    def instance(self) -> tuple[str, str, str, int]:
        """The task instance."""
        return self.dag_id, self.run_id, self.task_id, self.map_index

    @property
    def label(self) -> str:
        """For people: ``summarise [3], try 1``."""
        index = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.task_id}{index}, try {self.number}"


@dataclass(frozen=True)
class Which:
    """The wanted tries; ``None``: the newest run, every Airflow task, every map index, the last try of each."""

    dag: str
    run: str | None = None
    task: str | None = None
    number: int | None = None
    map_index: int | None = None


def command(dag_id: str, run_id: str, task_id: str, number: int, map_index: int, environment: str = "") -> str:
    """The command that shows the log of one try."""
    words = ["skylift", "logs", *(["--env", environment] if environment else []), "--dag", dag_id, "--run", run_id]
    words += ["--task", task_id, "--try", str(number)]
    words += ["--map-index", str(map_index)] if map_index >= 0 else []
    return shlex.join(words)


def parsed(stream: str, begun: int = 0) -> Try | None:
    """The try that a stream's name stands for; ``None`` for other streams."""
    found = STREAM.fullmatch(stream)
    if found is None:
        return None
    index = int(found["index"]) if found["index"] else -1
    return Try(stream, found["dag"], found["run"], found["task"], index, int(found["try"]), begun)


def tries(logs: Any, group: str, which: Which) -> list[Try]:
    """The wanted tries that have a log, in the order in which they began.

    Raises:
        Refused: there is none; the text lists what exists.
    """
    run = which.run or _newest_run(logs, group, which.dag)
    prefix = f"dag_id={which.dag}/" + (f"run_id={_in_stream(run)}/" if run else "")
    with calling(f"logs DescribeLogStreams {group}"):
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, logStreamNamePrefix=prefix)
        found = [
            one
            for page in pages
            for stream in page["logStreams"]
            if (one := parsed(stream["logStreamName"], int(stream.get("creationTime", 0)))) is not None
        ]
    return chosen(found, which)


def _newest_run(logs: Any, group: str, dag_id: str) -> str:
    """The newest run of a DAG among those that wrote last; empty if others wrote later: then all must be read."""
    with calling(f"logs DescribeLogStreams {group}"):
        streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    tries = [parsed(one["logStreamName"], int(one.get("creationTime", 0))) for one in streams]
    found = [one for one in tries if one is not None and one.dag_id == dag_id]
    return max(found, key=lambda one: one.begun).run_id if found else ""


def named(logs: Any, group: str, word: str) -> tuple[str, str | None]:
    """The DAG and the Airflow task that ``DAG`` or ``DAG.TASK`` names. Both ids may have dots: what has a log counts.

    Raises:
        Refused: nothing of that name has a log.
    """
    dots = [at for at, character in enumerate(word) if character == "."]
    for dag, task in ((word, None), *((word[:at], word[at + 1 :]) for at in dots)):
        with calling(f"logs DescribeLogStreams {group}"):
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"dag_id={dag}/", limit=1)
        if streams["logStreams"] and (task is None or task):
            return dag, task
    raise Refused(
        f"{word} is no component, no id of a container, and no DAG or DAG.TASK that has a log. See: skylift logs task"
    )


def chosen(found: Sequence[Try], which: Which) -> list[Try]:
    """The wanted ones among the tries of a DAG. Pure. Raises ``Refused`` like ``tries``."""
    if not found:
        of = f" run {which.run} of" if which.run else ""
        raise Refused(
            f"There is no log of{of} DAG {which.dag}: no Airflow task of it has ended or written yet, or the name is "
            "another. "
            "See: skylift logs task"
        )
    run = _in_stream(which.run) if which.run else max(found, key=lambda one: one.begun).run_id
    left = [one for one in found if one.run_id == run]
    for name, member, wanted in (
        ("task", "task_id", which.task),
        ("map index", "map_index", which.map_index),
        ("try", "number", which.number),
    ):
        if wanted is None:
            continue
        known = sorted({getattr(one, member) for one in left})
        left = [one for one in left if getattr(one, member) == wanted]
        if not left:
            raise Refused(
                f"There is no log of {name} {wanted} in run {run} of {which.dag}. "
                f"There are: {', '.join(map(str, known))}"
            )
    if which.number is None:
        left = _last_of_each(left)
    return sorted(left, key=lambda one: (one.begun, one.task_id, one.map_index))


def _last_of_each(found: Iterable[Try]) -> list[Try]:
    last: dict[tuple[str, str, str, int], Try] = {}
    for one in sorted(found, key=lambda one: one.number):
        last[one.instance] = one
    return list(last.values())


def messages(logs: Any, group: str, stream: str) -> list[tuple[int, str]]:
    """Every line of a try with its time (milliseconds), oldest first: its own, and those that its trigger wrote while
    the Airflow task waited in the triggerer."""
    with calling(f"logs DescribeLogStreams {group}"):
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName=group, logStreamNamePrefix=f"{stream}.trigger."
        )
        names = [str(one["logStreamName"]) for page in pages for one in page["logStreams"]]
    triggers = [name for name in names if name.startswith(f"{stream}.trigger.")]
    found = [line for name in (stream, *triggers) for line in _messages(logs, group, name)]
    return sorted(found, key=lambda line: line[0]) if triggers else found


def _messages(logs: Any, group: str, stream: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    token: dict[str, str] = {}
    with calling(f"logs GetLogEvents {group} {stream}"):
        while True:
            page = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **token)
            found += [(event["timestamp"], event["message"]) for event in page["events"]]
            if not page["events"] or page.get("nextForwardToken") == token.get("nextToken"):
                return found
            token = {"nextToken": page["nextForwardToken"]}


def _in_stream(run_id: str) -> str:
    """CloudWatch allows no colon in a stream's name; Airflow's handler writes an underscore."""
    return run_id.replace(":", "_")
