"""Log groups: those of MWAA's modules that are switched on, and one of our own for everything else.

Deleting an environment leaves the user's groups, as MWAA does: logs outlive what wrote them. Ours goes.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.aws.logs import Logs
from skylift.control.blueprint import Part
from skylift.control.plan import Phase, Seen
from skylift.control.scene import Scene, service_log_group
from skylift.core.names import log_group


class LogParts:
    """Parts of kind LOGS."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        ours = service_log_group(scene.spec.name)
        there = self._logs.groups(f"airflow-{scene.spec.name}-") | self._logs.groups(ours)
        if ours not in there:
            return {part.name: Seen(Phase.ABSENT) for part in parts}
        missing = self._wanted(scene) - there
        seen = Seen(Phase.DIFFERENT, note="missing " + ", ".join(sorted(missing))) if missing else Seen(Phase.READY)
        return {part.name: seen for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``."""
        for name in sorted(self._wanted(scene)):
            self._logs.make_group(name)
        return {}

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``."""
        self._logs.delete_group(service_log_group(scene.spec.name))

    def _wanted(self, scene: Scene) -> set[str]:
        modules = {log_group(scene.spec.name, name) for name, one in scene.spec.logging.items() if one.enabled}
        return modules | {service_log_group(scene.spec.name)}
