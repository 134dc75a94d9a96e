"""ECS task definitions. A revision never changes, so one that was found as wanted is remembered by its digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.aws.ecs_services import EcsServices
from skylift.aws.ecs_tasks import EcsTasks
from skylift.control.blueprint import EXECUTOR_ROLE, Part
from skylift.control.definitions import definition, digest_of, family
from skylift.control.plan import Phase, Seen
from skylift.control.scene import Scene


class DefinitionParts:
    """Parts of kind DEFINITION. Removing the executor's also ends the Airflow tasks that still run from it."""

    def __init__(self, services: EcsServices, tasks: EcsTasks) -> None:
        self._services = services
        self._tasks = tasks
        # (family, digest) -> ARN; only a cache of what ECS has said.
        self._known: dict[tuple[str, str], str] = {}

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        return {part.name: self._leaving(scene, part) if scene.leaving else self._look(scene, part) for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``."""
        request = definition(scene, part.role)
        arn = self._services.register_definition(request)
        self._known[(request["family"], digest_of(request))] = arn
        return {f"definition.{part.role}": arn}

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``."""
        name = family(scene.spec.name, part.role)
        if part.role == EXECUTOR_ROLE:
            for arn in self._services.family_tasks(name):
                self._tasks.stop(arn, "the environment is deleted")
        self._services.deregister_family(name)
        self._known = {key: arn for key, arn in self._known.items() if key[0] != name}

    def _leaving(self, scene: Scene, part: Part) -> Seen:
        there = self._services.describe_definition(family(scene.spec.name, part.role))
        return Seen(Phase.READY if there else Phase.ABSENT)

    def _look(self, scene: Scene, part: Part) -> Seen:
        request = definition(scene, part.role)
        key = (request["family"], digest_of(request))
        if key not in self._known:
            found = self._services.describe_definition(request["family"])
            if found is None:
                return Seen(Phase.ABSENT)
            if digest_of(found) != key[1]:
                return Seen(Phase.DIFFERENT, note="another revision is wanted")
            self._known[key] = str(found["taskDefinitionArn"])
        return Seen(Phase.READY, {f"definition.{part.role}": self._known[key]})
