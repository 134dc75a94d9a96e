"""Batch jobs as DescribeJobs, ListJobs and EventBridge show them. Pure."""

from __future__ import annotations

from typing import Any

from skylift.localcloud.batch.containers import CONTAINER, effective
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.batch.shapes import batch_arn, milliseconds, without
from skylift.localcloud.ecs.model.lifecycle import TaskState
from skylift.localcloud.ports import CloudContext, Document


def described(cloud: CloudContext, job: BatchJob, definition: Document) -> Document:
    """A job as DescribeJobs shows it (``JobDetail``)."""
    submission, request = job.submission, job.submission.request
    document: Document = {
        **_named(cloud, job),
        "jobQueue": submission.queue,
        "attempts": job.attempts,
        "dependsOn": request.get("dependsOn", []),
        "jobDefinition": submission.definition,
        "parameters": {**definition.get("parameters", {}), **request.get("parameters", {})},
        "tags": submission.tags,
        "propagateTags": request.get("propagateTags", definition.get("propagateTags", False)),
        "platformCapabilities": definition.get("platformCapabilities") or ["EC2"],
        "eksAttempts": [],
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
        "retryStrategy": strategy(job, definition),
        **_containers(job, definition),
    }
    if submission.share:
        document |= {"shareIdentifier": submission.share, "schedulingPriority": submission.priority}
    if seconds := timeout(job, definition):
        document["timeout"] = {"attemptDurationSeconds": seconds}
    if job.started is not None:
        document["startedAt"] = milliseconds(job.started)
    if job.stopped is not None:
        document["stoppedAt"] = milliseconds(job.stopped)
    return document


def listed(cloud: CloudContext, job: BatchJob) -> Document:
    """A job as ListJobs shows it (``JobSummary``)."""
    document = {**_named(cloud, job), "jobDefinition": job.submission.definition}
    if job.cancelled or job.terminated:
        document |= {"isCancelled": job.cancelled, "isTerminated": job.terminated}
    if job.started is not None:
        document["startedAt"] = milliseconds(job.started)
    if job.stopped is not None:
        document["stoppedAt"] = milliseconds(job.stopped)
    container = {name: job.container[name] for name in ("exitCode", "reason") if name in job.container}
    if container:
        document["container"] = container
    return document


def strategy(job: BatchJob, definition: Document) -> Document:
    """The job's ``retryStrategy``: its own, or its definition's, or one attempt."""
    said = job.submission.request.get("retryStrategy") or definition.get("retryStrategy") or {}
    return {"attempts": 1, "evaluateOnExit": [], **said}


def timeout(job: BatchJob, definition: Document) -> int | None:
    """Seconds that an attempt may run, or ``None``."""
    said = job.submission.request.get("timeout") or definition.get("timeout") or {}
    return said.get("attemptDurationSeconds")


def attempt_of(task: Document, definition: Document) -> Document:
    """``container`` of an attempt (or ``taskProperties``, if there are several): what its ECS task knows now."""
    streams = {item["name"]: _stream(item) for item in definition["containerDefinitions"]}
    began = "startedAt" in task or task["lastStatus"] == TaskState.RUNNING
    shown = [_attempt_container(item, streams[item["name"]], task, began) for item in task["containers"]]
    if [item["name"] for item in task["containers"]] == [CONTAINER]:
        return {"taskArn": task["taskArn"], **without(shown[0], ("name",))}
    return {"taskArn": task["taskArn"], "containers": shown}


def _named(cloud: CloudContext, job: BatchJob) -> Document:
    document: Document = {
        "jobArn": batch_arn(cloud, "job", job.id),
        "jobId": job.id,
        "jobName": job.submission.request["jobName"],
        "createdAt": milliseconds(job.submission.at),
        "status": job.status,
    }
    if job.reason:
        document["statusReason"] = job.reason
    if isinstance(job, ArrayJob):
        summary: dict[str, Any] = {"statusSummary": job.summary(), "size": job.size}
        if job.summed:
            summary["statusSummaryLastUpdatedAt"] = milliseconds(job.summed)
        document["arrayProperties"] = summary
    elif job.index >= 0:
        document["arrayProperties"] = {"index": job.index}
    return document


def _containers(job: BatchJob, definition: Document) -> Document:
    containers = effective(definition, job.submission.request)
    if "containerProperties" in definition:
        defaults: Document = {"command": [], "volumes": [], "environment": [], "mountPoints": [], "ulimits": []}
        empty: Document = {"networkInterfaces": [], "secrets": []}
        return {"container": {**defaults, **empty, **without(containers[0], ("name",)), **job.container}}
    known = {item["name"]: item for item in job.container.get("containers", ())}
    merged = [{**item, **known.get(item["name"], {})} for item in containers]
    task = {**definition["ecsProperties"]["taskProperties"][0], **without(job.container, ("containers",))}
    return {"ecsProperties": {"taskProperties": [{**task, "containers": merged}]}}


def _stream(container: Document) -> str:
    options = container.get("logConfiguration", {}).get("options", {})
    return f"{options.get('awslogs-stream-prefix', '')}/{container['name']}"


def _attempt_container(item: Document, stream: str, task: Document, began: bool) -> Document:
    shown: Document = {"name": item["name"], "networkInterfaces": _interfaces(item)}
    if began or "exitCode" in item:
        shown["logStreamName"] = f"{stream}/{task['taskArn'].rsplit('/', 1)[-1]}"
    return shown | {name: item[name] for name in ("exitCode", "reason") if name in item}


def _interfaces(item: Document) -> list[Document]:
    return [
        {"attachmentId": one["attachmentId"], "privateIpv4Address": one["privateIpv4Address"]}
        for one in item.get("networkInterfaces", ())
    ]
