"""Decides an environment's status from the state of its parts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from skylift.control.blueprint import Blueprint, PartKind
from skylift.control.plan import NO_ANSWER, SILENT, Failure, PartPhase, Seen
from skylift.core.containers import Command
from skylift.core.environment import Status

WEB = f"{PartKind.SERVICE}/{Command.API_SERVER}"

STOPPED = "stopped"
"""The condition of an environment that has no containers because somebody wants it so."""

MOST_MESSAGE = 1024
"""Longest ErrorMessage of ``LastUpdate.Error`` (botocore model)."""


@dataclass(frozen=True)
class StatusDecision:
    """Status, the reason when it failed, and one sentence on what is being done."""

    status: Status
    fault: Failure | None
    progress: str


@dataclass(frozen=True)
class Observed:
    """What a pass has observed, for the decision on the status.

    Attributes:
        seen: how each part of the blueprint stands, by name.
        age: seconds since the request.
        limit: seconds after which a create or an update that has not ended fails.
        refused: what AWS refused in this pass, if anything.
    """

    before: Status
    parts: Blueprint
    seen: Mapping[str, Seen]
    age: float
    limit: float
    refused: Failure | None

    @property
    def ready(self) -> bool:
        """Whether every part is as wanted."""
        return all(one.phase is PartPhase.READY for one in self.seen.values())

    @property
    def failure(self) -> Failure | None:
        """The first failure in the order of the parts, else what AWS refused."""
        return next((one.fault for one in (self.seen[part.name] for part in self.parts) if one.fault), self.refused)

    @property
    def progress(self) -> str:
        """What is in progress."""
        return progress_of(self.parts, self.seen)


def judge(observed: Observed) -> StatusDecision:
    """The status that follows from what was seen. A status without a row in the table stays as it is."""
    rule = RULES.get(observed.before)
    return rule(observed) if rule else StatusDecision(observed.before, None, observed.progress)


def _creating(observed: Observed) -> StatusDecision:
    advice = "Look at its log groups, delete the environment and create it again."
    return _under_way(observed, Status.CREATE_FAILED, advice)


def _updating(observed: Observed) -> StatusDecision:
    return _under_way(observed, Status.ROLLING_BACK, "It goes back to what it was before the update.")


def _under_way(observed: Observed, failed: Status, advice: str) -> StatusDecision:
    """AVAILABLE once all parts are as wanted; failed at the first failure, or when it takes too long."""
    fault = observed.failure
    if fault is None and observed.ready:
        return StatusDecision(Status.AVAILABLE, None, "available")
    if fault is None and observed.age > observed.limit:
        text = f"The environment was not ready after {observed.limit:.0f} seconds; it was still {observed.progress}."
        fault = Failure("TIMED_OUT", f"{text} {advice}")
    if fault is not None:
        return StatusDecision(failed, _cut(fault), observed.progress)
    return StatusDecision(observed.before, None, observed.progress)


def _rolling_back(observed: Observed) -> StatusDecision:
    """UPDATE_FAILED once the configuration before the update serves again; UNAVAILABLE when it cannot."""
    if observed.ready:
        return StatusDecision(Status.UPDATE_FAILED, None, "the configuration before the update serves")
    if observed.failure is not None or observed.age > observed.limit:
        return StatusDecision(Status.UNAVAILABLE, observed.failure and _cut(observed.failure), observed.progress)
    return StatusDecision(observed.before, None, f"rolling back: {observed.progress}")


def _serving(observed: Observed) -> StatusDecision:
    """UNAVAILABLE only while no API server serves and none is starting: Terraform aborts an apply on a status that it
    does not know, and a slow start is no reason for that. AVAILABLE again once all of Airflow is healthy;
    UPDATE_FAILED stays until the next update, while its UI serves."""
    before, seen, refused = observed.before, observed.seen, observed.refused
    well = Status.UPDATE_FAILED if before is Status.UPDATE_FAILED else Status.AVAILABLE
    if observed.ready:
        return StatusDecision(well, None, "available")
    web = seen[WEB]
    hopeless = web.phase is PartPhase.FAILED or (web.phase is PartPhase.ABSENT and refused is not None)
    coming = web.phase in {PartPhase.MOVING, PartPhase.DIFFERENT} and web.note != NO_ANSWER
    status = Status.UNAVAILABLE if hopeless and not web.running else well if coming else before
    fault = (web.fault or refused) if status is Status.UNAVAILABLE else None
    return StatusDecision(status, fault, observed.progress)


def _deleting(observed: Observed) -> StatusDecision:
    if all(one.phase is PartPhase.ABSENT for one in observed.seen.values()):
        return StatusDecision(Status.DELETED, observed.refused, "deleted")
    return StatusDecision(observed.before, observed.refused, removal_of(observed.parts, observed.seen))


RULES: Mapping[Status, Callable[[Observed], StatusDecision]] = {
    Status.CREATING: _creating,
    Status.UPDATING: _updating,
    Status.MAINTENANCE: _updating,
    Status.ROLLING_BACK: _rolling_back,
    Status.AVAILABLE: _serving,
    Status.UPDATE_FAILED: _serving,
    Status.UNAVAILABLE: _serving,
    Status.DELETING: _deleting,
}
"""How each status is left. A status that is not in this table is left only by a request."""

SERVING = frozenset({Status.AVAILABLE, Status.UPDATE_FAILED, Status.UNAVAILABLE})
"""Statuses of an environment that was ready once, and that nobody is changing."""


def condition_of(seen: Mapping[str, Seen]) -> str:
    """What is wrong with an environment that was ready once, in a few words; empty if nothing is.

    "UI not answering, 3 restarts", "scheduler not running", "stopped".
    """
    if PartKind.HEALTH not in seen:
        return STOPPED
    services = {name: one for name, one in seen.items() if name.startswith(f"{PartKind.SERVICE}/")}
    # One that is being replaced by its successor runs.
    down = [
        name
        for name, one in services.items()
        if one.phase is not PartPhase.READY and one.note != NO_ANSWER and not one.running
    ]
    words = ["UI not answering"] if WEB in down or seen[PartKind.HEALTH].note == SILENT else []
    words += [f"{name.partition('/')[2]} not running" for name in down if name != WEB]
    hanging = seen.get(PartKind.HEARTBEAT)
    if hanging is not None and hanging.note != NO_ANSWER:
        words += [hanging.note] if hanging.note else []
    if not words and seen[PartKind.HEALTH].phase is PartPhase.MOVING:
        words.append(seen[PartKind.HEALTH].note)
    restarts = sum(one.restarts for one in services.values())
    if words and restarts:
        words.append(f"{restarts} restart{'s'[: restarts != 1]}")
    return ", ".join(words)


def progress_of(parts: Blueprint, seen: Mapping[str, Seen]) -> str:
    """One sentence on what is in progress, e.g. "building layer: resolving requirements, migrating database"."""
    moving = [
        part.doing + (f": {seen[part.name].note}" if seen[part.name].note else "")
        for part in parts
        if seen[part.name].phase in {PartPhase.MOVING, PartPhase.DIFFERENT, PartPhase.ABSENT}
    ]
    return ", ".join(moving) or "nothing to do"


def removal_of(parts: Blueprint, seen: Mapping[str, Seen]) -> str:
    """One sentence on what still exists while an environment is deleted."""
    standing = [part.name for part in reversed(parts) if seen[part.name].phase is not PartPhase.ABSENT]
    return "removing " + ", ".join(standing)


def _cut(fault: Failure) -> Failure:
    # The end of a log says why; the beginning says what: both are kept.
    text = fault.message
    if len(text) > MOST_MESSAGE:
        head = MOST_MESSAGE // 2
        text = f"{text[:head]} … {text[-(MOST_MESSAGE - head - 3) :]}"
    return Failure(fault.code, text)
