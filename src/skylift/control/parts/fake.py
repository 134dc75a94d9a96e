"""Parts in memory: the seam's shipped fake. It keeps the contract, and fails or dawdles when it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.control.blueprint import Part
from skylift.control.plan import Fault, Phase, Seen
from skylift.control.scene import Scene
from skylift.core.errors import SkyliftError


class FakeParts:
    """Every part becomes ready ``looks`` observations after it was put.

    Attributes:
        standing: part name -> observations left until it is ready.
        faults: part name -> the fault that it shows instead of becoming ready.
        errors: part name -> error that the next ``put`` of it raises, once.
        deeds: what was done, in order, as ``verb name``.
    """

    def __init__(self, looks: int = 1) -> None:
        self.looks = looks
        self.standing: dict[tuple[str, str], int] = {}
        self.faults: dict[str, Fault] = {}
        self.errors: dict[str, SkyliftError] = {}
        self.deeds: list[str] = []

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        return {part.name: self._seen(scene, part) for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``."""
        if part.name in self.errors:
            raise self.errors.pop(part.name)
        self.deeds.append(f"put {part.name}")
        self.standing.setdefault((scene.spec.name, part.name), self.looks)
        return {f"{part.name}.put": "yes"}

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``."""
        self.deeds.append(f"remove {part.name}")
        self.standing.pop((scene.spec.name, part.name), None)

    def prepare(self) -> None:
        """See ``World``."""
        self.deeds.append("prepare")

    def forget_payloads(self, environment: str) -> None:
        """See ``World``."""
        self.deeds.append(f"forget payloads of {environment}")

    def _seen(self, scene: Scene, part: Part) -> Seen:
        key = (scene.spec.name, part.name)
        if key not in self.standing:
            return Seen(Phase.ABSENT)
        if part.name in self.faults:
            return Seen(Phase.FAILED, fault=self.faults[part.name])
        if self.standing[key] > 0:
            self.standing[key] -= 1
            return Seen(Phase.MOVING)
        return Seen(Phase.READY, {f"{part.name}.ready": "yes"})
