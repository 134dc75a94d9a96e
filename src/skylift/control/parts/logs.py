"""Log groups: those of MWAA's modules that are switched on, and one of our own for everything else.

Deleting an environment keeps the user's groups, as on MWAA, because logs are needed longer. Ours is deleted.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.aws.logs import LogGroups
from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext, service_log_group
from skylift.control.plan import PartPhase, Seen
from skylift.core.names import log_group


class LogParts:
    """Parts of kind LOGS."""

    def __init__(self, logs: LogGroups) -> None:
        self._logs = logs

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        ours = service_log_group(context.spec.name)
        there = self._logs.groups(f"airflow-{context.spec.name}-") | self._logs.groups(ours)
        if ours not in there:
            return {part.name: Seen(PartPhase.ABSENT) for part in parts}
        missing = self._wanted(context) - there
        seen = (
            Seen(PartPhase.DIFFERENT, note="missing " + ", ".join(sorted(missing)))
            if missing
            else Seen(PartPhase.READY)
        )
        return {part.name: seen for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        for name in sorted(self._wanted(context)):
            self._logs.make_group(name)
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        self._logs.delete_group(service_log_group(context.spec.name))

    def _wanted(self, context: PartContext) -> set[str]:
        modules = {log_group(context.spec.name, name) for name, one in context.spec.logging.items() if one.enabled}
        return modules | {service_log_group(context.spec.name)}
