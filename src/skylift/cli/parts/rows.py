"""What runs, one row each: from ECS's and Batch's own answers to rows for people and programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PREFIX = "skylift-"
EXECUTOR_FAMILY = "-task"
ONE_OFFS = ("-migrate", "-build-layer", "-prove")
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class RunningPart:
    """One ECS task or Batch job.

    Attributes:
        environment: whose; empty for the user's own.
        name: of the part (``scheduler``), or of the Airflow task instance (``dag.task [3], try 2``).
        kind: ``part``, ``Airflow task``, ``one-off``, ``ECS task`` or ``Batch job``.
        state: as ECS or Batch says.
        since: when it began (or was made, while it has not).
        ended: when it ended, if it has.
        cpu: processors that it uses now; ``None``: not known.
        memory: bytes that it uses now; ``None``: not known.
        why: why it ended, or what it waits for.
        id: to use with ``skylift logs`` and ``skylift exec``.
    """

    environment: str
    name: str
    kind: str
    state: str
    since: datetime | None
    ended: datetime | None
    cpu: float | None
    memory: int | None
    why: str
    id: str

    def age(self, now: datetime) -> float | None:
        """Seconds that it has lived."""
        return None if self.since is None else max(0.0, ((self.ended or now) - self.since).total_seconds())


def of_ecs_task(task: Mapping[str, Any], used: Mapping[str, Any], environments: Iterable[str]) -> RunningPart:
    """The row of an ECS task.

    Args:
        task: as DescribeTasks shows it, with tags.
        used: ``{"processors", "bytes"}``; empty if not known.
        environments: names of all environments.
    """
    family = family_of(task)
    tags = {tag["key"]: tag.get("value", "") for tag in task.get("tags", [])}
    owner = max((one for one in environments if family.startswith(f"{PREFIX}{one}-")), key=len, default="")
    rest = family.removeprefix(f"{PREFIX}{owner}-") if owner else family
    if owner and "dag_id" in tags:
        name, kind = instance_name(tags), "Airflow task"
    elif owner and str(task.get("group", "")).startswith("service:"):
        name, kind = rest, "part"
    else:
        name, kind = rest, "one-off" if owner else "ECS task"
    return RunningPart(
        owner,
        name,
        kind,
        str(task["lastStatus"]),
        task.get("startedAt") or task.get("createdAt"),
        task.get("stoppedAt"),
        used.get("processors"),
        used.get("bytes"),
        why(task),
        str(task["taskArn"]).rpartition("/")[2],
    )


def family_of(task: Mapping[str, Any]) -> str:
    """The family of an ECS task's definition."""
    return str(task.get("taskDefinitionArn", "")).rpartition("/")[2].rpartition(":")[0]


def instance_name(tags: Mapping[str, str]) -> str:
    """``dag.task [3], try 2`` of an Airflow task's container, from its tags."""
    index = tags.get("map_index", "-1")
    number = tags.get("try_number", "1")
    mapped = f" [{index}]" if index not in {"", "-1"} else ""
    return f"{tags['dag_id']}.{tags.get('task_id', '?')}{mapped}" + (f", try {number}" if number != "1" else "")


def why(task: Mapping[str, Any]) -> str:
    """Why an ECS task ended, in ECS's words; empty for one that runs or ended well."""
    if task["lastStatus"] != "STOPPED":
        return ""
    containers = [one for one in task.get("containers", ()) if one.get("exitCode") or one.get("reason")]
    if not containers and task.get("stopCode") == "EssentialContainerExited":
        return ""
    told = [
        ", ".join(filter(None, [f"exit code {one['exitCode']}" if "exitCode" in one else "", one.get("reason", "")]))
        for one in containers
    ]
    return "; ".join(filter(None, [str(task.get("stoppedReason", "")), *told]))


def of_batch_job(job: Mapping[str, Any], environments: Iterable[str]) -> RunningPart:
    """The row of a Batch job, as DescribeJobs shows it."""
    queue = str(job.get("jobQueue", "")).rpartition("/")[2]
    owner = max(
        (one for one in environments if queue.startswith(f"{PREFIX}{one}{EXECUTOR_FAMILY}")), key=len, default=""
    )
    tags = job.get("tags") or {}
    begun, ended = job.get("startedAt") or job.get("createdAt"), job.get("stoppedAt")
    reason = str(job.get("statusReason", "")) if job["status"] not in {"RUNNING", "SUCCEEDED"} else ""
    return RunningPart(
        owner,
        instance_name(tags) if "dag_id" in tags else str(job["jobName"]),
        "Batch job",
        str(job["status"]),
        _time(begun),
        _time(ended),
        None,
        None,
        reason,
        str(job["jobId"]),
    )


def ordered(rows: Iterable[RunningPart]) -> list[RunningPart]:
    """Environment by environment: its parts, then the rest, the newest last."""

    def key(one: RunningPart) -> tuple[Any, ...]:
        return (
            one.environment == "",
            one.environment,
            one.kind != "part",
            one.since or datetime.max.astimezone(),
            one.name,
        )

    return sorted(rows, key=key)


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone() if milliseconds else None
