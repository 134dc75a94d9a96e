"""Judges callers of the local cloud: finds their policies in the emulated IAM and evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from skylift.core.clock import Clock
from skylift.core.iam.evaluate import AccessDecision, AccessRequest, AppliedPolicies, evaluate
from skylift.core.iam.patterns import ContextValues
from skylift.core.iam.policy import Policy, PolicyKind, read_policy
from skylift.core.iam.principal import Principal, PrincipalKind, principal_of
from skylift.localcloud.iam.actions.call import Need
from skylift.localcloud.iam.state import Documents, IamState, Identity
from skylift.wire.provider import Caller

ASSUME_ROLE = frozenset({"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML", "sts:TagSession"})
_REMEMBERED = 2048

_read = lru_cache(maxsize=_REMEMBERED)(read_policy)


class LocalJudge:
    """Says whether a caller may do something. Reads the policies anew for each question; reading is quick."""

    def __init__(self, state: IamState, clock: Clock, administrators: Collection[str]) -> None:
        """``administrators``: ids of access keys that may do everything: the owner's."""
        self._state = state
        self._clock = clock
        self._administrators = frozenset(administrators)

    def is_administrator(self, caller: Caller) -> bool:
        """Whether nothing is asked of this caller."""
        return caller.access_key in self._administrators

    def decide(self, caller: Caller, need: Need) -> AccessDecision:
        """Whether a caller may.

        Raises:
            Refused: one of the policies is not valid; the text says which and why.
        """
        return self.decider(caller)(need)

    def decider(self, caller: Caller) -> Callable[[Need], AccessDecision]:
        """``decide`` for the many needs of one call: the caller's policies are found once, at the first."""
        found: list[tuple[Principal, AppliedPolicies]] = []

        def decide(need: Need) -> AccessDecision:
            if not found:
                found.append(self._of(caller))
            return self._decide(*found[0], need, caller.region)

        return decide

    def decide_for_role(self, role: str, session: str, need: Need, region: str) -> AccessDecision:
        """Whether a role may, in a session that an AWS service made. Raises ``Refused`` as ``decide``."""
        account, name = role.split(":")[4], role.rpartition("/")[2]
        arn = f"{role.split(':')[0]}:{role.split(':')[1]}:sts::{account}:assumed-role/{name}/{session}"
        return self.decide(Caller("", arn, account, region), need)

    def decide_for_service(self, service: str, need: Need, region: str) -> AccessDecision:
        """Whether an AWS service may, e.g. take on a role. Raises ``Refused`` as ``decide``."""
        return self._decide(Principal(PrincipalKind.SERVICE, service), AppliedPolicies(), need, region)

    def _of(self, caller: Caller) -> tuple[Principal, AppliedPolicies]:
        principal = principal_of(caller.principal)
        if principal.kind not in {PrincipalKind.USER, PrincipalKind.ROLE_SESSION}:
            return principal, AppliedPolicies()
        session = self._state.session(caller.access_key) if caller.access_key else None
        is_user = principal.kind is PrincipalKind.USER
        name = principal.name
        found = self._state.identity("user" if is_user else "role", name)
        if found is None:
            return principal, AppliedPolicies()
        tags = {**found.tags, **(session.tags if session else {})}
        suffix = "" if is_user else f":{caller.principal.rpartition('/')[2]}"
        principal = replace(principal, entity=found.arn, unique_id=f"{found.unique_id}{suffix}", tags=tags)
        limits = session.policies if session else None
        return principal, AppliedPolicies(
            _read_all(found.policies, PolicyKind.IDENTITY),
            _boundary(found),
            None if limits is None else _read_all(limits, PolicyKind.SESSION),
        )

    def _decide(self, principal: Principal, policies: AppliedPolicies, need: Need, region: str) -> AccessDecision:
        trust = need.action in ASSUME_ROLE
        text = self._trust(need.resource) if trust else self._state.resource_policy(need.resource)
        if text:
            kind = PolicyKind.TRUST if trust else PolicyKind.RESOURCE
            policies = replace(policies, resource=_read(text, kind, need.resource))
        policies = replace(policies, resource_decides=trust)
        context = {**self._context(region), **need.context}
        return evaluate(AccessRequest(principal, need.action, need.resource, context), policies)

    def _trust(self, role: str) -> str:
        found = self._state.identity("role", role.rpartition("/")[2])
        return found.trust if found is not None and found.arn == role else ""

    def _context(self, region: str) -> dict[str, ContextValues]:
        now = self._clock()
        return {
            "aws:currenttime": datetime.fromtimestamp(now, UTC).isoformat(),
            "aws:epochtime": str(int(now)),
            "aws:requestedregion": region,
            "aws:securetransport": "false",
            "aws:sourceip": "127.0.0.1",
            "aws:viaawsservice": "false",
        }


def _read_all(documents: Documents, kind: PolicyKind) -> list[Policy]:
    return [_read(text, kind, name) for name, text in documents if text]


def _boundary(found: Identity) -> Policy | None:
    if found.boundary is None:
        return None
    name, text = found.boundary
    return _read(text, PolicyKind.BOUNDARY, name) if text else Policy(name, PolicyKind.BOUNDARY, ())
