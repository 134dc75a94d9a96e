"""Asks ECS and Batch what runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from skylift.aws import signed
from skylift.aws.errors import calling
from skylift.cli import environments
from skylift.cli.connection import Connection
from skylift.cli.home import REGION
from skylift.cli.parts.rows import RunningPart, of_batch_job, of_ecs_task, ordered
from skylift.core.errors import Refused, Unavailable

USAGE = "/_skylift/usage"
"""The local cloud's route: what each ECS task uses now."""

LIVE_JOBS = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
ENDED_JOBS = ("SUCCEEDED", "FAILED")
MOST_DESCRIBED = 100


def running_parts(here: Connection, environment: str, ended: int = 0) -> list[RunningPart]:
    """What runs now.

    Args:
        environment: only its; empty: everything.
        ended: also so many of what ended, the newest, as long as ECS and Batch remember it (an hour, a day).

    Raises:
        Refused, Unavailable: from AWS.
    """
    known = environments.names(here.client("mwaa"))
    if environment and environment not in known:
        environments.get(here.client("mwaa"), environment)  # says which there are
    ecs, used = here.client("ecs"), _usage()
    tasks = (of_ecs_task(task, used.get(_id(task), {}), known) for task in ecs_tasks(ecs))
    rows = [one for one in tasks if _is_of(one, environment)]
    for cluster in _clusters(ecs) if ended else ():
        tasks = (of_ecs_task(task, {}, known) for task in ecs_tasks_in(ecs, cluster, "STOPPED"))
        rows += islice((one for one in tasks if _is_of(one, environment)), ended)
    batch = here.client("batch")
    for statuses, most in ((LIVE_JOBS, None), (ENDED_JOBS if ended else (), ended)):
        jobs = (of_batch_job(job, known) for job in _jobs(batch, statuses))
        rows += islice((one for one in jobs if _is_of(one, environment)), most)
    return _newest(ordered(rows), ended)


def _is_of(one: RunningPart, environment: str) -> bool:
    return not environment or one.environment == environment


def _newest(rows: list[RunningPart], count: int) -> list[RunningPart]:
    """What runs, and then the newest of what ended, oldest first."""
    over = sorted((one for one in rows if one.ended is not None), key=lambda one: one.ended or datetime.now(UTC))
    return [*(one for one in rows if one.ended is None), *over[-count or len(over) :]]


def ecs_tasks(ecs: Any) -> Iterator[dict[str, Any]]:
    """The ECS tasks of all clusters that should run, with tags."""
    for cluster in _clusters(ecs):
        yield from ecs_tasks_in(ecs, cluster, "RUNNING")


def ecs_tasks_in(ecs: Any, cluster: str, status: str) -> Iterator[dict[str, Any]]:
    """The ECS tasks of a cluster with this desired status, with tags; a hundred is asked for once it is needed. The
    local cloud lists the newest of those that ended first."""
    pages = iter(ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus=status))
    while True:
        with calling("ecs ListTasks"):
            arns = next(pages, {"taskArns": None})["taskArns"]
        if arns is None:
            return
        if arns:
            with calling("ecs DescribeTasks"):
                found = ecs.describe_tasks(cluster=cluster, tasks=arns, include=["TAGS"])["tasks"]
            yield from found


def _clusters(ecs: Any) -> list[str]:
    with calling("ecs ListClusters"):
        return [arn for page in ecs.get_paginator("list_clusters").paginate() for arn in page["clusterArns"]]


def _jobs(batch: Any, statuses: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The Batch jobs of all queues with these statuses, the newest first; a hundred is asked for once it is needed."""
    with calling("batch DescribeJobQueues"):
        queues = [one["jobQueueArn"] for one in batch.describe_job_queues()["jobQueues"]]
    found: list[dict[str, Any]] = []
    for queue in queues:
        for status in statuses:
            with calling("batch ListJobs"):
                pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
                found += [one for page in pages for one in page["jobSummaryList"]]
    newest = sorted(found, key=lambda one: int(one.get("stoppedAt") or one.get("createdAt") or 0), reverse=True)
    for some in _in_hundreds([one["jobId"] for one in newest]):
        with calling("batch DescribeJobs"):
            yield from batch.describe_jobs(jobs=some)["jobs"]


def _usage() -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = signed.call("GET", USAGE, region=REGION, timeout=5)
    except (Refused, Unavailable):
        return {}  # a server of an older version
    return found


def _in_hundreds(names: list[str]) -> Iterable[list[str]]:
    return (names[start : start + MOST_DESCRIBED] for start in range(0, len(names), MOST_DESCRIBED))


def _id(task: dict[str, Any]) -> str:
    return str(task["taskArn"]).rpartition("/")[2]
