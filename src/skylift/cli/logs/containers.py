"""The logs of single containers: of an ECS task or a Batch job, by its id."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skylift.aws.errors import calling
from skylift.cli.account import exists
from skylift.cli.logs.airflow_tasks import messages
from skylift.cli.logs.lines import Rename, readable, when
from skylift.core.errors import Refused

ECS_TASK = re.compile(r"arn:\S+:task/\S+|[0-9a-f]{32}")
BATCH_JOB = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?::\d+)?")
BATCH_GROUP = "/aws/batch/job"
FOLLOW_SECONDS = 1.0


@dataclass(frozen=True)
class ContainerLog:
    """Where one container writes: a stream of a log group."""

    container: str
    group: str
    stream: str


def is_container(word: str) -> bool:
    """Whether a word is the id or ARN of an ECS task, or the id of a Batch job."""
    return bool(ECS_TASK.fullmatch(word) or BATCH_JOB.fullmatch(word))


def logs_of(ecs: Any, batch: Any, word: str) -> list[ContainerLog]:
    """The logs of the containers of an ECS task or a Batch job.

    Raises:
        Refused: there is none, or it writes no log to CloudWatch.
    """
    found = _of_job(batch, word) if BATCH_JOB.fullmatch(word) else _of_task(ecs, word)
    if not found:
        raise Refused(f"{word} writes no log to CloudWatch Logs.")
    return found


def _of_task(ecs: Any, word: str) -> list[ContainerLog]:
    arn = _arn(ecs, word)
    cluster = arn.split("/")[1] if arn.count("/") > 1 else "default"
    with calling(f"ecs DescribeTasks {word}"):
        tasks = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    if not tasks:
        raise _unknown(word)
    with calling("ecs DescribeTaskDefinition"):
        definition = ecs.describe_task_definition(taskDefinition=tasks[0]["taskDefinitionArn"])["taskDefinition"]
    found = []
    for container in definition["containerDefinitions"]:
        options = (container.get("logConfiguration") or {}).get("options") or {}
        if "awslogs-group" in options and "awslogs-stream-prefix" in options:
            stream = f"{options['awslogs-stream-prefix']}/{container['name']}/{arn.rpartition('/')[2]}"
            found.append(ContainerLog(container["name"], options["awslogs-group"], stream))
    return found


def _arn(ecs: Any, word: str) -> str:
    """The ARN of a task of any cluster."""
    if word.startswith("arn:"):
        return word
    with calling("ecs ListClusters"):
        clusters = [arn for page in ecs.get_paginator("list_clusters").paginate() for arn in page["clusterArns"]]
    for cluster in clusters:
        with calling(f"ecs DescribeTasks {word}"):
            tasks = ecs.describe_tasks(cluster=cluster, tasks=[word])["tasks"]
        if tasks:
            return str(tasks[0]["taskArn"])
    raise _unknown(word)


def _unknown(word: str) -> Refused:
    return Refused(f"ECS knows no task {word}: it forgets what ended an hour after its end. See: skylift ps --all")


def _of_job(batch: Any, word: str) -> list[ContainerLog]:
    with calling(f"batch DescribeJobs {word}"):
        jobs = batch.describe_jobs(jobs=[word])["jobs"]
    if not jobs:
        raise Refused(f"Batch knows no job {word}. See: skylift ps --all")
    container = jobs[0].get("container") or {}
    options = (container.get("logConfiguration") or {}).get("options") or {}
    stream = container.get("logStreamName")
    if not stream:
        raise Refused(f"The Batch job {word} is {jobs[0]['status']}: it has no log yet.")
    return [ContainerLog("job", options.get("awslogs-group", BATCH_GROUP), stream)]


def show_containers(
    logs: Any,
    found: list[ContainerLog],
    lines: int | None,
    follow: bool,
    write: Callable[[str], None],
    rename: Rename,
) -> None:
    """Writes the logs, each under a heading if there are several; with ``follow`` it never ends.

    Args:
        lines: at most this many of each, the newest; ``None``: all.
    """
    shown: dict[str, int] = {}
    heading = ""
    while True:
        for one in found:
            there = _messages(logs, one)
            begin = shown.get(one.stream, max(0, len(there) - lines) if lines is not None else 0)
            if len(found) > 1 and there[begin:] and heading != one.stream:
                heading = one.stream
                write(f"=== {one.container}")
            for at, message in there[begin:]:
                if (text := readable(message, rename)) is not None:
                    write(f"{when(at)} {text}")
            shown[one.stream] = len(there)
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)


def _messages(logs: Any, one: ContainerLog) -> list[tuple[int, str]]:
    """Nothing, as long as the container has not begun to write."""
    found: list[tuple[int, str]] = []
    exists(lambda: found.extend(messages(logs, one.group, one.stream)), f"log stream {one.stream}")
    return found
