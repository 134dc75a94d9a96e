"""Asks ECS and Batch what runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def running_parts(here: Connection, environment: str, *, ended: bool = False) -> list[RunningPart]:
    """What runs now.

    Args:
        environment: only its; empty: everything.
        ended: also what ended, as long as ECS and Batch remember it (an hour, a day).

    Raises:
        Refused, Unavailable: from AWS.
    """
    known = environments.names(here.client("mwaa"))
    if environment and environment not in known:
        environments.get(here.client("mwaa"), environment)  # says which there are
    ecs, used = here.client("ecs"), _usage()
    rows = [of_ecs_task(task, used.get(_id(task), {}), known) for task in ecs_tasks(ecs, ended=ended)]
    rows += [of_batch_job(job, known) for job in _jobs(here.client("batch"), ended)]
    return ordered(one for one in rows if not environment or one.environment == environment)


def ecs_tasks(ecs: Any, *, ended: bool = False) -> Iterator[dict[str, Any]]:
    """The ECS tasks of all clusters that should run, with tags; with ``ended``, also the others that ECS remembers."""
    with calling("ecs ListClusters"):
        clusters = [arn for page in ecs.get_paginator("list_clusters").paginate() for arn in page["clusterArns"]]
    for cluster in clusters:
        arns: list[str] = []
        for status in ("RUNNING", "STOPPED") if ended else ("RUNNING",):
            with calling("ecs ListTasks"):
                pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus=status)
                arns += [arn for page in pages for arn in page["taskArns"]]
        for some in _in_hundreds(arns):
            with calling("ecs DescribeTasks"):
                yield from ecs.describe_tasks(cluster=cluster, tasks=some, include=["TAGS"])["tasks"]


def _jobs(batch: Any, ended: bool) -> Iterator[dict[str, Any]]:
    with calling("batch DescribeJobQueues"):
        queues = [one["jobQueueArn"] for one in batch.describe_job_queues()["jobQueues"]]
    found: list[str] = []
    for queue in queues:
        for status in (*LIVE_JOBS, *ENDED_JOBS) if ended else LIVE_JOBS:
            with calling("batch ListJobs"):
                pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
                found += [one["jobId"] for page in pages for one in page["jobSummaryList"]]
    for some in _in_hundreds(found):
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
