"""What IAM says of a user or role: its policies, and what they allow (``SimulatePrincipalPolicy``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of

ALLOWED = "allowed"
"""``EvalDecision`` of what is allowed; others are ``implicitDeny`` and ``explicitDeny``."""

_MISSING = frozenset({"NoSuchEntity", "NoSuchEntityException"})

Document = Mapping[str, Any] | str
"""A policy document, as boto3 gives it."""


@dataclass(frozen=True)
class GrantedPolicies:
    """All policies of a user (with its groups) or of a role.

    Attributes:
        entity: its ARN.
        identity: name and document of each.
        boundary: name and document of the permissions boundary; ``None``: it has none.
    """

    entity: str
    unique_id: str
    tags: Mapping[str, str]
    identity: tuple[tuple[str, Document], ...]
    boundary: tuple[str, Document] | None = field(default=None)


class IamPrincipals:
    """IAM's read calls. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._iam = client("iam", region=region)

    def role_arn(self, name: str) -> str:
        """The ARN of a role, with its path; empty if it does not exist."""
        with calling(f"iam GetRole {name}"):
            try:
                return str(self._iam.get_role(RoleName=name)["Role"]["Arn"])
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return ""
                raise

    def policies(self, kind: str, name: str) -> GrantedPolicies | None:
        """The policies of a user or role; ``None`` if it does not exist.

        Args:
            kind: ``user`` or ``role``.
        """
        with calling(f"iam policies of {kind} {name}"):
            try:
                return self._policies(kind, name)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise

    def simulate(self, arn: str, action: str, resources: Sequence[str]) -> Mapping[str, str]:
        """IAM's decision for each resource, e.g. ``allowed``; a resource that it does not mention is missing. Empty if
        the user or role does not exist."""
        wanted: dict[str, Any] = {
            "PolicySourceArn": arn,
            "ActionNames": [action],
            "ResourceArns": list(resources),
        }
        found: dict[str, str] = {}
        with calling(f"iam SimulatePrincipalPolicy {arn}"):
            try:
                for page in self._iam.get_paginator("simulate_principal_policy").paginate(**wanted):
                    found |= dict(_decisions(page["EvaluationResults"]))
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return {}
                raise
        return found

    def _policies(self, kind: str, name: str) -> GrantedPolicies:
        iam = self._iam
        whole = iam.get_user(UserName=name)["User"] if kind == "user" else iam.get_role(RoleName=name)["Role"]
        found = [*self._of(kind, name)]
        if kind == "user":
            for group in self._all("list_groups_for_user", "Groups", UserName=name):
                found += self._of("group", group["GroupName"])
        boundary = whole.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        return GrantedPolicies(
            whole["Arn"],
            whole.get("UserId") or whole.get("RoleId") or "",
            {tag["Key"]: tag["Value"] for tag in whole.get("Tags", ())},
            tuple(found),
            (boundary, self._managed(boundary)) if boundary else None,
        )

    def _of(self, kind: str, name: str) -> Iterator[tuple[str, Document]]:
        """The policies of one user, group or role: those in it, and those attached to it."""
        whose = {f"{kind.capitalize()}Name": name}
        for policy in self._all(f"list_{kind}_policies", "PolicyNames", **whose):
            found = getattr(self._iam, f"get_{kind}_policy")(PolicyName=policy, **whose)
            yield f"{kind}/{name}/{policy}", found["PolicyDocument"]
        for policy in self._all(f"list_attached_{kind}_policies", "AttachedPolicies", **whose):
            yield policy["PolicyArn"], self._managed(policy["PolicyArn"])

    def _managed(self, arn: str) -> Document:
        version = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document: Document = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return document

    def _all(self, operation: str, member: str, **arguments: str) -> Iterator[Any]:
        for page in self._iam.get_paginator(operation).paginate(**arguments):
            yield from page[member]


def _decisions(results: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """IAM puts the decision for each of several resources either into a result of its own or into a list in one."""
    for result in results:
        specific = result.get("ResourceSpecificResults") or ()
        for one in specific:
            yield one["EvalResourceName"], one["EvalResourceDecision"]
        if not specific:
            yield result.get("EvalResourceName", "*"), result["EvalDecision"]
