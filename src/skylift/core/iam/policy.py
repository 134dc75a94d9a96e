"""Policy documents, read once into statements that are quick to compare with a request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from skylift.core.errors import Refused
from skylift.core.iam.conditions import Condition, conditions_of
from skylift.core.iam.patterns import Context, Pattern, Spelling
from skylift.core.iam.principal import PrincipalElement, principal_element

NEW_VERSION, OLD_VERSION = "2012-10-17", "2008-10-17"
_ACTION = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+")
_ELEMENTS = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)


class PolicyKind(Enum):
    """What a policy is attached to. The value is AWS's term in its messages."""

    IDENTITY = "identity-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"
    RESOURCE = "resource-based policy"
    TRUST = "role trust policy"

    @property
    def names_principals(self) -> bool:
        """Whether its statements must say whom they are for."""
        return self in {PolicyKind.RESOURCE, PolicyKind.TRUST}


@dataclass(frozen=True)
class Listing:
    """``Action``, ``NotAction``, ``Resource`` or ``NotResource``."""

    patterns: tuple[Pattern, ...]
    excluding: bool = False

    def covers(self, value: str, context: Context) -> bool:
        """Whether the statement is about this action or resource."""
        return any(one.matches(value, context) for one in self.patterns) is not self.excluding


@dataclass(frozen=True)
class PolicyStatement:
    """One statement.

    Attributes:
        sid: its name; may be empty.
        number: its place in the policy, from 1.
        resources: ``None`` in trust policies, which are about their role.
        principal: only in policies that name principals.
    """

    sid: str
    number: int
    allows: bool
    actions: Listing
    resources: Listing | None
    principal: PrincipalElement | None
    conditions: tuple[Condition, ...]

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Whether it is about such a request, whoever makes it. Of an unknown resource (""), an Allow holds whatever
        it names, and a Deny only if it names everything."""
        return (
            self.actions.covers(action, context)
            and (self.resources is None or self._covers(self.resources, resource, context))
            and all(one.holds(context) for one in self.conditions)
        )

    def _covers(self, resources: Listing, resource: str, context: Context) -> bool:
        if resource:
            return resources.covers(resource, context)
        everything = not resources.excluding and any(one.text == "*" for one in resources.patterns)
        return self.allows or everything

    def __str__(self) -> str:
        return self.sid or f"statement {self.number}"


@dataclass(frozen=True)
class Policy:
    """A policy that somebody or something has.

    Attributes:
        name: for people: its ARN, or ``role/name``.
    """

    name: str
    kind: PolicyKind
    statements: tuple[PolicyStatement, ...]


def read_policy(document: str | Mapping[str, Any], kind: PolicyKind = PolicyKind.IDENTITY, name: str = "") -> Policy:
    """Reads a policy document.

    Raises:
        Refused: IAM would not accept it. The text names the policy and the statement.
    """
    try:
        found = json.loads(document) if isinstance(document, str) else document
    except ValueError as error:
        raise Refused(f"{_called(name)} is not JSON: {error}") from error
    if not isinstance(found, Mapping):
        raise Refused(f"{_called(name)} must be an object with Version and Statement")
    version = found.get("Version", OLD_VERSION)
    if version not in {NEW_VERSION, OLD_VERSION}:
        raise Refused(f"{_called(name)}: Version must be {NEW_VERSION}, not {version!r}")
    listed = found.get("Statement")
    listed = [listed] if isinstance(listed, Mapping) else listed
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise Refused(f"{_called(name)} has no Statement")
    statements = []
    for number, element in enumerate(listed, 1):
        try:
            statements.append(_statement(element, number, kind, version == NEW_VERSION))
        except Refused as error:
            raise Refused(f"{_called(name)}, statement {number}: {error}") from error
    return Policy(name, kind, tuple(statements))


def _called(name: str) -> str:
    return f"policy {name}" if name else "the policy"


def _statement(element: Any, number: int, kind: PolicyKind, variables: bool) -> PolicyStatement:
    if not isinstance(element, Mapping):
        raise Refused("it must be an object")
    unknown = element.keys() - _ELEMENTS
    if unknown:
        raise Refused(f"{sorted(unknown)[0]!r} is no element of a statement")
    if element.get("Effect") not in {"Allow", "Deny"}:
        raise Refused(f"Effect must be Allow or Deny, not {element.get('Effect')!r}")
    if kind.names_principals is not bool(element.keys() & {"Principal", "NotPrincipal"}):
        must = "needs a Principal" if kind.names_principals else "must not have a Principal"
        raise Refused(f"a statement of a {kind.value} {must}")
    actions = _listing(element, "Action", Spelling.ACTION, variables=False)
    for one in actions.patterns:
        if not _ACTION.fullmatch(one.text):
            raise Refused(f"action {one.text!r} must look like ecs:RunTask")
    resources = None
    if kind is not PolicyKind.TRUST:
        resources = _listing(element, "Resource", Spelling.ARN, variables=variables)
    return PolicyStatement(
        str(element.get("Sid", "")),
        number,
        element["Effect"] == "Allow",
        actions,
        resources,
        _principal(element),
        conditions_of(element.get("Condition", {}), variables=variables),
    )


def _principal(element: Mapping[str, Any]) -> PrincipalElement | None:
    if "Principal" in element and "NotPrincipal" in element:
        raise Refused("Principal and NotPrincipal exclude each other")
    if "NotPrincipal" in element:
        return principal_element(element["NotPrincipal"], excluding=True)
    return principal_element(element["Principal"], excluding=False) if "Principal" in element else None


def _listing(element: Mapping[str, Any], word: str, spelling: Spelling, *, variables: bool) -> Listing:
    found = [one for one in (word, f"Not{word}") if one in element]
    if len(found) != 1:
        raise Refused(f"it needs {word} or Not{word}, and not both")
    values = element[found[0]]
    texts = [values] if isinstance(values, str) else values
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(one, str) for one in texts):
        raise Refused(f"{found[0]} must be a text or a list of texts")
    return Listing(tuple(Pattern(one, spelling, variables=variables) for one in texts), found[0] != word)
