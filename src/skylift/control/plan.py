"""Decides the next steps towards the wanted state. Pure: takes parts and their observed state, returns steps.

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
    DIFFERENT = "different"  # exists, but not as wanted
    MOVING = "moving"  # changing; nothing to do but to observe again
    READY = "ready"
    FAILED = "failed"  # will not become ready by itself
    BLOCKED = "blocked"  # not observed: something that it needs is not ready


SILENT = "the API server does not answer yet"
NO_ANSWER = "waiting for an answer"
"""Notes for answers that Airflow or AWS did not give."""


@dataclass(frozen=True)
class Failure:
    """Why something failed: a code for programs, and cause plus advice for people (the store cuts it to 1024)."""

    code: str
    message: str


@dataclass(frozen=True)
class Seen:
    """What is known about a part.

    Attributes:
        facts: what other parts need to know (addresses, ARNs). Never a secret.
        note: details beyond the part's ``doing``, for people.
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
    """One action, and its reason."""

    verb: StepVerb
    part: Part
    why: str

    def __str__(self) -> str:
        return f"{self.verb} {self.part.name}: {self.why}"


def ready(part: Part, seen: Mapping[str, Seen]) -> bool:
    """Whether everything that a part needs is ready."""
    return all(seen[name].phase is PartPhase.READY for name in part.needs)


def plan(parts: Blueprint, seen: Mapping[str, Seen]) -> tuple[Step, ...]:
    """The steps that create or change parts. All of them may be done at the same time."""
    return tuple(
        Step(StepVerb.PUT, part, seen[part.name].note or f"is {seen[part.name].phase}")
        for part in parts
        if seen[part.name].phase in {PartPhase.ABSENT, PartPhase.DIFFERENT} and ready(part, seen)
    )


def plan_removal(parts: Blueprint, seen: Mapping[str, Seen]) -> tuple[Step, ...]:
    """The steps that remove parts: first those that nothing else depends on."""
    standing = {name for name, one in seen.items() if one.phase is not PartPhase.ABSENT}
    needed = {need for part in parts if part.name in standing for need in part.needs}
    return tuple(
        Step(StepVerb.REMOVE, part, "is not wanted")
        for part in reversed(parts)
        if part.name in standing and part.name not in needed
    )
