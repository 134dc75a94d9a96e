"""Batch's operations that submit and show jobs: SubmitJob, DescribeJobs, ListJobs."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from skylift.core.numbers import natural
from skylift.localcloud.batch.checks import check_submission
from skylift.localcloud.batch.lifecycle import JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob, SubmittedJob
from skylift.localcloud.batch.operations import BatchOperations, Request
from skylift.localcloud.batch.shapes import (
    batch_arn,
    executing,
    merged_tags,
    milliseconds,
    name_of,
    page_size,
    position,
    refused,
    without,
)
from skylift.localcloud.batch.shown import described, listed
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

MOST_DESCRIBED = 100
_APART = ("jobQueue", "jobDefinition", "tags", "arrayProperties")
_FILTERS = frozenset({"JOB_NAME", "JOB_DEFINITION", "BEFORE_CREATED_AT", "AFTER_CREATED_AT"})


class SubmissionOperations(BatchOperations):
    """What executors call."""

    def submit_job(self, caller: Caller, request: Request) -> Document:
        """Accepts a job, or an array of 2 to 10,000: on disk before the answer. Not idempotent, as in AWS."""
        queue = self.queue(request["jobQueue"])
        definition = self.runnable_definition(request["jobDefinition"])
        check_submission(request, definition, queue)
        self._check_needs(request)
        self.store.last_number += 1
        submission = SubmittedJob(
            str(uuid.uuid4()),
            self.store.last_number,
            self.clock(),
            without(request, _APART),
            definition["jobDefinitionArn"],
            queue["jobQueueArn"],
            request.get("arrayProperties", {}).get("size", 0),
            merged_tags({}, request.get("tags", {})),
            _priority(request, definition) if "schedulingPolicyArn" in queue else 0,
        )
        self.engine.submit(ArrayJob(submission) if submission.size else BatchJob(submission))
        return {
            "jobArn": batch_arn(self.cloud, "job", submission.id),
            "jobName": request["jobName"],
            "jobId": submission.id,
        }

    def describe_jobs(self, caller: Caller, request: Request) -> Document:
        """Up to 100 jobs, children by ``id:index``; unknown ones are omitted."""
        names = request["jobs"]
        if not 1 <= len(names) <= MOST_DESCRIBED:
            raise refused(f"jobs must have 1 to {MOST_DESCRIBED} entries.")
        found = [job for name in dict.fromkeys(names) if (job := self.store.find(name)) is not None]
        return {"jobs": [described(self.cloud, job, self.engine.index.definition(job)) for job in found]}

    def list_jobs(self, caller: Caller, request: Request) -> Document:
        """Jobs of a queue, newest first, or children of an array by index. RUNNING ones, unless status or filter say
        otherwise."""
        sources = [name for name in ("jobQueue", "arrayJobId", "multiNodeJobId") if name in request]
        if len(sources) != 1:
            raise executing("Exactly one of jobQueue, arrayJobId, multiNodeJobId must be specified.")
        if "multiNodeJobId" in request:
            raise refused("Multi-node parallel jobs are not supported by skylift's local cloud.")
        size, after = page_size(request), position(request)
        status = JobState(request.get("jobStatus", JobState.RUNNING))
        if "arrayJobId" in request:
            jobs, key = self._children(request["arrayJobId"], status, after, size + 1), _index
        else:
            jobs, key = self._of_queue(request, status, after), _number
        more = {"nextToken": str(key(jobs[size - 1]))} if len(jobs) > size else {}
        return {"jobSummaryList": [listed(self.cloud, job) for job in jobs[:size]], **more}

    def _check_needs(self, request: Request) -> None:
        for need in request.get("dependsOn", ()):
            if "jobId" not in need:
                continue
            found = self.store.find(need["jobId"])
            if found is None:
                raise executing(f"Dependent job {need['jobId']} was not found.")
            if need.get("type") != "N_TO_N":
                continue
            if not isinstance(found, ArrayJob) or found.size != request["arrayProperties"]["size"]:
                raise executing("N_TO_N dependencies must be between array jobs of the same size.")

    def _children(self, array_id: str, status: JobState, after: int, most: int) -> list[BatchJob]:
        """Those behind the ``after``-th index (tokens count from 1), at most ``most``."""
        array = self.store.find(array_id)
        if not isinstance(array, ArrayJob):
            raise executing(f"Job {array_id} is not an array job.")
        if array.rest is status:
            children = (array.child(index) for index in range(after, array.size))
            return list(itertools.islice((child for child in children if child.status is status), most))
        return sorted(
            (child for child in array.children.values() if child.status is status and child.index >= after), key=_index
        )

    def _of_queue(self, request: Request, status: JobState, before: int) -> list[BatchJob]:
        """Those accepted before the ``before``-th."""
        queue, index = self.queue(request["jobQueue"])["jobQueueArn"], self.engine.index
        filters = request.get("filters", ())
        if len(filters) > 1:
            raise executing("Only one filter can be used at a time.")
        states = tuple(JobState) if filters else (status,)
        meets = _filter(filters[0]) if filters else _anything
        found = [job for state in states for job in index.in_state(queue, state) if meets(job)]
        return sorted((job for job in found if not before or _number(job) < before), key=_number, reverse=True)


def _number(job: BatchJob) -> int:
    return job.submission.number


def _index(job: BatchJob) -> int:
    return job.index + 1


def _anything(_job: BatchJob) -> bool:
    return True


def _filter(said: Mapping[str, Any]) -> Callable[[BatchJob], bool]:
    """The condition of one filter; any of its values matches."""
    name, values = said.get("name"), said.get("values", [])
    if name not in _FILTERS or not values:
        raise executing(f"Filters have one of the names {', '.join(sorted(_FILTERS))}, and values.")
    if name == "JOB_NAME":
        wanted = [value.lower() for value in values]
        return lambda job: any(_like(value, job.submission.request["jobName"].lower()) for value in wanted)
    if name == "JOB_DEFINITION":
        return lambda job: any(_of_definition(value, job.submission.definition) for value in values)
    moments = [natural(value) for value in values]
    if None in moments:
        raise executing(f"The value of {name} must be milliseconds since the epoch.")
    moment = moments[0] or 0
    if name == "BEFORE_CREATED_AT":
        return lambda job: milliseconds(job.submission.at) < moment
    return lambda job: milliseconds(job.submission.at) > moment


def _like(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _of_definition(value: str, arn: str) -> bool:
    """By ARN of a revision, or by name of all revisions."""
    return value == arn if value.startswith("arn:") else _like(value, name_of(arn).partition(":")[0])


def _priority(request: Request, definition: Document) -> int:
    """Within the job's share."""
    if "schedulingPriorityOverride" in request:
        return int(request["schedulingPriorityOverride"])
    return int(definition.get("schedulingPriority", 0))
