"""What Batch says about one job for people who ask why it ended: its memory limit, when, where its output went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.aws.batch.jobs import DescribedJob, classified, job_of
from skylift.aws.clients import is_aws


@dataclass(frozen=True)
class BatchEnding:
    """A Batch job as DescribeJobs shows it, the fields that explain.

    Attributes:
        since: when it came into its state, as Batch says it; "" if it does not.
        memory: MiB that its container may have, by the container's name ("" where it has none).
        log_region: of the container's log; "" for the job's own.
        on_aws: whether it is AWS itself that says so (there is a console), and no other endpoint.
    """

    job: DescribedJob
    arn: str
    since: str
    memory: Mapping[str, int]
    log_region: str
    on_aws: bool


class BatchEndings:
    """The call. Raises ``Refused`` or ``Unavailable``.

    Args:
        client: boto3's ``batch`` client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def describe(self, job_id: str) -> BatchEnding | None:
        """One Batch job, or one child of an array (``id:index``); ``None`` if Batch does not know it."""
        with classified("batch DescribeJobs"):
            answer = self._client.describe_jobs(jobs=[job_id])
        jobs = answer.get("jobs") or []
        return _ending(jobs[0], is_aws(self._client)) if jobs else None


def _ending(document: Mapping[str, Any], on_aws: bool) -> BatchEnding:
    moments = {"SUCCEEDED": "stoppedAt", "FAILED": "stoppedAt", "RUNNING": "startedAt"}
    since = document.get(moments.get(document.get("status", ""), "createdAt"))
    task: Mapping[str, Any] = next(iter((document.get("ecsProperties") or {}).get("taskProperties") or []), {})
    single = document.get("container") or {}
    containers = task.get("containers") or [single]
    options = (containers[0].get("logConfiguration") or {}).get("options") or {}
    return BatchEnding(
        job=job_of(document),
        arn=document.get("jobArn", ""),
        since=datetime.fromtimestamp(since / 1000, UTC).isoformat(timespec="seconds") if since else "",
        memory={one.get("name", "") if task else "": _memory(one) for one in containers},
        log_region=options.get("awslogs-region", ""),
        on_aws=on_aws,
    )


def _memory(container: Mapping[str, Any]) -> int:
    wanted = [one.get("value") for one in container.get("resourceRequirements") or [] if one.get("type") == "MEMORY"]
    return int(next(iter(wanted), None) or container.get("memory") or 0)
