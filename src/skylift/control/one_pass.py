"""One pass over one environment: observe, plan, put, judge. Its only input is the row, and it ends in a few seconds.

A crash anywhere costs one pass: every verb may be repeated, and it knows nothing that the next pass cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType

from skylift.control.blueprint import Blueprint, Part, PartKind
from skylift.control.judge import Observed, StatusDecision, judge
from skylift.control.part_context import PartContext
from skylift.control.parts.seam import Parts
from skylift.control.plan import NO_ANSWER, Failure, PartPhase, Seen, Step, StepVerb, plan, plan_removal, ready
from skylift.core.environment import Status
from skylift.core.errors import Refused, Unavailable

NOTHING: Mapping[str, Seen] = MappingProxyType({})

NOT_OURS = frozenset({PartKind.SOURCE, PartKind.HEARTBEAT, PartKind.HEALTH})
"""Kinds that are only observed: a deletion has nothing to remove."""


MAKING = frozenset({Status.CREATING, Status.UPDATING, Status.MAINTENANCE})
"""Statuses that the first failure ends."""


@dataclass(frozen=True)
class Outcome:
    """What a pass found and did.

    Attributes:
        steps: what was tried.
        unavailable: what did not answer, for people; "" if all did.
    """

    verdict: StatusDecision
    seen: Mapping[str, Seen]
    facts: dict[str, str]
    steps: tuple[Step, ...]
    unavailable: str


def one_pass(
    context: PartContext,
    parts: Blueprint,
    before: Status,
    age: float,
    world: Parts,
    pool: Executor,
    known: Mapping[str, Seen] = NOTHING,
) -> Outcome:
    """Observes all parts, does the next steps (all at the same time), and decides the status.

    Args:
        before: status in the row.
        age: seconds since the request was made.
        known: parts that were observed a moment ago and need not be observed again.
    """
    context = replace(context, leaving=before is Status.DELETING)
    seen, facts, silent = look(context, parts, world, known)
    steps = () if _hopeless(before, seen) else (plan_removal if context.leaving else plan)(parts, seen)
    learnt, refused, deaf = _do(replace(context, facts=facts), steps, world, pool)
    verdict = judge(Observed(before, parts, seen, age, context.settings.create_seconds, refused))
    return Outcome(verdict, seen, {**facts, **learnt}, steps, silent or deaf)


def look(
    context: PartContext, parts: Blueprint, world: Parts, known: Mapping[str, Seen] = NOTHING
) -> tuple[dict[str, Seen], dict[str, str], str]:
    """The state of all parts, the facts known now, and what did not answer (empty when all did).

    Facts that one part shows are known to those that need it in the same pass.
    """
    seen: dict[str, Seen] = dict(known)
    facts = dict(context.facts)
    for one in known.values():
        facts.update(one.facts)
    silent = ""
    for _, kin in groupby(parts, key=lambda part: part.kind):
        for group in _askable(tuple(part for part in kin if part.name not in known), seen, context.leaving):
            try:
                found = dict(world.observe(replace(context, facts=facts), group))
            except Unavailable as error:
                silent = str(error)
                found = {part.name: Seen(PartPhase.MOVING, note=NO_ANSWER) for part in group}
            except Refused as error:
                found = {part.name: Seen(PartPhase.FAILED, fault=_fault(error)) for part in group}
            seen.update(found)
            for one in found.values():
                facts.update(one.facts)
    return seen, facts, silent


def _askable(kin: tuple[Part, ...], seen: dict[str, Seen], leaving: bool) -> Iterator[tuple[Part, ...]]:
    """Parts of one kind that can be asked about together; the others are marked as blocked, or as not ours."""
    if leaving and kin and kin[0].kind in NOT_OURS:
        seen.update({part.name: Seen(PartPhase.ABSENT) for part in kin})
        return
    group = tuple(part for part in kin if leaving or ready(part, seen))
    seen.update({part.name: Seen(PartPhase.BLOCKED) for part in kin if part not in group})
    if group:
        yield group


def _hopeless(before: Status, seen: Mapping[str, Seen]) -> bool:
    # The create or the update has failed: missing parts need not be created.
    return before in MAKING and any(one.phase is PartPhase.FAILED for one in seen.values())


def _do(
    context: PartContext, steps: tuple[Step, ...], world: Parts, pool: Executor
) -> tuple[dict[str, str], Failure | None, str]:
    learnt: dict[str, str] = {}
    refused: Failure | None = None
    deaf = ""
    futures = [pool.submit(_step, context, step, world) for step in steps]
    for future in futures:
        try:
            learnt.update(future.result())
        except Unavailable as error:
            deaf = str(error)
        except Refused as error:
            refused = refused or _fault(error)
    return learnt, refused, deaf


def _step(context: PartContext, step: Step, world: Parts) -> Mapping[str, str]:
    if step.verb is StepVerb.REMOVE:
        world.remove(context, step.part)
        return {}
    return world.put(context, step.part)


def _fault(error: Refused) -> Failure:
    return Failure("INCORRECT_CONFIGURATION", str(error))
