"""Which of the calls that a local cloud has noted a policy would deny."""

from __future__ import annotations

from typing import Any

from skylift.core.iam.evaluate import AccessRequest, AppliedPolicies, evaluate
from skylift.core.iam.policy import read_policy
from skylift.core.iam.principal import principal_of


def denials(document: dict[str, Any], calls: list[dict[str, Any]]) -> list[str]:
    """The actions of calls that a policy does not allow."""
    policy = read_policy(document)
    found = []
    for one in calls:
        principal = principal_of(one["principal"])
        context = {
            key: tuple(value) if isinstance(value, list) else value for key, value in one.get("context", {}).items()
        }
        asked = AccessRequest(principal, one["action"], one.get("resource", ""), context)
        decision = evaluate(asked, AppliedPolicies([policy]))
        if not decision.allowed:
            assert f"because no identity-based policy allows the {one['action']} action" in decision.message
            found.append(one["action"])
    return found
