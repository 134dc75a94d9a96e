"""Parts in memory, a fake for tests: it fulfils the contract, and fails or is slow on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext
from skylift.control.plan import Failure, PartPhase, Seen
from skylift.core.environment import Spec
from skylift.core.errors import SkyliftError


class FakeParts:
    """Every part becomes ready ``looks`` observations after it was put.

    Attributes:
        standing: part name -> observations left until it is ready.
        faults: part name -> the fault that it shows instead of becoming ready.
        errors: part name -> error that the next ``put`` of it raises, once.
        deeds: what was done, in order, as ``verb name``.
        follows: names of parts that are DIFFERENT until they are put for the Spec that is wanted now.
    """

    def __init__(self, looks: int = 1) -> None:
        self.looks = looks
        self.standing: dict[tuple[str, str], int] = {}
        self.faults: dict[str, Failure] = {}
        self.errors: dict[str, SkyliftError] = {}
        self.deeds: list[str] = []
        self.follows: set[str] = set()
        self._put_for: dict[tuple[str, str], Spec] = {}

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._seen(context, part) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        if part.name in self.errors:
            raise self.errors.pop(part.name)
        self.deeds.append(f"put {part.name}")
        key = (context.spec.name, part.name)
        self.standing[key] = self.looks if self._outdated(context, part) else self.standing.get(key, self.looks)
        self._put_for[key] = context.spec
        return {f"{part.name}.put": "yes"}

    def remove(self, context: PartContext, part: Part) -> None:
        self.deeds.append(f"remove {part.name}")
        self.standing.pop((context.spec.name, part.name), None)

    def prepare(self) -> None:
        self.deeds.append("prepare")

    def forget_payloads(self, environment: str) -> None:
        self.deeds.append(f"forget payloads of {environment}")

    def _outdated(self, context: PartContext, part: Part) -> bool:
        return part.name in self.follows and self._put_for.get((context.spec.name, part.name)) != context.spec

    def _seen(self, context: PartContext, part: Part) -> Seen:
        key = (context.spec.name, part.name)
        if key not in self.standing:
            return Seen(PartPhase.ABSENT)
        if self._outdated(context, part):
            return Seen(PartPhase.DIFFERENT)
        if part.name in self.faults:
            return Seen(PartPhase.FAILED, fault=self.faults[part.name])
        if self.standing[key] > 0:
            self.standing[key] -= 1
            return Seen(PartPhase.MOVING)
        return Seen(PartPhase.READY, {f"{part.name}.ready": "yes"})
