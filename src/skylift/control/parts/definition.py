"""ECS task definitions. A revision never changes, so one that matches is remembered by its digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.ecs.services import EcsServices
from skylift.aws.ecs.tasks import EcsTasks
from skylift.control.blueprint import EXECUTOR_ROLE, Part
from skylift.control.definitions import definition, digest_of, family
from skylift.control.part_context import PartContext
from skylift.control.patches import is_older, rendered_fact, rendering
from skylift.control.plan import PartPhase, Seen

MEMBERS = (
    "family",
    "networkMode",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "taskRoleArn",
    "executionRoleArn",
    "containerDefinitions",
)
"""Members of a description that a registration takes (``definitions.definition``)."""


class DefinitionParts:
    """Parts of kind DEFINITION. Removing the executor's also ends the Airflow tasks that still run from it."""

    def __init__(self, services: EcsServices, tasks: EcsTasks) -> None:
        self._services = services
        self._tasks = tasks
        # (family, digest) -> ARN; only a cache of what ECS has said.
        self._known: dict[tuple[str, str], str] = {}
        # ARN -> what ECS has said of a revision that another skylift has made.
        self._described: dict[str, Mapping[str, Any]] = {}

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {
            part.name: self._leaving(context, part) if context.leaving else self._look(context, part) for part in parts
        }

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        """See ``Parts``. Each registration makes a new revision, so one that is as wanted is looked for first."""
        if (kept := self._kept(context, part)) is not None:
            # Only an older skylift can render this one: the same once more becomes the newest.
            again = {name: kept[name] for name in MEMBERS if name in kept}
            return {f"definition.{part.role}": self._services.register_definition(again)}
        request = definition(context, part.role)
        arn = self._find(request["family"], request) or self._services.register_definition(request)
        if part.role == EXECUTOR_ROLE:  # the cached newest revision is no longer the newest
            self._known = {key: one for key, one in self._known.items() if key[0] != request["family"]}
        self._known[(request["family"], digest_of(request))] = arn
        return {f"definition.{part.role}": arn, rendered_fact(part.role): rendering(context, part.role)}

    def remove(self, context: PartContext, part: Part) -> None:
        name = family(context.spec.name, part.role)
        if part.role == EXECUTOR_ROLE:
            for arn in self._services.family_tasks(name):
                self._tasks.stop(arn, "the environment is deleted")
        self._services.deregister_family(name)
        self._known = {key: arn for key, arn in self._known.items() if key[0] != name}

    def _leaving(self, context: PartContext, part: Part) -> Seen:
        there = self._services.describe_definition(family(context.spec.name, part.role))
        return Seen(PartPhase.READY if there else PartPhase.ABSENT)

    def _look(self, context: PartContext, part: Part) -> Seen:
        if (kept := self._kept(context, part)) is not None:
            return self._look_at_kept(part, kept)
        request = definition(context, part.role)
        key = (request["family"], digest_of(request))
        if key not in self._known:
            arn = self._remembered(context, part, request) or self._find(request["family"], request)
            if not arn:
                return Seen(PartPhase.ABSENT)
            self._known[key] = arn
        facts = {f"definition.{part.role}": self._known[key], rendered_fact(part.role): rendering(context, part.role)}
        return Seen(PartPhase.READY, facts)

    def _kept(self, context: PartContext, part: Part) -> Mapping[str, Any] | None:
        """The revision in use, as ECS describes it, if it is to stay although it would be described differently now."""
        if not context.keeps or not is_older(context, part.role):
            return None
        arn = context.fact(f"definition.{part.role}")
        found = self._described.get(arn) or self._services.describe_definition(arn)
        if found is None:
            return None  # somebody has deregistered it, and containers must be able to start
        self._described[arn] = found
        return None if digest_of(found) == digest_of(definition(context, part.role)) else found

    def _look_at_kept(self, part: Part, kept: Mapping[str, Any]) -> Seen:
        if part.role == EXECUTOR_ROLE:
            newest = self._services.describe_definition(str(kept["family"]))
            if newest is None or digest_of(newest) != digest_of(kept):
                return Seen(PartPhase.DIFFERENT, note="Airflow tasks are to start from the revision before")
        return Seen(PartPhase.READY)

    def _remembered(self, context: PartContext, part: Part, request: Mapping[str, Any]) -> str:
        """The revision that a service runs, if it is as wanted: a rollback must not replace what never changed.

        Airflow tasks, however, start from the newest revision, so theirs must be that one.
        """
        arn = context.fact(f"definition.{part.role}")
        return self._find(arn, request) if arn and part.role != EXECUTOR_ROLE else ""

    def _find(self, name: str, request: Mapping[str, Any]) -> str:
        """ARN of a revision (or of a family's newest), if it is as wanted; otherwise empty."""
        found = self._services.describe_definition(name)
        return str(found["taskDefinitionArn"]) if found and digest_of(found) == digest_of(request) else ""
