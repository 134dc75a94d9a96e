"""What principals did: each action and resource once, and the least policy that allows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skylift.core.clock import Clock
from skylift.core.iam.evaluate import AccessDecision
from skylift.core.iam.patterns import ContextValues
from skylift.localcloud.iam.actions.call import Need

MOST_RESOURCES = 40
"""Resources of one principal and action, before they are recorded by their folder, and then by their service."""
MOST_PRINCIPALS = 500
_PARTS = 6


@dataclass
class Sighting:
    """One action of one principal on one resource.

    Attributes:
        principal: ARN of the user or role.
        context: the keys of the first time.
        first, last: seconds since the epoch.
        denied: the message of the last denial; empty if it was never denied.
    """

    principal: str
    action: str
    resource: str
    context: Mapping[str, ContextValues] = field(default_factory=dict)
    first: float = 0.0
    last: float = 0.0
    denied: str = ""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {key: value for key, value in vars(self).items() if value != "" and value != {}}


class ObservedCalls:
    """Records, in memory and bounded. Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.began = clock()
        self._seen: dict[str, dict[str, dict[str, Sighting]]] = {}

    def record(self, principal: str, need: Need, decision: AccessDecision | None = None) -> None:
        """Notes that somebody asked for something; ``decision`` if it was judged."""
        actions = self._seen.get(principal)
        if actions is None:
            if len(self._seen) >= MOST_PRINCIPALS:
                return
            actions = self._seen[principal] = {}
        resources = actions.setdefault(need.action, {})
        resource = need.general or need.resource
        found = resources.get(resource)
        if found is None:
            resource = _bounded(resources, resource)
            found = resources.get(resource)
        now = self._clock()
        if found is None:
            found = resources[resource] = Sighting(principal, need.action, resource, dict(need.context), now)
        found.last = now
        if decision is not None and not decision.allowed:
            found.denied = decision.message

    def since(self, moment: float = 0.0, principal: str = "") -> list[Sighting]:
        """What was seen at or after a moment, in the order of principals, actions and resources."""
        found = [
            one
            for name, actions in self._seen.items()
            if principal in {"", name, name.rpartition("/")[2]}
            for resources in actions.values()
            for one in resources.values()
            if one.last >= moment
        ]
        return sorted(found, key=lambda one: (one.principal, one.action, one.resource))


def least_policy(sightings: list[Sighting]) -> dict[str, Any]:
    """The least policy that allows what was seen: one statement for all actions that had the same resources."""
    resources = defaultdict(set)
    for one in sightings:
        resources[one.action].add(one.resource or "*")
    together = defaultdict(list)
    for action, named in sorted(resources.items()):
        together[tuple(sorted(_without_covered(named)))].append(action)
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": list(named)} for named, actions in sorted(together.items())
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _without_covered(resources: set[str]) -> set[str]:
    """Leaves out what a folder of the same set covers."""
    folders = {one for one in resources if one.endswith("/*")}
    return {one for one in resources if one in folders or not any(one.startswith(each[:-1]) for each in folders)}


def _bounded(resources: dict[str, Sighting], resource: str) -> str:
    """The name under which a new resource is recorded: its own; its folder or its kind if there are many."""
    if len(resources) < MOST_RESOURCES or not resource.startswith("arn:"):
        return resource
    for wider in _wider(resource):
        covered = [name for name in resources if name != wider and name.startswith(wider[:-1])]
        if wider in resources or len(covered) > MOST_RESOURCES // 4:
            first = min((resources.pop(name).first for name in covered), default=0.0)
            if wider in resources and covered:
                resources[wider].first = min(resources[wider].first, first)
            return wider
    wider = list(_wider(resource))[-1]
    for name in [name for name in resources if name.startswith(wider[:-1])]:
        del resources[name]
    return wider


def _wider(resource: str) -> list[str]:
    """``bucket/a/b/*``, ``bucket/a/*``, ``bucket/*``; or ``...:*`` for names without folders."""
    parts = resource.split(":", _PARTS - 1)
    head, rest = ":".join(parts[:-1]), parts[-1].removesuffix("/*")
    folders = rest.split("/")[:-1]
    found = [f"{head}:{'/'.join(folders[:count])}/*" for count in range(len(folders), 0, -1)]
    return found or [f"{head}:*"]
