"""The database migration: a one-off ECS task, once per database and Airflow version. Airflow's own migration may be repeated."""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.control.blueprint import Part
from skylift.control.parts.once import Once, exit_code, interrupted
from skylift.control.plan import Phase, Seen
from skylift.control.scene import Scene
from skylift.core.containers import Command

CODE = "MIGRATION_FAILED"
MOST_TRIES = 3


class MigrationParts:
    """Parts of kind MIGRATION."""

    def __init__(self, once: Once) -> None:
        self._once = once

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        return {part.name: self._look(scene) for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``."""
        wanted = _wanted(scene)
        definition = scene.fact(f"definition.{Command.MIGRATE}")
        tries = str(_tries(scene) + 1 if scene.fact("migration.running") == wanted else 1)
        return {
            "migration.runner": self._once.start(scene, definition, scene.token("migrate", wanted, tries), {}),
            "migration.running": wanted,
            "migration.tries": tries,
        }

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``."""
        if scene.fact("migration.runner"):
            self._once.stop(scene.fact("migration.runner"), "the environment is deleted")

    def _look(self, scene: Scene) -> Seen:
        wanted = _wanted(scene)
        if scene.fact("migration.done") == wanted and not scene.leaving:
            return Seen(Phase.READY)
        mine = scene.fact("migration.running") == wanted
        runner = self._once.look(scene.fact("migration.runner")) if mine else None
        if runner is None or (scene.leaving and runner.last_status == "STOPPED"):
            return Seen(Phase.ABSENT)
        if runner.last_status != "STOPPED":
            return Seen(Phase.MOVING)
        if exit_code(runner) == 0:
            return Seen(Phase.READY, {"migration.done": wanted})
        if interrupted(runner) and _tries(scene) < MOST_TRIES:
            return Seen(Phase.ABSENT, note="trying again")
        what = "The migration of the metadata database failed"
        return Seen(Phase.FAILED, fault=self._once.fault(scene, runner, Command.MIGRATE, CODE, what))


def _tries(scene: Scene) -> int:
    return int(scene.fact("migration.tries") or 0)


def _wanted(scene: Scene) -> str:
    return f"{scene.fact('database.name')} {scene.spec.airflow_version}"
