"""What the end of an attempt means for the job: success, another attempt, or failure. Pure.

Sources: "Automated job retries" and "Job timeouts" in the AWS Batch user guide; API reference of EvaluateOnExit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.localcloud.batch.lifecycle import JobState
from skylift.localcloud.ecs.model.lifecycle import StopCode
from skylift.localcloud.ports import Document

FAILED_TO_START = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
DEPENDENCY_FAILED = "Dependent Job failed"
CHILD_FAILED = "Array Child Job failed"


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended.

    Attributes:
        code: exit code of its container (of several: the first essential one that failed), if it has one.
        reason: the container's reason, e.g. ``OutOfMemoryError: ...``, or empty.
        status_reason: ECS's text for the whole ECS task.
        success: every essential container exited with 0.
    """

    code: int | None
    reason: str
    status_reason: str
    success: bool


@dataclass(frozen=True)
class JobDecision:
    """What comes next: SUCCEEDED, FAILED, or RUNNABLE for another attempt; with the job's ``statusReason``."""

    status: JobState
    reason: str


def ended(task: Document, definition: Document) -> AttemptEnd:
    """Reads a stopped ECS task and its ECS task definition."""
    essential = {item["name"] for item in definition["containerDefinitions"] if item.get("essential", True)}
    containers = [item for item in task["containers"] if item["name"] in essential]
    failed = [item for item in containers if item.get("exitCode") != 0]
    told = failed[0] if failed else containers[0]
    reason, status_reason = told.get("reason", ""), task.get("stoppedReason", "")
    if task.get("stopCode") == StopCode.FAILED_TO_START and status_reason != FAILED_TO_START:
        reason, status_reason = reason or status_reason, FAILED_TO_START
    return AttemptEnd(told.get("exitCode"), reason, status_reason, not failed)


def judge(end: AttemptEnd, strategy: Mapping[str, Any], attempts: int, ending: str, closed: bool) -> JobDecision:
    """The verdict on an attempt.

    Args:
        end: how it ended.
        strategy: ``retryStrategy``.
        attempts: how many attempts there have been, this one included.
        ending: why someone (a user, the timeout) ended it, or empty; if set, it is not retried, whatever its exit
            code.
        closed: its queue is being deleted: nothing is retried.
    """
    if ending:
        return JobDecision(JobState.FAILED, ending)
    if end.success:
        return JobDecision(JobState.SUCCEEDED, end.status_reason)
    again = attempts < strategy.get("attempts", 1) and _again(end, strategy.get("evaluateOnExit", ()))
    return JobDecision(JobState.RUNNABLE if again and not closed else JobState.FAILED, end.status_reason)


def _again(end: AttemptEnd, rules: Sequence[Mapping[str, str]]) -> bool:
    """The first rule whose conditions are all met decides; if none is, the job is retried."""
    for rule in rules:
        met = (
            _meets(rule.get("onExitCode"), "" if end.code is None else str(end.code)),
            _meets(rule.get("onReason"), end.reason),
            _meets(rule.get("onStatusReason"), end.status_reason),
        )
        if all(met):
            return rule["action"].upper() == "RETRY"
    return True


def _meets(pattern: str | None, text: str) -> bool:
    """Whether the text matches the pattern: it is the same, or begins with the part before a ``*``. No pattern matches
    everything."""
    if pattern is None:
        return True
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
