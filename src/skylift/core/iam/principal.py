"""Who asks: users, sessions of roles, AWS services; and whom the ``Principal`` element of a policy names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from skylift.core.errors import Refused
from skylift.core.iam.patterns import ContextValues

EVERYONE = "*"
_ACCOUNT = re.compile(r"\d{12}")
_ROOT = re.compile(r"arn:[^:]+:iam::(\d{12}):root")
_ARN = re.compile(r"arn:([^:]+):(iam|sts)::(\d{12}):(root|[^/]+/.+)")


class PrincipalKind(Enum):
    """The value of ``aws:PrincipalType``."""

    ROOT = "Account"
    USER = "User"
    ROLE_SESSION = "AssumedRole"
    FEDERATED = "FederatedUser"
    SERVICE = "Service"
    ANONYMOUS = "Anonymous"


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        arn: as messages show it: of the user, or of the role's session; an AWS service's name.
        account: twelve digits; empty for services and anonymous callers.
        entity: the ARN of the user, or of the role whose session it is (``aws:PrincipalArn``).
        unique_id: ``aws:userid``, e.g. ``AROAEXAMPLE:session``.
        tags: of the user, role or session.
    """

    kind: PrincipalKind
    arn: str
    account: str = ""
    entity: str = ""
    unique_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the user or role, without its path."""
        return self.entity.rpartition("/")[2]

    def context(self) -> dict[str, ContextValues]:
        """The context keys that say who asks."""
        found: dict[str, ContextValues] = {
            "aws:principaltype": self.kind.value,
            "aws:principalisawsservice": "true" if self.kind is PrincipalKind.SERVICE else "false",
        }
        if self.kind is PrincipalKind.SERVICE:
            return found | {"aws:principalservicename": self.arn}
        found |= {"aws:principalarn": self.entity or self.arn, "aws:principalaccount": self.account}
        if self.kind is PrincipalKind.USER:
            found["aws:username"] = self.name
        if self.unique_id:
            found["aws:userid"] = self.unique_id
        return found | {f"aws:principaltag/{key}".lower(): value for key, value in self.tags.items()}


def principal_of(arn: str, *, role: str = "", unique_id: str = "", tags: Mapping[str, str] | None = None) -> Principal:
    """The principal of an ARN of a user, root or session, or of a service's name (``ecs-tasks.amazonaws.com``).

    Args:
        role: the role's own ARN, for a session whose role has a path (a session's ARN does not show it).

    Raises:
        Refused: neither.
    """
    match = _ARN.fullmatch(arn)
    if match is None:
        if re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?", arn):
            return Principal(PrincipalKind.SERVICE, arn)
        raise Refused(f"{arn!r} is the ARN of no user, role session or account, and not the name of an AWS service")
    partition, _, account, resource = match.groups()
    kind, _, name = resource.partition("/")
    rest = (unique_id, tags or {})
    if kind == "root":
        return Principal(PrincipalKind.ROOT, arn, account, arn, *rest)
    if kind == "assumed-role":
        entity = role or f"arn:{partition}:iam::{account}:role/{name.partition('/')[0]}"
        return Principal(PrincipalKind.ROLE_SESSION, arn, account, entity, *rest)
    if kind == "federated-user":
        return Principal(PrincipalKind.FEDERATED, arn, account, arn, *rest)
    if kind in {"user", "role"}:
        return Principal(PrincipalKind.USER if kind == "user" else PrincipalKind.ROLE_SESSION, arn, account, arn, *rest)
    raise Refused(f"{arn!r} cannot make requests: it is a {kind}")


class Naming(IntEnum):
    """How closely a ``Principal`` element names a caller; what it is worth follows from it."""

    NOT = 0
    ACCOUNT = 1
    """The account: its own policies decide who in it may."""
    ROLE = 2
    """The role, or everyone: boundary and session policies of the caller still limit it."""
    DIRECT = 3
    """The very user, session or service."""


@dataclass(frozen=True)
class PrincipalElement:
    """``Principal`` or ``NotPrincipal`` of a statement."""

    names: frozenset[str]
    services: frozenset[str]
    federated: frozenset[str]
    excluding: bool

    def naming(self, principal: Principal) -> Naming:
        """How closely it names a caller."""
        if not self.excluding:
            return self._naming(principal)
        return Naming.NOT if self._spares(principal) else _everyone(principal)

    def _naming(self, principal: Principal) -> Naming:
        if principal.kind is PrincipalKind.SERVICE:
            named = EVERYONE in self.names or principal.arn.lower() in self.services
            return Naming.DIRECT if named else Naming.NOT
        if principal.arn in self.names or principal.arn in self.federated:
            role = principal.kind is PrincipalKind.ROLE_SESSION and principal.arn == principal.entity
            return Naming.ROLE if role else Naming.DIRECT
        if EVERYONE in self.names:
            return _everyone(principal)
        if principal.entity in self.names:
            return Naming.ROLE
        return Naming.ACCOUNT if principal.account and principal.account in self.names else Naming.NOT

    def _spares(self, principal: Principal) -> bool:
        """AWS spares only callers of which the element lists all: the session, its role, and the account."""
        if EVERYONE in self.names or principal.kind is PrincipalKind.SERVICE:
            return self._naming(principal) is not Naming.NOT
        return {principal.arn, principal.entity, principal.account} <= self.names


def _everyone(principal: Principal) -> Naming:
    return Naming.ROLE if principal.kind is PrincipalKind.ROLE_SESSION else Naming.DIRECT


def principal_element(element: Any, *, excluding: bool) -> PrincipalElement:
    """The element as JSON has it: ``"*"``, or an object by kind. Raises ``Refused`` for what IAM would not accept."""
    if element == EVERYONE:
        return PrincipalElement(frozenset({EVERYONE}), frozenset(), frozenset(), excluding)
    if not isinstance(element, Mapping) or not element:
        raise Refused('Principal must be "*" or an object such as {"AWS": "arn:..."}')
    unknown = element.keys() - {"AWS", "Service", "Federated", "CanonicalUser"}
    if unknown:
        raise Refused(f"Principal has no kind {sorted(unknown)[0]!r}: use AWS, Service, Federated or CanonicalUser")
    texts = {kind: _texts(kind, values) for kind, values in element.items()}
    return PrincipalElement(
        frozenset(_aws(one) for one in texts.get("AWS", ())),
        frozenset(one.lower() for one in texts.get("Service", ())),
        frozenset(texts.get("Federated", ())),
        excluding,
    )


def _aws(text: str) -> str:
    """Account ids stand for themselves, written as ARN or digits."""
    root = _ROOT.fullmatch(text)
    if root:
        return root[1]
    if "*" in text and text != EVERYONE:
        raise Refused(f'Principal {text!r}: a wildcard must stand alone ("*")')
    return text


def _texts(kind: str, values: Any) -> list[str]:
    found = [values] if isinstance(values, str) else values
    if not isinstance(found, Sequence) or not all(isinstance(one, str) for one in found):
        raise Refused(f"Principal {kind} must be a text or a list of texts")
    return list(found)
