"""The loop that brings environments to their wanted state. An event without content (``bell``), and a timer, wake it.

It takes no input: each round reads the rows and handles those that are due. A pass records its results only
if the generation is still the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from skylift.control.api.updates import pinned
from skylift.control.blueprint import Blueprint, PartKind, blueprint, removal_blueprint
from skylift.control.events import of_condition, of_plan, of_status
from skylift.control.judge import RULES, SERVING, StatusDecision, condition_of
from skylift.control.notes import note, note_fact, of_notes
from skylift.control.one_pass import NOTHING, Outcome, one_pass
from skylift.control.part_context import PartContext
from skylift.control.parts.seam import World
from skylift.control.patches import SOURCE, TRIED, due, outdated, waiting_text
from skylift.control.plan import Failure, PartPhase, Seen, StepVerb
from skylift.control.settings import ControlSettings
from skylift.control.store import EnvironmentStore, LastUpdate, Row, ServedState, Told
from skylift.control.update_plan import plan_update
from skylift.core.clock import Clock
from skylift.core.environment import ENVIRONMENT_LIFE, Generation, Status
from skylift.core.errors import SkyliftError, Unavailable

LOG = logging.getLogger(__name__)

PATCHED = frozenset({Status.AVAILABLE, Status.UPDATE_FAILED})
"""Statuses in which a patch may begin."""

KEEPING = SERVING | {Status.ROLLING_BACK}
"""Statuses in which what serves stays as it was described, or becomes so again."""

PATCH_NOTE = note_fact("patch")

ATTENDED = frozenset(RULES)
"""A failed create is kept for inspection until somebody deletes it."""

MOST_BROKEN = 5
"""After this many passes in a row that end with our own bug, a create fails."""

KNOWN_SECONDS = 5.0
"""For this long, a ready part is not observed again while others are changing. A full pass makes fifteen calls, which
locally use the same processors on which Airflow is starting."""

HEARTBEAT_FACTS = f"{PartKind.HEARTBEAT}."
"""Facts of the part that replaces what hangs begin so."""

MAY_DIE = frozenset({PartKind.SERVICE, PartKind.HEALTH})
"""Kinds that every pass observes, because they are what users wait for."""

PLAN_TOLD = "plan.told"
"""The fact that holds for which generation the plan is among the events."""

MOST_TOLD = 3
"""So many of the last notes (``events.NOTES``) are kept with the row, for ``skylift status``."""

LONGEST_PAUSE = 30.0
"""Seconds; back-off doubles up to here."""

ROUND_SECONDS = 3.0
"""A round waits this long for its passes. A longer pass (an AWS call that hangs) continues during the next rounds."""


@dataclass(frozen=True)
class Attention:
    """When an environment is due next, how many passes in a row failed, and what is known of it.

    Attributes:
        known: parts that were ready when all were last observed.
        known_at: when that was.
    """

    generation: Generation
    at: float
    stumbles: int = 0
    known: Mapping[str, Seen] = field(default_factory=dict)
    known_at: float = 0.0


class Reconciler:
    """Rounds over all environments.

    Attributes:
        rows: all environments, as the last round found them.

    Args:
        bell: set whenever a row has changed.
    """

    def __init__(
        self, store: EnvironmentStore, parts: World, settings: ControlSettings, clock: Clock, bell: threading.Event
    ) -> None:
        self._store = store
        self._parts = parts
        self._settings = settings
        self._clock = clock
        self._bell = bell
        self._next: dict[str, Attention] = {}
        self._prepared = False
        self._late: dict[str, Future[Attention]] = {}
        self.rows: tuple[Row, ...] = ()
        self._attended: set[str] = set()  # the passes' threads write to it, one name each
        self._passes = ThreadPoolExecutor(16, "skylift-pass")
        # Steps of a pass have their own pool: a pass that waits for its steps must not block their only thread.
        self._steps = ThreadPoolExecutor(8, "skylift-step")

    def run(self, stopping: threading.Event) -> None:
        """Makes rounds until ``stopping`` is set (also set the bell, to be heard at once)."""
        pause = 0.2
        while not stopping.is_set():
            try:
                quiet = self.round()
                pause = 0.2
            except SkyliftError as error:
                # PostgreSQL or AWS is down (or not up yet). Their operators can act; we try again.
                LOG.warning("the reconciler waits %.1f s: %s", pause, error)
                quiet, pause = pause, min(pause * 2, LONGEST_PAUSE)
            except Exception:  # our bug, or an unreadable secret: without this thread every environment would hang
                LOG.exception("a round of the reconciler broke; the next one comes in %.1f s", pause)
                quiet, pause = pause, min(pause * 2, LONGEST_PAUSE)
            self._bell.wait(quiet)
            self._bell.clear()
        self._passes.shutdown(cancel_futures=True)
        self._steps.shutdown(cancel_futures=True)

    def doing(self, name: str) -> str:
        """What is being done for an environment before its first pass has ended, for people."""
        if name in self._attended:
            return "looking at its bucket, role and network"
        others = ", ".join(sorted(self._attended.copy()))
        return f"waiting for {others}" if others else "waiting for the control plane's next round"

    def round(self) -> float:
        """Handles every environment that is due; returns the seconds until the next one is."""
        if not self._prepared:
            self._store.prepare()
            self._parts.prepare()
            self._prepared = True
        self._collect()
        self.rows = tuple(self._store.all())
        rows = [row for row in self.rows if row.status in ATTENDED]
        self._next = {row.name: self._next.get(row.name) or Attention(row.generation, 0.0) for row in rows}
        due = [row for row in rows if row.name not in self._late and self._due(row)]
        self._late |= {row.name: self._passes.submit(self._attend, row, self._next[row.name]) for row in due}
        wait([self._late[row.name] for row in due], ROUND_SECONDS)
        self._collect()
        for late in (self._late[row.name] for row in due if row.name in self._late):
            late.add_done_callback(lambda _: self._bell.set())
        times = [attention.at for name, attention in self._next.items() if name not in self._late]
        return max(0.0, min(times) - self._clock()) if times else float(self._settings.steady_seconds)

    def _collect(self) -> None:
        """Takes over the results of the passes that have ended. Raises the first error of a pass that could not even
        record its own."""
        ended = {name: self._late.pop(name) for name, one in list(self._late.items()) if one.done()}
        for name, one in ended.items():
            if one.exception() is None and name in self._next:
                self._next[name] = one.result()
        for one in ended.values():
            one.result()

    def _due(self, row: Row) -> bool:
        attention = self._next[row.name]
        return attention.generation != row.generation or attention.at <= self._clock()

    def _attend(self, row: Row, before: Attention) -> Attention:
        self._attended.add(row.name)
        try:
            return self._attend_to(row, before)
        finally:
            self._attended.discard(row.name)

    def _attend_to(self, row: Row, before: Attention) -> Attention:
        stumbles = before.stumbles if before.generation == row.generation else 0
        now = self._clock()
        age = now - row.requested_at.timestamp()
        known = self._known(row, before, now)
        try:
            parts = parts_of(row)
            outcome = one_pass(self.context(row), parts, row.status, age, self._parts, self._steps, known)
            if not self._begins_patch(row, outcome):
                self._record(row, parts, outcome)
        except Unavailable as error:
            LOG.warning("environment %s: %s", row.name, error)
            return self._later(row, stumbles + 1)
        except Exception as error:  # our bug: only we can act, so the row must say so
            LOG.exception("environment %s: a pass broke", row.name)
            self._broken(row, error, stumbles + 1)
            return self._later(row, stumbles + 1)
        trouble = outcome.unavailable or _refusal(outcome)
        if trouble:
            LOG.warning("environment %s: %s", row.name, trouble)
            return self._later(row, stumbles + 1)
        kept = {part.name: outcome.seen[part.name] for part in parts if part.kind not in MAY_DIE}
        kept = {name: one for name, one in kept.items() if one.phase is PartPhase.READY}
        known_at = before.known_at if known else now
        return Attention(row.generation, self._clock() + self._pause(outcome), 0, kept, known_at)

    def _known(self, row: Row, before: Attention, now: float) -> Mapping[str, Seen]:
        fresh = before.generation == row.generation and now - before.known_at < KNOWN_SECONDS
        return before.known if fresh and row.status is not Status.DELETING else NOTHING

    def context(self, row: Row, leaving: bool = False) -> PartContext:
        """An environment as its parts see it."""
        served = (row.served.spec, row.served.facts) if row.served else None
        keeps = row.status in KEEPING
        return PartContext(row.spec, self._settings, row.incarnation, row.facts, leaving, served, row.generation, keeps)

    def has_looked(self, name: str) -> bool:
        """Whether an environment has been observed since this process began."""
        attention = self._next.get(name)
        return attention is not None and attention.at > 0

    def _pause(self, outcome: Outcome) -> float:
        settled = outcome.verdict.status in SERVING and all(
            one.phase is PartPhase.READY for one in outcome.seen.values()
        )
        if settled:
            return float(self._settings.steady_seconds)
        pause = self._settings.moving_milliseconds / 1000
        # A part that was just put may be ready already; one that was just removed is seldom gone.
        put = any(step.verb is StepVerb.PUT for step in outcome.steps)
        return min(pause, 0.1) if put else pause

    def _later(self, row: Row, stumbles: int) -> Attention:
        pause = min(self._settings.moving_milliseconds / 1000 * 2**stumbles, LONGEST_PAUSE)
        return Attention(row.generation, self._clock() + pause, stumbles)

    def _begins_patch(self, row: Row, outcome: Outcome) -> bool:
        """Asks for the patch of an environment that serves, if one is due; otherwise leaves a note that it waits."""
        context = replace(self.context(row), facts=outcome.facts)
        if row.status not in PATCHED or outcome.verdict.status is not row.status:
            return False
        roles, now = outdated(context), self._clock()
        text = note(waiting_text(context, now)) if roles and self._settings.patches == "window" else ""
        if text != context.fact(PATCH_NOTE):
            outcome.facts[PATCH_NOTE] = text
        mark = due(context, now) if roles else ""
        health = outcome.seen.get(PartKind.HEALTH)  # a stopped environment has none; it gets the patch when it starts
        if not mark or health is None or health.phase is not PartPhase.READY:
            return False
        facts = {**outcome.facts, TRIED: mark}
        spec = pinned(row.spec, facts)
        told = f"{SOURCE}: a newer skylift describes {', '.join(roles)} differently; it is proven, then applied"
        wanted = replace(row, spec=spec, facts=facts, served=ServedState(spec, facts))
        if self._store.request_update(wanted, SOURCE, told, status=Status.MAINTENANCE):
            self._bell.set()
        return True

    def _record(self, row: Row, parts: Blueprint, outcome: Outcome) -> None:
        verdict = outcome.verdict
        ENVIRONMENT_LIFE.move(row.status, verdict.status)
        if verdict.status is Status.ROLLING_BACK and row.status is not Status.ROLLING_BACK:
            back = _with_replacements(row, outcome.facts)
            self._store.request_rollback(back, last_update(row, verdict, self._clock()), self._event(row, verdict, ""))
            return
        if verdict.status is Status.DELETED:
            self._parts.forget_payloads(row.name)
            self._store.forget(row, self._event(row, verdict, ""))
            return
        plan, now = self._plan(row, outcome), self._clock()
        news: list[Told] = [(str(verdict.status), *one) for one in of_notes(row.facts, outcome.facts)]
        after = replace(
            row,
            status=verdict.status,
            last_update=last_update(row, verdict, now),
            facts={**outcome.facts, **({PLAN_TOLD: str(row.generation)} if plan else {})},
            progress=progress(parts, outcome.seen, verdict, row.progress, now, news),
            served=None if verdict.status in SERVING else row.served,
        )
        if after != row:
            changed = self._event(row, verdict, outcome.facts.get("proof.notes", ""))
            if not changed[1] and verdict.status in SERVING:  # an update says nothing of health
                changed = (str(verdict.status), *of_condition(row.progress, after.progress, now))
            planned: Told = (str(verdict.status), plan, None)
            self._store.record(after, *(one for one in (*news, planned, changed) if one[1]))

    def _plan(self, row: Row, outcome: Outcome) -> str:
        """What an update is about to do, once: as soon as the bucket was looked at."""
        if row.status not in {Status.UPDATING, Status.MAINTENANCE} or row.facts.get(PLAN_TOLD) == str(row.generation):
            return ""
        if row.served is None or outcome.seen[str(PartKind.SOURCE)].phase is not PartPhase.READY:
            return ""
        wanted = self.context(row)
        now = replace(wanted, spec=row.served.spec, facts=row.served.facts)
        return of_plan(plan_update(now, replace(wanted, facts=outcome.facts)))

    def _event(self, row: Row, verdict: StatusDecision, notes: str) -> Told:
        reason = f"{verdict.fault.code}: {verdict.fault.message}" if verdict.fault else ""
        text = of_status(row.status, verdict.status, row.last_update.source, reason, notes)
        took = None if row.status in SERVING else self._clock() - row.requested_at.timestamp()
        return str(verdict.status), text, took if text else None

    def _broken(self, row: Row, error: Exception, stumbles: int) -> None:
        failed = FAILED_STATUS.get(row.status)
        if failed is None or stumbles < MOST_BROKEN:
            return
        text = f"skylift itself failed ({type(error).__name__}: {error}). This is a bug: please report it."
        verdict = StatusDecision(failed, Failure("INTERNAL_FAILURE", text[:1024]), "failed")
        last = last_update(row, verdict, self._clock())
        event = self._event(row, verdict, "")
        if failed is Status.ROLLING_BACK:
            self._store.request_rollback(row, last, event)
        else:
            self._store.record(replace(row, status=failed, last_update=last), event)


def _with_replacements(row: Row, facts: Mapping[str, str]) -> Row:
    """A row whose way back does not forget which containers are being replaced."""
    kept = {name: value for name, value in facts.items() if name.startswith(HEARTBEAT_FACTS)}
    return replace(row, served=replace(row.served, facts={**row.served.facts, **kept})) if row.served else row


FAILED_STATUS = {
    Status.CREATING: Status.CREATE_FAILED,
    Status.UPDATING: Status.ROLLING_BACK,
    Status.MAINTENANCE: Status.ROLLING_BACK,
}
"""What a status in progress becomes on failure."""


def parts_of(row: Row) -> Blueprint:
    """The parts to observe in a row's status."""
    if row.status is Status.DELETING:
        return removal_blueprint(row.spec)
    return blueprint(row.spec, proving=row.status in {Status.UPDATING, Status.MAINTENANCE})


def _refusal(outcome: Outcome) -> str:
    # A delete cannot fail: it is retried, ever more slowly, until somebody removes the obstacle.
    fault = outcome.verdict.fault
    return fault.message if fault and outcome.verdict.status is Status.DELETING else ""


def last_update(row: Row, verdict: StatusDecision, now: float) -> LastUpdate:
    """``LastUpdate`` after a pass: it changes when the create, update or delete has ended, in the same write as the
    status."""
    if verdict.status is row.status or row.status in SERVING:
        return row.last_update
    if verdict.status not in {Status.AVAILABLE, Status.CREATE_FAILED, Status.ROLLING_BACK}:
        return row.last_update  # a rollback keeps the reason of the update that failed
    if verdict.fault is None:
        return replace(row.last_update, status="SUCCESS", at=now)
    return replace(row.last_update, status="FAILED", at=now, code=verdict.fault.code, message=verdict.fault.message)


def progress(
    parts: Blueprint,
    seen: Mapping[str, Seen],
    verdict: StatusDecision,
    before: Mapping[str, Any] = MappingProxyType({}),
    now: float = 0.0,
    news: Sequence[Told] = (),
) -> dict[str, Any]:
    """What is happening, for people and for ``skylift``'s display.

    Args:
        before: the same of the last pass.
        news: notes that are new in this pass; the last ones are shown for a while.
    """
    shown = [
        {"name": part.name, "doing": part.doing, "phase": str(seen[part.name].phase), "note": seen[part.name].note}
        for part in parts
    ]
    condition = condition_of(seen) if verdict.status in SERVING else ""
    told = [*before.get("told", ()), *({"at": now, "text": text, "seconds": took} for _, text, took in news)]
    since = {"since": before.get("since") or now} if condition else {}
    more = {"told": told[-MOST_TOLD:]} if told else {}
    return {"doing": verdict.progress, "condition": condition, "parts": shown, **since, **more}
