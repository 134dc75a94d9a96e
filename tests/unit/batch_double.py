"""Batch and S3 as boto3 clients in memory, whose calls can be lost on the way there or back, or kill who made them."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError
from tests.unit.executor_airflow import batch_conf

from skylift.aws.batch.jobs import BatchJobs
from skylift.core.clock import ManualClock
from skylift.executors.batch_compute import BatchCompute
from skylift.executors.in_container.payload import Payloads
from skylift.executors.options.batch import batch_options


class Killed(BaseException):
    """The scheduler's process ends here."""


class World:
    """What survives a scheduler: Batch jobs and S3 objects.

    Attributes:
        faults: what becomes of the n-th call (from 1) that changes something: ``before`` or ``after`` (its answer is
            lost, the call did nothing or all), ``kill before``, ``kill after``, or an AWS error code.
        calls: operations, in order.
        shown: what DescribeJobs says of a job or child, by ref; otherwise RUNNABLE.
        throttled: operation that is throttled now.
        hidden: the bucket may not be listed.
        late: seconds for which ListJobs does not show what was submitted.
    """

    def __init__(self, **faults: str) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.changes = 0
        self.faults = {int(number.removeprefix("n")): fault for number, fault in faults.items()}
        self.late = 0.0
        self.clock = ManualClock()
        self.hidden = False
        self.shown: dict[str, dict[str, Any]] = {}
        self.throttled = ""

    def compute(self, *, together: bool = True, url: str = "s3://b/p", **conf: str) -> BatchCompute:
        """A compute as a new process has it."""
        session = SimpleNamespace(client=lambda *_args, **_more: S3(self))
        options = batch_options(batch_conf(**conf))
        payloads = Payloads(url, session=session)
        return BatchCompute(BatchJobs(Batch(self)), options, payloads, together=together, clock=self.clock)

    def tokens(self) -> dict[str, list[str]]:
        """Refs of all jobs and children by the attempt that they run."""
        found: dict[str, list[str]] = {}
        for job_id, job in self.jobs.items():
            for index, token in enumerate(self._tokens_of(job)):
                found.setdefault(token, []).append(f"{job_id}:{index}" if job.get("arrayProperties") else job_id)
        return found

    def changed(self, operation: str) -> Iterator[None]:
        """Around the effect of a call."""
        self.call(operation)
        self.changes += 1
        fault = self.faults.get(self.changes, "")
        if fault == "kill before":
            raise Killed
        if fault == "before":
            raise ReadTimeoutError(endpoint_url=operation)
        if fault and fault not in {"after", "kill after"}:
            raise ClientError({"Error": {"Code": fault, "Message": "Rate exceeded"}}, operation)
        yield
        if fault == "kill after":
            raise Killed
        if fault == "after":
            raise ReadTimeoutError(endpoint_url=operation)

    def call(self, operation: str) -> None:
        """Counts a call, or refuses it."""
        self.calls.append(operation)
        if operation == self.throttled:
            raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "slow"}}, operation)

    def _tokens_of(self, job: dict[str, Any]) -> list[str]:
        environment = {pair["name"]: pair["value"] for pair in job["containerOverrides"]["environment"]}
        if "SKYLIFT_WORKLOADS" not in environment:
            return [environment["SKYLIFT_WORKLOAD"].rpartition("/")[2].removesuffix(".json")]
        lines = self.objects[environment["SKYLIFT_WORKLOADS"].removeprefix("s3://b/")].decode()
        children = [lines[at : at + 64].strip().removesuffix(".json") for at in range(0, len(lines), 64)]
        assert len(children) == job["arrayProperties"]["size"]
        return children


class Batch:
    """As boto3's client, as far as we call it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def submit_job(self, **request: Any) -> dict[str, Any]:
        job_id = str(uuid.uuid4())
        for _ in self._world.changed("SubmitJob"):
            self._world.jobs[job_id] = {**request, "at": self._world.clock()}
        return {"jobId": job_id}

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        self._world.call("DescribeJobs")
        known = [name for name in jobs if name.partition(":")[0] in self._world.jobs]
        names = {name: self._world.jobs[name.partition(":")[0]]["jobName"] for name in known}
        plain = {"status": "RUNNABLE"}
        return {"jobs": [{"jobId": one, "jobName": names[one], **self._world.shown.get(one, plain)} for one in known]}

    def terminate_job(self, **request: Any) -> None:
        self._world.call("TerminateJob")
        self._world.shown[request["jobId"]] = {
            "status": "FAILED",
            "statusReason": request["reason"],
            "isTerminated": True,
        }

    def describe_job_queues(self, jobQueues: list[str]) -> dict[str, Any]:
        return {"jobQueues": [{"jobQueueName": name, "state": "ENABLED"} for name in jobQueues]}

    def get_paginator(self, _operation: str) -> Any:
        return SimpleNamespace(paginate=self._list_jobs)

    def _list_jobs(
        self, jobQueue: str, filters: list[dict[str, Any]] | None = None, jobStatus: str = ""
    ) -> list[dict[str, Any]]:
        self._world.call("ListJobs")
        if filters is None:
            return [{"jobSummaryList": self._in_state(jobQueue, jobStatus)}]
        (pattern,) = filters[0]["values"]
        begin, star, _ = pattern.lower().partition("*")
        since = self._world.clock() - self._world.late
        jobs = [(job_id, job) for job_id, job in self._world.jobs.items() if job.get("at", 0) <= since]
        found = [
            {"jobName": job["jobName"], "jobId": job_id}
            for job_id, job in reversed(jobs)
            if job["jobQueue"] == jobQueue
            and (job["jobName"].lower().startswith(begin) if star else job["jobName"].lower() == begin)
        ]
        return [{"jobSummaryList": found[:1]}, {"jobSummaryList": found[1:]}]

    def _in_state(self, queue: str, state: str) -> list[dict[str, str]]:
        """As if arrays were PENDING until they are over, and others what DescribeJobs says."""
        found = []
        for job_id, job in self._world.jobs.items():
            status = (
                "PENDING" if job.get("arrayProperties") else self._world.shown.get(job_id, {}).get("status", "RUNNABLE")
            )
            if job["jobQueue"] == queue and status == state:
                found.append({"jobName": job["jobName"], "jobId": job_id})
        return found


class S3:
    """As boto3's client, as far as we call it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        assert Bucket == "b"
        for _ in self._world.changed("PutObject"):
            self._world.objects[Key] = Body

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        assert Bucket == "b"
        if Key not in self._world.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self._world.objects[Key])}

    def get_paginator(self, _operation: str) -> Any:
        return SimpleNamespace(paginate=self._list)

    def _list(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        assert Bucket == "b"
        self._world.calls.append("ListObjects")
        if self._world.hidden:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "s3:ListBucket"}}, "ListObjectsV2")
        keys = [key for key in self._world.objects if key.startswith(Prefix)]
        return [{"Contents": [{"Key": key, "ETag": "", "Size": 1} for key in keys]}]
