"""Which status an environment has, from what is seen of its parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skylift.control.blueprint import Blueprint
from skylift.control.plan import Fault, Phase, Seen
from skylift.core.environment import Status

MOST_MESSAGE = 1024
"""Longest ErrorMessage of ``LastUpdate.Error`` (botocore model)."""


@dataclass(frozen=True)
class Verdict:
    """Status, the reason when it failed, and one sentence on what is being done."""

    status: Status
    fault: Fault | None
    progress: str


def judge(
    before: Status, parts: Blueprint, seen: Mapping[str, Seen], age: float, create_seconds: float, refused: Fault | None
) -> Verdict:
    """The status that follows.

    Args:
        before: status in the row.
        age: seconds since the wish was made.
        create_seconds: after so many seconds a create that has not ended fails.
        refused: what AWS refused in this pass, if anything.
    """
    progress = progress_of(parts, seen)
    if before is Status.DELETING:
        gone = all(one.phase is Phase.ABSENT for one in seen.values())
        return Verdict(Status.DELETED if gone else before, refused, "deleted" if gone else removal_of(parts, seen))
    if before is not Status.CREATING:
        return Verdict(before, None, progress)
    fault = next((one.fault for one in (seen[part.name] for part in parts) if one.fault), refused)
    if fault is None and all(one.phase is Phase.READY for one in seen.values()):
        return Verdict(Status.AVAILABLE, None, "available")
    if fault is None and age > create_seconds:
        fault = Fault(
            "TIMED_OUT",
            f"The environment was not ready after {create_seconds:.0f} seconds; it was still {progress}. Look at its "
            "log groups, delete the environment and create it again.",
        )
    if fault is not None:
        return Verdict(Status.CREATE_FAILED, _cut(fault), progress)
    return Verdict(Status.CREATING, None, progress)


def progress_of(parts: Blueprint, seen: Mapping[str, Seen]) -> str:
    """One sentence: what is on its way now. "building layer: resolving requirements, migrating database"."""
    moving = [
        part.doing + (f": {seen[part.name].note}" if seen[part.name].note else "")
        for part in parts
        if seen[part.name].phase in {Phase.MOVING, Phase.DIFFERENT, Phase.ABSENT}
    ]
    return ", ".join(moving) or "nothing to do"


def removal_of(parts: Blueprint, seen: Mapping[str, Seen]) -> str:
    """One sentence: what is still there while an environment is deleted."""
    standing = [part.name for part in reversed(parts) if seen[part.name].phase is not Phase.ABSENT]
    return "removing " + ", ".join(standing)


def _cut(fault: Fault) -> Fault:
    # The end of a log says why; the beginning says what: both are kept.
    text = fault.message
    if len(text) > MOST_MESSAGE:
        head = MOST_MESSAGE // 2
        text = f"{text[:head]} … {text[-(MOST_MESSAGE - head - 3) :]}"
    return Fault(fault.code, text)
