"""What Batch stores about jobs: the submission (written once), the job's state (small, written often), an array and its
children.

Only array children that differ from the rest have their own records; all others share one state (``rest``). So 10,000
children cost one row to submit, and one row each once they run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from skylift.localcloud.batch.lifecycle import ENDED, WAITING, JobState
from skylift.localcloud.ports import Document


@dataclass
class SubmittedJob:
    """What SubmitJob accepted.

    Attributes:
        id: the job's id, without an index.
        number: order of acceptance.
        at: seconds since the epoch.
        request: SubmitJob's request, without what stands here.
        definition: ARN of the job definition's revision.
        queue: ARN of the job queue.
        size: number of children; 0 if it is not an array.
        tags: of the job; may change later.
        priority: among the jobs of its share; 0 in a queue without a scheduling policy.
    """

    id: str
    number: int
    at: float
    request: Document
    definition: str
    queue: str
    size: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    priority: int = 0

    @property
    def share(self) -> str:
        """``shareIdentifier``; empty in a queue without a scheduling policy."""
        return str(self.request.get("shareIdentifier", ""))

    @property
    def needs(self) -> list[Document]:
        """``dependsOn``."""
        return list(self.request.get("dependsOn", ()))

    @property
    def stepwise(self) -> bool:
        """Whether the children of this array become runnable one by one, not all at once."""
        return bool(self.size) and any(
            need.get("type") == "N_TO_N" or (need.get("type") == "SEQUENTIAL" and "jobId" not in need)
            for need in self.needs
        )


@dataclass
class BatchJob:
    """A job that runs: a single one, or a child of an array. ``index`` is -1 for a single job.

    Attributes:
        reason: ``statusReason``.
        attempts: the attempts that have ended, as DescribeJobs shows them.
        container: of the newest attempt: ``taskArn``, ``exitCode``, ``reason``, ``logStreamName``, ...
        task: id of the ECS task of the current attempt, or empty.
        place: name of the compute environment whose capacity the current attempt uses, or empty.
        started: seconds since the epoch when the newest attempt began to run, or ``None``.
        stopped: the same for the job's end.
        ending: why someone wants it to end; empty if nobody does.
        cancelled: CancelJob was called.
        terminated: TerminateJob was called.
    """

    submission: SubmittedJob
    index: int = -1
    status: JobState = JobState.SUBMITTED
    reason: str = ""
    attempts: list[Document] = field(default_factory=list)
    container: Document = field(default_factory=dict)
    task: str = ""
    place: str = ""
    started: float | None = None
    stopped: float | None = None
    ending: str = ""
    cancelled: bool = False
    terminated: bool = False

    @property
    def id(self) -> str:
        """``uuid``, or ``uuid:index`` for a child."""
        return self.submission.id if self.index < 0 else f"{self.submission.id}:{self.index}"

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED

    @property
    def waiting(self) -> bool:
        """Whether nothing of it runs yet."""
        return self.status in WAITING


@dataclass
class ArrayJob(BatchJob):
    """An array's parent: runs nothing itself.

    Attributes:
        children: index to child, of those that have a record of their own.
        rest: the state of all others.
        rest_reason: their ``statusReason``.
        next: no child below this index shares the state (of an array whose children become runnable all at once).
        counts: how many of ``children`` are in which state.
        summed: seconds since the epoch of the last change of a count.
    """

    children: dict[int, BatchJob] = field(default_factory=dict)
    rest: JobState = JobState.PENDING
    rest_reason: str = ""
    next: int = 0
    counts: dict[JobState, int] = field(default_factory=dict)
    summed: float = 0.0

    @property
    def size(self) -> int:
        """How many children it has."""
        return self.submission.size

    @property
    def sharing(self) -> int:
        """How many children share ``rest``."""
        return self.size - len(self.children)

    def child(self, index: int) -> BatchJob:
        """A child; one that shares the state gets a record that is not kept."""
        return self.children.get(index) or self.shared_child(index)

    def shared_child(self, index: int) -> BatchJob:
        """A record of a child in the shared state."""
        stopped = self.summed if self.rest in ENDED else None
        return BatchJob(
            self.submission,
            index,
            self.rest,
            self.rest_reason,
            stopped=stopped,
            cancelled=self.cancelled and self.rest in ENDED,
            terminated=self.terminated and self.rest in ENDED,
        )

    def summary(self) -> dict[JobState, int]:
        """How many children are in which state."""
        counts = {state: self.counts.get(state, 0) for state in JobState}
        counts[self.rest] += self.sharing
        return counts


def packed(job: BatchJob) -> dict[str, Any]:
    """The state of a job as it is written, without initial values."""
    body: dict[str, Any] = {"status": job.status}
    for name in ("reason", "attempts", "container", "task", "place", "started", "stopped"):
        if value := getattr(job, name):
            body[name] = value
    for name in ("ending", "cancelled", "terminated"):
        if value := getattr(job, name):
            body[name] = value
    if isinstance(job, ArrayJob):
        body |= {"rest": job.rest, "rest_reason": job.rest_reason, "summed": job.summed}
    return body


def unpack(job: BatchJob, body: dict[str, Any]) -> None:
    """Puts a written state into a fresh record."""
    for name, value in body.items():
        setattr(job, name, JobState(value) if name in {"status", "rest"} else value)
