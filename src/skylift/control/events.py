"""What happened to an environment, for people: ``skylift env events``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from skylift.control.judge import SERVING
from skylift.control.update_plan import StepEffect, UpdatePlan
from skylift.core.environment import Status

MOST_EVENTS = 1000
"""So many are kept of each environment name, the newest."""


@dataclass(frozen=True)
class EnvironmentEvent:
    """One thing that happened.

    Attributes:
        id: grows.
        status: the environment's, afterwards.
        seconds: how long it took since it was asked for; None where that means nothing.
    """

    id: int
    at: datetime
    status: str
    text: str
    seconds: float | None

    def as_json(self) -> dict[str, Any]:
        """For the route: dates in ISO 8601."""
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "status": self.status,
            "text": self.text,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
        }


def of_status(before: Status, after: Status, source: str, reason: str, notes: str) -> str:
    """What a change of status means; "" when it is not worth a line.

    Args:
        source: what was asked for, e.g. ``UpdateEnvironment``.
        reason: why it failed; "" when it did not.
        notes: what else the user should know, a line each.
    """
    if before is after:
        return ""
    ended = f"{source} ended well" + (f"\n{notes}" if notes else "")
    told: Mapping[Status, str] = {
        Status.AVAILABLE: "Airflow serves again" if before in SERVING else ended,
        Status.CREATE_FAILED: f"{source} failed. {reason}",
        Status.ROLLING_BACK: f"{source} failed; what served before is put back. {reason}",
        Status.UPDATE_FAILED: "what served before serves again",
        Status.UNAVAILABLE: f"no API server serves. {reason}".strip(),
        Status.DELETED: "deleted",
    }
    return told.get(after, "")


def of_plan(plan: UpdatePlan) -> str:
    """What an update is about to do, in one line: "plan: build the layer, prove it, restart scheduler"."""
    first = {StepEffect.BUILD: "build the layer", StepEffect.PROVE: "prove it"}
    words = [first[step.effect] for step in plan.steps if step.effect in first]
    for effect in (StepEffect.RESTART, StepEffect.SCALE):
        names = [step.part.partition("/")[2] for step in plan.steps if step.effect is effect]
        words += [f"{effect} {', '.join(names)}"] if names else []
    if not plan.restarts:
        words.append("restart nothing")
    return f"plan: {', '.join(words)}"


def of_condition(before: Mapping[str, Any], after: Mapping[str, Any], now: float) -> tuple[str, float | None]:
    """What a change of the condition means ("UI not answering"), and for how long it was not well; "" when there is
    none.

    Args:
        before, after: a row's ``progress``.
    """
    was, becomes = str(before.get("condition", "")), str(after.get("condition", ""))
    if was == becomes:
        return "", None
    if becomes:
        return f"not well: {becomes}", None
    return f"well again (it was: {was})", now - before["since"] if before.get("since") else None
