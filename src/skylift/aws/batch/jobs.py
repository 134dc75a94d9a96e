"""Batch jobs, typed: submit, describe many at once, terminate, list by name. Raises ``SkyliftError`` (see
``aws/errors.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError
from botocore.parsers import ResponseParserError

from skylift.aws.errors import Throttled, calling, translate
from skylift.core.errors import Refused, SkyliftError, Unavailable

MOST_PER_DESCRIBE = 100
"""DescribeJobs takes at most 100 jobs a call (botocore model ``batch/2016-08-10``)."""

MOST_REASON = 1024
"""Characters of TerminateJob's reason (API reference)."""

ALIVE = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
"""States of a job that is not over, in their order (user guide, "Job states")."""

LOG_GROUP = "/aws/batch/job"
"""Where a job's output goes when its definition has no log configuration (user guide, "Using the awslogs log
driver")."""


class Unclear(Unavailable):
    """There was no answer, or only half of one: the call may have succeeded anyway."""


class NoQueue(Refused):
    """The job queue does not exist."""


@dataclass(frozen=True)
class JobContainer:
    """One container of an attempt of a Batch job. ``name`` is "" where the definition has only one."""

    name: str
    exit_code: int | None
    reason: str
    log_stream: str


@dataclass(frozen=True)
class BatchTry:
    """One attempt of Batch's own (``retryStrategy``) that is over."""

    started: bool
    reason: str
    containers: tuple[JobContainer, ...]


@dataclass(frozen=True)
class DescribedJob:
    """A Batch job as DescribeJobs and events show it, the fields that we read.

    Attributes:
        id: the job's id; ``id:index`` for a child of an array.
        reason: ``statusReason``.
        started: the job, in its last attempt, was RUNNING once.
        on_request: somebody cancelled or terminated it.
        containers: of the last attempt.
        tries: attempts that are over, oldest first.
        log_group: CloudWatch log group of the container; "" if it does not log there.
        is_array: it is the parent of an array.
    """

    id: str
    name: str
    status: str
    reason: str
    started: bool
    on_request: bool
    containers: tuple[JobContainer, ...]
    tries: tuple[BatchTry, ...]
    log_group: str
    is_array: bool = False


class BatchJobs:
    """The calls on Batch jobs.

    Args:
        client: boto3's ``batch`` client (``skylift.aws.clients.client``).
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, request: Mapping[str, Any]) -> str:
        """Submits a job, or an array; its id. Repeating it makes another: SubmitJob has no token for idempotency.

        Raises:
            Throttled, Unavailable: nothing was submitted; the same will work later.
            Unclear: it may have been submitted.
            Refused: it will not work like this.
        """
        try:
            with classified("batch SubmitJob"):
                return str(self._client.submit_job(**request)["jobId"])
        except (KeyError, ResponseParserError) as error:
            raise Unclear(f"batch SubmitJob: an answer without a job id: {error}") from error

    def describe(self, ids: Sequence[str]) -> dict[str, DescribedJob]:
        """The jobs by id, at most 100; one that Batch does not know (any more) is not in the answer.

        Raises:
            Throttled, Unavailable, Refused: as above.
        """
        if not ids:
            return {}
        with classified("batch DescribeJobs"):
            answer = self._client.describe_jobs(jobs=list(ids))
        jobs = [job_of(document) for document in answer.get("jobs") or []]
        return {job.id: job for job in jobs}

    def terminate(self, job_id: str, why: str) -> None:
        """Ends a job, or one child of an array, in whatever state. One that is over or not known is fine."""
        with classified("batch TerminateJob"):
            self._client.terminate_job(jobId=job_id, reason=why[:MOST_REASON] or "no reason given")

    def newest(self, queue: str, name: str) -> str:
        """The id of the newest job of a queue with this name; "" if there is none. Raises as ``describe``."""
        return next((job_id for _, job_id in self.named(queue, name)), "")

    def named(self, queue: str, name: str) -> list[tuple[str, str]]:
        """(name, id) of all jobs of a queue with this name, in whatever state, the newest first; arrays by their
        parents.

        Args:
            queue: name or ARN.
            name: with ``*`` at the end: all names that begin so. Batch does not tell upper from lower case; we do.
        """
        found: list[tuple[str, str]] = []
        with classified("batch ListJobs"):
            pages = self._client.get_paginator("list_jobs").paginate(
                jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}]
            )
            for page in pages:
                found += [(str(one["jobName"]), str(one["jobId"])) for one in page.get("jobSummaryList") or []]
        begin, star, _ = name.partition("*")
        return [one for one in found if (one[0].startswith(begin) if star else one[0] == name)]

    def alive(self, queue: str) -> list[tuple[str, str]]:
        """(name, id) of all jobs of a queue that are not over; arrays by their parents. Raises like ``describe``.

        Jobs go from state to state in the order of asking, so none is missed; one that moves meanwhile comes twice.
        """
        found: dict[str, str] = {}
        with classified("batch ListJobs"):
            for state in ALIVE:
                for page in self._client.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=state):
                    found |= {str(one["jobId"]): str(one["jobName"]) for one in page.get("jobSummaryList") or []}
        return [(name, job_id) for job_id, name in found.items()]

    def queue_state(self, queue: str) -> str:
        """``ENABLED`` or ``DISABLED``.

        Raises:
            NoQueue: there is no such queue.
            Throttled, Unavailable, Refused: as above.
        """
        with classified("batch DescribeJobQueues"):
            answer = self._client.describe_job_queues(jobQueues=[queue])
        queues = answer.get("jobQueues") or []
        if not queues:
            raise NoQueue(f"Batch job queue {queue!r} does not exist: create it, or set another")
        return str(queues[0].get("state", ""))


def classified(doing: str) -> AbstractContextManager[None]:
    """Around one Batch call: as ``calling``; answers that did not come have their own name."""
    return calling(doing, _classified)


def job_of(document: Mapping[str, Any]) -> DescribedJob:
    """From a ``JobDetail``: DescribeJobs's, or an event's ``detail``."""
    container = document.get("container") or {}
    task: Mapping[str, Any] = next(iter((document.get("ecsProperties") or {}).get("taskProperties") or []), {})
    return DescribedJob(
        id=document["jobId"],
        name=document.get("jobName", ""),
        status=document.get("status", ""),
        reason=document.get("statusReason", ""),
        started=bool(document.get("startedAt")),
        on_request=bool(document.get("isTerminated") or document.get("isCancelled")),
        containers=_containers(container, task.get("containers")),
        tries=tuple(_try(one) for one in document.get("attempts") or []),
        log_group=_log_group(container, task),
        is_array="size" in (document.get("arrayProperties") or {}) and "index" not in document["arrayProperties"],
    )


def _classified(error: Exception, doing: str) -> SkyliftError:
    translated = translate(error, doing)
    if isinstance(translated, Throttled):
        return translated
    status = (
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(error, ClientError) else 0
    )
    # botocore's errors of connecting are no HTTPClientError: then nothing was sent.
    if isinstance(error, HTTPClientError) or int(status) >= 500:
        return Unclear(str(translated))
    return translated


def _try(attempt: Mapping[str, Any]) -> BatchTry:
    task: Mapping[str, Any] = next(iter(attempt.get("taskProperties") or []), {})
    return BatchTry(
        started=bool(attempt.get("startedAt")),
        reason=attempt.get("statusReason", ""),
        containers=_containers(attempt.get("container") or {}, task.get("containers")),
    )


def _containers(single: Mapping[str, Any], several: Sequence[Mapping[str, Any]] | None) -> tuple[JobContainer, ...]:
    shown = several or ([single] if single else [])
    return tuple(
        JobContainer(
            name=one.get("name", "") if several else "",
            exit_code=one.get("exitCode"),
            reason=one.get("reason", ""),
            log_stream=one.get("logStreamName", ""),
        )
        for one in shown
    )


def _log_group(container: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    first = container or next(iter(task.get("containers") or []), {})
    said = first.get("logConfiguration") or {}
    if said.get("logDriver", "awslogs") != "awslogs":
        return ""
    return str((said.get("options") or {}).get("awslogs-group", LOG_GROUP))
