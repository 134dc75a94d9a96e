"""A call as IAM sees it, and what it needs: actions on resources, with context keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from skylift.core.iam.evaluate import ANY_RESOURCE, UNKNOWN_RESOURCE
from skylift.core.iam.patterns import ContextValues
from skylift.core.names import arn
from skylift.localcloud.ports import Document

ECS_TASKS = "ecs-tasks.amazonaws.com"
"""The service that takes on the roles of ECS tasks and of Batch's containers."""


class Lookups(Protocol):
    """What a request only refers to. Every verb answers at once, also for what does not exist."""

    def task_definition(self, reference: str) -> Document:
        """A task definition by family, revision or ARN; empty if there is none."""
        ...

    def job_definition(self, reference: str) -> Document:
        """A job definition by name, revision or ARN; empty if there is none."""
        ...

    def secret(self, reference: str, region: str) -> str:
        """A secret's whole ARN, by name or ARN; empty if there is none."""
        ...

    def entity(self, kind: str, name: str) -> str:
        """ARN, with path, of IAM's ``role``, ``user``, ``group`` or ``instance-profile``; empty if there is none."""
        ...


@dataclass(frozen=True)
class Need:
    """One action on one resource that a call needs.

    Attributes:
        resource: an ARN, ``*`` (the action supports none), or empty (it is not known here).
        general: what to name in a policy instead of ``resource``, which has an id that no policy would name.
    """

    action: str
    resource: str = ANY_RESOURCE
    context: Mapping[str, ContextValues] = field(default_factory=dict)
    general: str = ""


@dataclass(frozen=True)
class ApiCall:
    """A request.

    Attributes:
        service: signing name, which is also the prefix of its actions.
        operation: e.g. ``RunTask``.
        members: of the request; of a Query request of an emulated service the fields of its form, e.g.
            ``TagKeys.member.1``.
        account, region: of the caller.
    """

    service: str
    operation: str
    members: Mapping[str, Any]
    account: str
    region: str
    lookups: Lookups

    def text(self, *names: str) -> str:
        """The first of these members that is there; empty if none is."""
        return next((str(self.members[name]) for name in names if self.members.get(name)), "")

    def texts(self, name: str) -> list[str]:
        """A member that is a list, also as the fields of a form."""
        found = self.members.get(name)
        if isinstance(found, list | tuple):
            return [str(one) for one in found]
        if found:
            return [str(found)]
        return [str(value) for key, value in self.members.items() if key.startswith(f"{name}.") and value]

    def arn(self, rest: str, service: str = "") -> str:
        """An ARN of this account and region; ``rest`` may be one already."""
        return rest if rest.startswith("arn:") else arn(service or self.service, self.region, self.account, rest)

    def named(self, kind: str, name: str, separator: str = "/") -> str:
        """The ARN of a resource of this service by name; ``name`` may be one already."""
        return name if name.startswith("arn:") else self.arn(f"{kind}{separator}{name}")


Resources = Callable[[ApiCall], Iterable[str]]
Keys = Callable[[ApiCall], Mapping[str, ContextValues]]
Further = Callable[[ApiCall], Iterable[Need]]


def _no_keys(_call: ApiCall) -> Mapping[str, ContextValues]:
    return {}


def _nothing(_call: ApiCall) -> Iterable[Need]:
    return ()


@dataclass(frozen=True)
class OperationNeeds:
    """What one operation needs.

    Attributes:
        resources: on which resources its own action is needed.
        keys: context keys of the service.
        further: other actions, e.g. ``iam:PassRole``.
        action: if it has another name than the operation.
    """

    resources: Resources
    keys: Keys = _no_keys
    further: Further = _nothing
    action: str = ""


Table = Mapping[str, OperationNeeds]


def needs_by(table: Table, call: ApiCall, otherwise: str = ANY_RESOURCE) -> list[Need]:
    """What a call needs by the table of its service; ``otherwise`` is the resource of operations without a row."""
    row = table.get(call.operation)
    if row is None:
        return [Need(f"{call.service}:{call.operation}", otherwise, tag_keys(call.members))]
    action = f"{call.service}:{row.action or call.operation}"
    keys = {**tag_keys(call.members), **row.keys(call)}
    own = [Need(action, one, keys, general_of(one)) for one in dict.fromkeys(row.resources(call))]
    return [*(own or [Need(action, UNKNOWN_RESOURCE, keys)]), *row.further(call)]


def member(kind: str, *names: str, separator: str = "/") -> Resources:
    """The resource that a member names."""

    def found(call: ApiCall) -> Iterable[str]:
        name = call.text(*names)
        return [call.named(kind, name, separator)] if name else []

    return found


def members(kind: str, name: str, separator: str = "/") -> Resources:
    """The resources that a list names."""
    return lambda call: [call.named(kind, one, separator) for one in call.texts(name)]


def arns(*names: str) -> Resources:
    """ARNs as they are in members."""
    return lambda call: [one for name in names for one in call.texts(name) if one.startswith("arn:")]


def nothing_in_particular(_call: ApiCall) -> Iterable[str]:
    """For actions that support no resources."""
    return [ANY_RESOURCE]


_FORM_TAG = re.compile(r"Tags?(\.member)?\.\d+\.Key")
"""The name of a tag in the fields of a form."""


def tag_keys(found: Mapping[str, Any]) -> dict[str, ContextValues]:
    """``aws:RequestTag/...`` and ``aws:TagKeys`` of a request."""
    tags: dict[str, str] = {}
    for name in ("tags", "Tags"):
        value = found.get(name)
        if isinstance(value, Mapping):
            tags |= {str(key): str(one) for key, one in value.items()}
        elif isinstance(value, list):
            pairs = [one for one in value if isinstance(one, Mapping)]
            tags |= {str(one.get("key", one.get("Key"))): str(one.get("value", one.get("Value", ""))) for one in pairs}
    tags |= {str(found[name]): str(found.get(f"{name[:-3]}Value", "")) for name in found if _FORM_TAG.fullmatch(name)}
    removed = [str(one) for name in ("tagKeys", "TagKeys") if isinstance(found.get(name), list) for one in found[name]]
    keys = (*tags, *removed)
    if not keys:
        return {}
    return {**{f"aws:RequestTag/{key}": value for key, value in tags.items()}, "aws:TagKeys": keys}


def pass_role(role: str, service: str) -> Need:
    """Handing a role over to an AWS service."""
    return Need("iam:PassRole", role, {"iam:PassedToService": service})


_VOLATILE = {"ecs": "task/", "batch": "job/"}
_PARTS = 6


def general_of(resource: str) -> str:
    """What a policy names instead of a resource whose name is made at run time: ``task/cluster/*``, ``job/*``, a log
    group's ``:*``; empty for others."""
    parts = resource.split(":", _PARTS - 1)
    if len(parts) < _PARTS:
        return ""
    service, rest = parts[2], parts[5]
    if service == "logs" and ":log-stream:" in rest:
        rest = rest.partition(":log-stream:")[0] + ":*"
    elif service in _VOLATILE and rest.startswith(_VOLATILE[service]):
        rest = rest.rpartition("/")[0] + "/*"
    elif service == "ecs" and rest.startswith("task-definition/"):
        rest = rest.rpartition(":")[0] + ":*"
    elif service == "batch" and rest.startswith("job-definition/") and ":" in rest:
        rest = rest.partition(":")[0] + ":*"
    else:
        return ""
    return ":".join([*parts[:5], rest])
