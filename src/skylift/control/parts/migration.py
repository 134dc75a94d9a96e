"""The database migration: a one-off ECS task, once per database and Airflow version. Airflow's own migration may be
repeated. A database that was made from a migrated copy needs none."""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.aws.ecs.tasks import DescribedTask
from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext
from skylift.control.parts.migrated_copy import MigratedCopies
from skylift.control.parts.one_off import Once, exit_code, interrupted
from skylift.control.plan import PartPhase, Seen
from skylift.core.containers import Command

CODE = "MIGRATION_FAILED"
MOST_TRIES = 3

KILLED = 137
"""Exit code of a container that SIGKILL ended: its memory limit, or somebody. Nothing is half migrated: PostgreSQL
takes back what was not committed, and the next try goes on from there."""


class MigrationParts:
    """Parts of kind MIGRATION."""

    def __init__(self, once: Once, copies: MigratedCopies | None = None) -> None:
        self._once = once
        self._copies = copies

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        wanted, runner = _wanted(context), self._runner(context)
        if self._copies and runner is not None and exit_code(runner) == 0:
            self._copies.keep(context, context.fact("database.name"))
            return {"migration.done": wanted}
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
        runner = self._runner(context)
        if runner is None or (context.leaving and runner.last_status == "STOPPED"):
            return Seen(PartPhase.ABSENT)
        if runner.last_status != "STOPPED":
            return Seen(PartPhase.MOVING)
        if exit_code(runner) == 0:
            if self._copies and not self._copies.is_kept(context):
                return Seen(PartPhase.DIFFERENT, note="keeping a copy for the next environment")
            return Seen(PartPhase.READY, {"migration.done": wanted})
        if (interrupted(runner) or exit_code(runner) == KILLED) and _tries(context) < MOST_TRIES:
            return Seen(PartPhase.ABSENT, note="trying again")
        what = "The migration of the metadata database failed"
        return Seen(PartPhase.FAILED, fault=self._once.fault(context, runner, Command.MIGRATE, CODE, what))

    def _runner(self, context: PartContext) -> DescribedTask | None:
        mine = context.fact("migration.running") == _wanted(context)
        return self._once.look(context.fact("migration.runner")) if mine else None


def migrated(context: PartContext, database: str) -> str:
    """Names a migration: what the fact ``migration.done`` holds afterwards."""
    return f"{database} {context.spec.airflow_version}"


def _tries(context: PartContext) -> int:
    return int(context.fact("migration.tries") or 0)


def _wanted(context: PartContext) -> str:
    return migrated(context, context.fact("database.name"))
