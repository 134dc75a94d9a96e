"""The judges of callers: IAM's own simulation, for AWS; and IAM's rules evaluated here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.aws.iam_principals import ALLOWED, GrantedPolicies, IamPrincipals
from skylift.control.api.access import AccessJudge
from skylift.control.settings import ControlSettings
from skylift.core.clock import Clock
from skylift.core.iam.evaluate import AccessRequest, AppliedPolicies, evaluate
from skylift.core.iam.policy import PolicyKind, read_policy
from skylift.core.iam.principal import principal_of
from skylift.wire.provider import Caller

KEEP_SECONDS = 5.0
"""How long a caller's policies are kept: reading them takes five calls and more. IAM itself takes seconds to spread a
change."""

MOST_KNOWN = 1000

_WHY = {
    "explicitDeny": "with an explicit deny in an identity-based policy",
    "implicitDeny": "because no identity-based policy allows the {action} action",
}


class SimulatingJudge:
    """Asks IAM what the policies of a user or role allow (``iam:SimulatePrincipalPolicy``).

    IAM simulates the policies of the role, and its boundary. It does not know the session policies with which the role
    was assumed, so these do not count here.
    """

    def __init__(self, iam: IamPrincipals) -> None:
        self._iam = iam

    def refusals(self, caller: Caller, action: str, resources: Sequence[str]) -> Mapping[str, str]:
        """What IAM does not call allowed."""
        if caller.principal.endswith(":root"):  # the account's owner has no policies, and may do everything
            return {}
        source = self._source(caller.principal)
        decisions = self._iam.simulate(source, action, resources) if source else {}
        return {
            resource: _reason(caller, action, resource, decision)
            for resource in resources
            if (decision := decisions.get(resource, "implicitDeny")) != ALLOWED
        }

    def _source(self, principal: str) -> str:
        """The user or role whose policies count; empty if it does not exist."""
        resource = principal.split(":", 5)[-1]
        kind, _, name = resource.partition("/")
        return self._iam.role_arn(name.partition("/")[0]) if kind == "assumed-role" else principal


class PolicyJudge:
    """Reads the caller's policies from IAM and evaluates them here: identity policies, groups, boundary.

    Like IAM's simulation, it does not know the session policies with which a role was assumed.
    """

    def __init__(self, iam: IamPrincipals, clock: Clock) -> None:
        self._iam = iam
        self._clock = clock
        self._known: dict[str, tuple[float, GrantedPolicies | None]] = {}

    def refusals(self, caller: Caller, action: str, resources: Sequence[str]) -> Mapping[str, str]:
        """What the evaluation does not allow."""
        granted = self._granted(caller.principal)
        if granted is None and not caller.principal.endswith(":root"):
            return {resource: _reason(caller, action, resource, "implicitDeny") for resource in resources}
        who = granted or GrantedPolicies(caller.principal, "", {}, ())
        principal = principal_of(caller.principal, role=who.entity, unique_id=who.unique_id, tags=who.tags)
        policies = _applied(who)
        context = {"aws:requestedregion": caller.region}
        decisions = {
            resource: evaluate(AccessRequest(principal, action, resource, context), policies) for resource in resources
        }
        return {resource: decision.message for resource, decision in decisions.items() if not decision.allowed}

    def _granted(self, principal: str) -> GrantedPolicies | None:
        at, granted = self._known.get(principal, (0.0, None))
        if self._clock() - at > KEEP_SECONDS:
            granted = self._read(principal)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[principal] = self._clock(), granted
        return granted

    def _read(self, principal: str) -> GrantedPolicies | None:
        kind, _, name = principal.split(":", 5)[-1].partition("/")
        if kind == "user":
            return self._iam.policies("user", name.rpartition("/")[2])
        return self._iam.policies("role", name.partition("/")[0]) if kind == "assumed-role" else None


def _applied(granted: GrantedPolicies) -> AppliedPolicies:
    boundary = read_policy(granted.boundary[1], PolicyKind.BOUNDARY, granted.boundary[0]) if granted.boundary else None
    return AppliedPolicies(tuple(read_policy(text, name=name) for name, text in granted.identity), boundary)


def judge_of(settings: ControlSettings, clock: Clock) -> AccessJudge:
    """The judge that the settings name, for callers who are not administrators."""
    iam = IamPrincipals(settings.region)
    return SimulatingJudge(iam) if settings.access_judge == "simulate" else PolicyJudge(iam, clock)


def _reason(caller: Caller, action: str, resource: str, decision: str) -> str:
    why = _WHY.get(decision, _WHY["implicitDeny"]).format(action=action)
    return f"User: {caller.principal} is not authorized to perform: {action} on resource: {resource} {why}"
