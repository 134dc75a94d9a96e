"""What to do now so that seen becomes wanted. Pure: takes parts and what is seen of them, returns steps.

The plan is data: the reconciler executes it, a dry run prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from skylift.control.blueprint import Blueprint, Part


class PartPhase(StrEnum):
    """The state of a part."""

    ABSENT = "absent"
    DIFFERENT = "different"  # there, but not as wanted
    MOVING = "moving"  # on its way; nothing to do but to look again
    READY = "ready"
    FAILED = "failed"  # will not become ready by itself
    BLOCKED = "blocked"  # not looked at: something that it needs is not ready


SILENT = "the API server does not answer yet"
NO_ANSWER = "waiting for an answer"
"""Notes: what Airflow, and what AWS, leaves open."""


@dataclass(frozen=True)
class Failure:
    """Why something cannot be: a code for programs, and cause plus advice for people (cut to 1024 by the store)."""

    code: str
    message: str


@dataclass(frozen=True)
class Seen:
    """What is known about a part now.

    Attributes:
        facts: what others need of it (addresses, ARNs). Never a secret.
        note: more than the part's ``doing`` tells, for people.
        fault: set when FAILED.
        running: how many of a service's tasks run.
        restarts: how many of them ECS had to replace since Airflow was last well.
    """

    phase: PartPhase
    facts: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    fault: Failure | None = None
    running: int = 0
    restarts: int = 0


class StepVerb(StrEnum):
    """What a step does."""

    PUT = "put"
    REMOVE = "remove"


@dataclass(frozen=True)
class Step:
    """One thing to do, and why."""

    verb: StepVerb
    part: Part
    why: str

    def __str__(self) -> str:
        return f"{self.verb} {self.part.name}: {self.why}"


def ready(part: Part, seen: Mapping[str, Seen]) -> bool:
    """Whether everything that a part needs is ready."""
    return all(seen[name].phase is PartPhase.READY for name in part.needs)


def plan(parts: Blueprint, seen: Mapping[str, Seen]) -> tuple[Step, ...]:
    """Steps towards having all parts. All of them may be done at the same time."""
    return tuple(
        Step(StepVerb.PUT, part, seen[part.name].note or f"is {seen[part.name].phase}")
        for part in parts
        if seen[part.name].phase in {PartPhase.ABSENT, PartPhase.DIFFERENT} and ready(part, seen)
    )


def plan_removal(parts: Blueprint, seen: Mapping[str, Seen]) -> tuple[Step, ...]:
    """Steps towards having no parts: first those that nothing else depends on."""
    standing = {name for name, one in seen.items() if one.phase is not PartPhase.ABSENT}
    needed = {need for part in parts if part.name in standing for need in part.needs}
    return tuple(
        Step(StepVerb.REMOVE, part, "is not wanted")
        for part in reversed(parts)
        if part.name in standing and part.name not in needed
    )
