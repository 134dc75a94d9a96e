"""The database migration: a one-off ECS task, once per database and Airflow version. Airflow's own migration may be
repeated."""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext
from skylift.control.parts.one_off import Once, exit_code, interrupted
from skylift.control.plan import PartPhase, Seen
from skylift.core.containers import Command

CODE = "MIGRATION_FAILED"
MOST_TRIES = 3


class MigrationParts:
    """Parts of kind MIGRATION."""

    def __init__(self, once: Once) -> None:
        self._once = once

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        wanted = _wanted(context)
        definition = context.fact(f"definition.{Command.MIGRATE}")
        tries = str(_tries(context) + 1 if context.fact("migration.running") == wanted else 1)
        return {
            "migration.runner": self._once.start(context, definition, context.token("migrate", wanted, tries), {}),
            "migration.running": wanted,
            "migration.tries": tries,
        }

    def remove(self, context: PartContext, part: Part) -> None:
        if context.fact("migration.runner"):
            self._once.stop(context.fact("migration.runner"), "the environment is deleted")

    def _look(self, context: PartContext) -> Seen:
        wanted = _wanted(context)
        if context.fact("migration.done") == wanted and not context.leaving:
            return Seen(PartPhase.READY)
        mine = context.fact("migration.running") == wanted
        runner = self._once.look(context.fact("migration.runner")) if mine else None
        if runner is None or (context.leaving and runner.last_status == "STOPPED"):
            return Seen(PartPhase.ABSENT)
        if runner.last_status != "STOPPED":
            return Seen(PartPhase.MOVING)
        if exit_code(runner) == 0:
            return Seen(PartPhase.READY, {"migration.done": wanted})
        if interrupted(runner) and _tries(context) < MOST_TRIES:
            return Seen(PartPhase.ABSENT, note="trying again")
        what = "The migration of the metadata database failed"
        return Seen(PartPhase.FAILED, fault=self._once.fault(context, runner, Command.MIGRATE, CODE, what))


def _tries(context: PartContext) -> int:
    return int(context.fact("migration.tries") or 0)


def _wanted(context: PartContext) -> str:
    return f"{context.fact('database.name')} {context.spec.airflow_version}"
