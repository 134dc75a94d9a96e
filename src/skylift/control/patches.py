"""Patches: what a newer skylift (or another setting of it) describes differently for an environment that serves. Pure.

Such a difference never reaches containers by itself. It is applied like an update, with proof and way back, under the
status MAINTENANCE: in the environment's weekly window, or at once, as the setting ``patches`` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from skylift.control.blueprint import EXECUTOR_ROLE, components
from skylift.control.definitions import definition, digest_of
from skylift.control.part_context import PartContext, digest

SOURCE = "Maintenance"
"""Of the update: ``LastUpdate.Source``."""

TRIED = "patch.tried"
"""The fact that names the last patch that was tried, whatever became of it."""

WHY = "a newer skylift"
"""The reason in plans."""

WINDOW = timedelta(hours=2)
"""How long after the window's start a patch may begin. AWS publishes no length."""

WEEK = timedelta(days=7)
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class _StandIns(Mapping[str, str]):
    """Facts that are the same for ever: what is rendered with them depends on skylift, its settings and the Spec."""

    def __getitem__(self, name: str) -> str:
        return f"<{name}>"

    def get(self, name: str, default: object = None) -> str:  # noqa: ARG002
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def rendering(context: PartContext, role: str) -> str:
    """A digest of how skylift describes a role of this environment, whatever the facts are."""
    return digest_of(definition(replace(context, facts=_StandIns()), role))


def rendered_fact(role: str) -> str:
    """The fact that holds the rendering that a role's task definition in use was made with."""
    return f"rendered.{role}"


def is_older(context: PartContext, role: str) -> bool:
    """Whether a role's task definition in use was described by another skylift, or with other settings."""
    return bool(context.fact(f"definition.{role}")) and context.fact(rendered_fact(role)) != rendering(context, role)


def outdated(context: PartContext) -> tuple[str, ...]:
    """The roles that a patch would change. One-off ECS tasks use a newer description whenever they run next."""
    return tuple(role for role in (*components(context.spec), EXECUTOR_ROLE) if is_older(context, role))


def fingerprint(context: PartContext) -> str:
    """The patch's name: a digest of everything that it describes."""
    return digest(*(rendering(context, role) for role in (*components(context.spec), EXECUTOR_ROLE)))


@dataclass(frozen=True)
class Window:
    """A weekly time, UTC, as ``WeeklyMaintenanceWindowStart`` says it: ``SUN:02:30``."""

    start: str

    def opened(self, now: float) -> datetime | None:
        """When the window that is open now has opened; None while it is closed."""
        at = datetime.fromtimestamp(now, UTC)
        last = self._last(at)
        return last if last is not None and at - last < WINDOW else None

    def opens(self, now: float) -> datetime | None:
        """When it opens next; None if the text names no time."""
        last = self._last(datetime.fromtimestamp(now, UTC))
        return last + WEEK if last is not None else None

    def _last(self, at: datetime) -> datetime | None:
        try:
            day, hour, minute = self.start.split(":")
            since_monday = timedelta(days=DAYS.index(day), hours=int(hour), minutes=int(minute))
        except ValueError:
            return None
        monday = at.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=at.weekday())
        start = monday + since_monday
        return start if start <= at else start - WEEK


def due(context: PartContext, now: float) -> str:
    """The mark of the patch that is to begin now (``TRIED``); "" if none is.

    A patch that failed is tried again in the next window; without windows, when skylift describes something else.
    """
    name = fingerprint(context)
    if context.settings.patches == "window":
        opened = Window(context.spec.maintenance_window).opened(now)
        if opened is None:
            return ""
        name = f"{name} {opened.isoformat()}"
    return "" if context.fact(TRIED) == name else name


def waiting_text(context: PartContext, now: float) -> str:
    """The note on a patch that waits for its window."""
    opens = Window(context.spec.maintenance_window).opens(now)
    when = f"in the maintenance window that opens {opens:%a %H:%M} UTC" if opens else "with the next update"
    roles = ", ".join(outdated(context))
    return f"a newer skylift describes {roles} differently; applied {when}, or with the next update"
