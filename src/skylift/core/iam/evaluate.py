"""Decides whether a request is allowed, as IAM does. Pure: the policies and the context are given.

The rules (IAM user guide, "Policy evaluation logic"):

1. A ``Deny`` that applies, in any policy, refuses.
2. In one account, an ``Allow`` of the identity's policies suffices, and so does one of the resource's policy that names
   the caller. One that names only the account leaves the decision to the identity's policies.
3. Across accounts, both must allow.
4. A permissions boundary and session policies must allow as well. They do not limit what the resource's policy gives
   directly to a user or to one session.
5. The trust policy of a role (and the policy of a KMS key) must allow in any case.

Not judged: the policies of AWS Organizations (SCPs, RCPs) and of VPC endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from skylift.core.iam.patterns import Context, ContextValues
from skylift.core.iam.policy import Policy, PolicyKind, PolicyStatement
from skylift.core.iam.principal import Naming, Principal, PrincipalKind

ANY_RESOURCE = "*"
"""The resource of actions that support none."""
UNKNOWN_RESOURCE = ""
"""Only the action is judged: an ``Allow`` holds whatever it names, a ``Deny`` only if it names everything."""
_ACCOUNT_PART, _ARN_PARTS = 4, 6


class AccessOutcome(Enum):
    """What IAM says."""

    ALLOWED = "allowed"
    IMPLICIT_DENY = "implicitDeny"
    EXPLICIT_DENY = "explicitDeny"


@dataclass(frozen=True)
class AccessRequest:
    """What somebody wants to do.

    Attributes:
        action: e.g. ``ecs:RunTask``.
        resource: an ARN; ``*`` for an action that supports none; ``UNKNOWN_RESOURCE``.
        context: further keys, in any case, e.g. ``{"ecs:cluster": "arn:..."}``. Keys about the caller and
            ``aws:ResourceAccount`` are added.
        owner: account of the resource, where its ARN does not say it (S3's).
    """

    principal: Principal
    action: str
    resource: str = ANY_RESOURCE
    context: Mapping[str, ContextValues] = field(default_factory=dict)
    owner: str = ""

    @property
    def resource_account(self) -> str:
        """Whose the resource is; the caller's, if nothing else is known."""
        parts = self.resource.split(":", _ARN_PARTS - 1)
        named = parts[_ACCOUNT_PART] if len(parts) == _ARN_PARTS else ""
        return self.owner or (named if named.isdigit() else "") or self.principal.account

    def full_context(self) -> dict[str, ContextValues]:
        """All context keys, in lower case."""
        owner: dict[str, ContextValues] = {"aws:resourceaccount": account} if (account := self.resource_account) else {}
        return {**self.principal.context(), **owner, **{key.lower(): value for key, value in self.context.items()}}


@dataclass(frozen=True)
class AppliedPolicies:
    """The policies that have a say.

    Attributes:
        identity: of the user, its groups, or the role.
        boundary: the permissions boundary; ``None``: there is none.
        session: what was given when the session was made; ``None``: nothing. Together they are one limit.
        resource: of the resource (a bucket, a queue, a role's trust policy).
        resource_decides: without an ``Allow`` there, nothing is allowed (trust policies, KMS keys).
    """

    identity: Sequence[Policy] = ()
    boundary: Policy | None = None
    session: Sequence[Policy] | None = None
    resource: Policy | None = None
    resource_decides: bool = False


@dataclass(frozen=True)
class AccessDecision:
    """The answer.

    Attributes:
        kind: which kind of policy decided, or should have allowed and does not.
        policy, statement: the statement that allowed or denied; ``None`` for an implicit deny, and for the root user.
    """

    request: AccessRequest
    outcome: AccessOutcome
    kind: PolicyKind
    policy: Policy | None = None
    statement: PolicyStatement | None = None

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.outcome is AccessOutcome.ALLOWED

    @property
    def message(self) -> str:
        """The text of AWS's AccessDenied errors."""
        asked = self.request
        whom = f"User: {asked.principal.arn}" if asked.principal.arn else "User: anonymous"
        where = "" if asked.resource in {ANY_RESOURCE, UNKNOWN_RESOURCE} else f" on resource: {asked.resource}"
        text = f"{whom} is not authorized to perform: {asked.action}{where}"
        if self.outcome is AccessOutcome.EXPLICIT_DENY:
            return f"{text} with an explicit deny in {_with_article(self.kind)}"
        return f"{text} because no {self.kind.value} allows the {asked.action} action"


def evaluate(request: AccessRequest, policies: AppliedPolicies) -> AccessDecision:
    """Whether the request is allowed, and which statement says so."""
    context = request.full_context()
    judged = _Judged(request, context)
    denied = judged.denial(policies)
    if denied is not None:
        return denied
    if request.principal.kind is PrincipalKind.ROOT and request.resource_account == request.principal.account:
        return AccessDecision(request, AccessOutcome.ALLOWED, PolicyKind.IDENTITY)
    return judged.allowance(policies)


@dataclass(frozen=True)
class _Judged:
    """One request, with its whole context."""

    request: AccessRequest
    context: Context

    def denial(self, policies: AppliedPolicies) -> AccessDecision | None:
        """The explicit deny, if there is one."""
        layers = (
            policies.identity,
            (policies.boundary,) if policies.boundary else (),
            policies.session or (),
            (policies.resource,) if policies.resource else (),
        )
        found = next((one for layer in layers for one in self._applying(layer, allows=False)), None)
        return self._decision(AccessOutcome.EXPLICIT_DENY, *found) if found else None

    def allowance(self, policies: AppliedPolicies) -> AccessDecision:
        """What follows when nothing denies explicitly."""
        naming, by_resource = self._given_by_resource(policies.resource)
        limits = self._limits(policies)
        same = self.request.resource_account == self.request.principal.account
        if self.request.principal.kind in {PrincipalKind.SERVICE, PrincipalKind.ANONYMOUS}:
            return self._decision(AccessOutcome.ALLOWED, *by_resource) if by_resource else self._missing(policies)
        if by_resource and same and (naming is Naming.DIRECT or (naming is Naming.ROLE and limits is None)):
            return self._decision(AccessOutcome.ALLOWED, *by_resource)
        if policies.resource_decides and by_resource is None:
            return self._missing(policies)
        by_identity = next(self._applying(policies.identity, allows=True), None)
        if by_identity is None and naming is not Naming.ROLE:
            return self._not_allowed(PolicyKind.IDENTITY)
        if limits is not None:
            return self._not_allowed(limits)
        if by_identity is None:
            return self._not_allowed(PolicyKind.IDENTITY)
        return self._decision(AccessOutcome.ALLOWED, *by_identity) if same or by_resource else self._missing(policies)

    def _given_by_resource(self, policy: Policy | None) -> tuple[Naming, tuple[Policy, PolicyStatement] | None]:
        """The ``Allow`` of the resource's policy that names the caller most closely."""
        best, found = Naming.NOT, None
        for statement in policy.statements if policy else ():
            if statement.allows and statement.principal is not None:
                naming = statement.principal.naming(self.request.principal)
                if naming > best and self._applies(statement):
                    best, found = naming, statement
        return best, (policy, found) if policy and found else None

    def _limits(self, policies: AppliedPolicies) -> PolicyKind | None:
        """The limit that does not allow the request; ``None``: all do."""
        if policies.boundary is not None and not any(self._applying((policies.boundary,), allows=True)):
            return PolicyKind.BOUNDARY
        if policies.session is not None and not any(self._applying(policies.session, allows=True)):
            return PolicyKind.SESSION
        return None

    def _applying(self, policies: Iterable[Policy], *, allows: bool) -> Iterator[tuple[Policy, PolicyStatement]]:
        for policy in policies:
            for statement in policy.statements:
                if statement.allows is allows and self._names_caller(statement) and self._applies(statement):
                    yield policy, statement

    def _names_caller(self, statement: PolicyStatement) -> bool:
        return statement.principal is None or statement.principal.naming(self.request.principal) is not Naming.NOT

    def _applies(self, statement: PolicyStatement) -> bool:
        return statement.applies(self.request.action, self.request.resource, self.context)

    def _missing(self, policies: AppliedPolicies) -> AccessDecision:
        return self._not_allowed(policies.resource.kind if policies.resource else PolicyKind.RESOURCE)

    def _not_allowed(self, kind: PolicyKind) -> AccessDecision:
        return AccessDecision(self.request, AccessOutcome.IMPLICIT_DENY, kind)

    def _decision(self, outcome: AccessOutcome, policy: Policy, statement: PolicyStatement) -> AccessDecision:
        return AccessDecision(self.request, outcome, policy.kind, policy, statement)


def _with_article(kind: PolicyKind) -> str:
    if kind is PolicyKind.TRUST:
        return f"the {kind.value}"
    return f"an {kind.value}" if kind is PolicyKind.IDENTITY else f"a {kind.value}"
