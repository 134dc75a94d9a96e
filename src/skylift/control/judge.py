"""Which status an environment has, from what is seen of its parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skylift.control.blueprint import Blueprint, PartKind
from skylift.control.plan import NO_ANSWER, SILENT, Failure, PartPhase, Seen
from skylift.core.containers import Command
from skylift.core.environment import Status

WEB = f"{PartKind.SERVICE}/{Command.API_SERVER}"

MOST_MESSAGE = 1024
"""Longest ErrorMessage of ``LastUpdate.Error`` (botocore model)."""


@dataclass(frozen=True)
class StatusDecision:
    """Status, the reason when it failed, and one sentence on what is being done."""

    status: Status
    fault: Failure | None
    progress: str


def judge(
    before: Status,
    parts: Blueprint,
    seen: Mapping[str, Seen],
    age: float,
    create_seconds: float,
    refused: Failure | None,
) -> StatusDecision:
    """The status that follows.

    Args:
        before: status in the row.
        age: seconds since the wish was made.
        create_seconds: after so many seconds a create that has not ended fails.
        refused: what AWS refused in this pass, if anything.
    """
    progress = progress_of(parts, seen)
    if before is Status.DELETING:
        gone = all(one.phase is PartPhase.ABSENT for one in seen.values())
        return StatusDecision(
            Status.DELETED if gone else before, refused, "deleted" if gone else removal_of(parts, seen)
        )
    if before in SERVING:
        return _serving(before, parts, seen, refused)
    if before is not Status.CREATING:
        return StatusDecision(before, None, progress)
    fault = next((one.fault for one in (seen[part.name] for part in parts) if one.fault), refused)
    if fault is None and all(one.phase is PartPhase.READY for one in seen.values()):
        return StatusDecision(Status.AVAILABLE, None, "available")
    if fault is None and age > create_seconds:
        fault = Failure(
            "TIMED_OUT",
            f"The environment was not ready after {create_seconds:.0f} seconds; it was still {progress}. Look at its "
            "log groups, delete the environment and create it again.",
        )
    if fault is not None:
        return StatusDecision(Status.CREATE_FAILED, _cut(fault), progress)
    return StatusDecision(Status.CREATING, None, progress)


SERVING = frozenset({Status.AVAILABLE, Status.UNAVAILABLE})
"""Statuses of an environment that was ready once."""


def _serving(before: Status, parts: Blueprint, seen: Mapping[str, Seen], refused: Failure | None) -> StatusDecision:
    """UNAVAILABLE only while no API server serves and none is on its way: Terraform ends an apply on a status that it
    does not know, and one that starts, however slowly, is no reason for that. AVAILABLE again once all of Airflow is
    well."""
    if all(one.phase is PartPhase.READY for one in seen.values()):
        return StatusDecision(Status.AVAILABLE, None, "available")
    web = seen[WEB]
    hopeless = web.phase is PartPhase.FAILED or (web.phase is PartPhase.ABSENT and refused is not None)
    coming = web.phase in {PartPhase.MOVING, PartPhase.DIFFERENT} and web.note != NO_ANSWER
    status = Status.UNAVAILABLE if hopeless and not web.running else Status.AVAILABLE if coming else before
    fault = (web.fault or refused) if status is Status.UNAVAILABLE else None
    return StatusDecision(status, fault, progress_of(parts, seen))


def condition_of(seen: Mapping[str, Seen]) -> str:
    """What is not well with an environment that was ready once, in a few words; "" when all is.

    "UI not answering, 3 restarts", "scheduler not running".
    """
    services = {name: one for name, one in seen.items() if name.startswith(f"{PartKind.SERVICE}/")}
    down = [name for name, one in services.items() if one.phase is not PartPhase.READY and one.note != NO_ANSWER]
    words = ["UI not answering"] if WEB in down or seen[PartKind.HEALTH].note == SILENT else []
    words += [f"{name.partition('/')[2]} not running" for name in down if name != WEB]
    if not words and seen[PartKind.HEALTH].phase is PartPhase.MOVING:
        words.append(seen[PartKind.HEALTH].note)
    restarts = sum(one.restarts for one in services.values())
    if words and restarts:
        words.append(f"{restarts} restart{'s'[: restarts != 1]}")
    return ", ".join(words)


def progress_of(parts: Blueprint, seen: Mapping[str, Seen]) -> str:
    """One sentence: what is on its way now. "building layer: resolving requirements, migrating database"."""
    moving = [
        part.doing + (f": {seen[part.name].note}" if seen[part.name].note else "")
        for part in parts
        if seen[part.name].phase in {PartPhase.MOVING, PartPhase.DIFFERENT, PartPhase.ABSENT}
    ]
    return ", ".join(moving) or "nothing to do"


def removal_of(parts: Blueprint, seen: Mapping[str, Seen]) -> str:
    """One sentence: what is still there while an environment is deleted."""
    standing = [part.name for part in reversed(parts) if seen[part.name].phase is not PartPhase.ABSENT]
    return "removing " + ", ".join(standing)


def _cut(fault: Failure) -> Failure:
    # The end of a log says why; the beginning says what: both are kept.
    text = fault.message
    if len(text) > MOST_MESSAGE:
        head = MOST_MESSAGE // 2
        text = f"{text[:head]} … {text[-(MOST_MESSAGE - head - 3) :]}"
    return Failure(fault.code, text)
