"""Reads IAM, STS and resource policies from ministack, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from skylift.localcloud.emulators.ministack import Ministack
from skylift.localcloud.iam.state import Documents, IamState, Identity, SessionLimits

_POLICY_OF = {
    "s3": ("s3", "bucket_policy_for_arn"),
    "sqs": ("sqs", "queue_policy_for_arn"),
    "secretsmanager": ("secretsmanager", "secret_policy_for_arn"),
}
_STORES = {"role": "_roles", "user": "_users", "group": "_groups", "instance-profile": "_instance_profiles"}
_PARTS = 6


class EmulatedIamState(IamState):
    """The state of one ministack."""

    def __init__(self, ministack: Ministack) -> None:
        self._ministack = ministack

    def identity(self, kind: str, name: str) -> Identity | None:
        """From IAM, with the policies of a user's groups."""
        iam = self._ministack.service("iam")
        with self._ministack.scope():
            found = getattr(iam, _STORES[kind]).get(name)
            if found is None:
                return None
            arn = str(found["Arn"])
            return Identity(
                arn,
                str(found.get("RoleId") or found.get("UserId") or ""),
                tuple(_policies(iam, kind, name, found)),
                _boundary(iam, found),
                _text(found.get("AssumeRolePolicyDocument")),
                _tags(found.get("Tags")),
            )

    def session(self, access_key: str) -> SessionLimits | None:
        """From STS; the keys of ECS tasks are not there."""
        found = self._ministack.service("sts")._sessions.get(access_key)
        if found is None:
            return None
        said = found.get("SessionPolicies")
        if said is None:
            return SessionLimits(None, _tags(found.get("SessionTags")))
        iam = self._ministack.service("iam")
        with self._ministack.scope():
            listed = [("session policy", _text(said["Policy"]))] if said.get("Policy") else []
            listed += [(arn, _managed(iam, arn)) for arn in said.get("PolicyArns", ())]
        return SessionLimits(tuple(listed), _tags(found.get("SessionTags")))

    def resource_policy(self, arn: str) -> str:
        """From the service that the ARN names."""
        parts = arn.split(":", _PARTS - 1)
        module, function = _POLICY_OF.get(parts[2], ("", "")) if len(parts) == _PARTS else ("", "")
        if not module:
            return ""
        with self._ministack.scope(parts[3]):
            found = getattr(self._ministack.service(module), function)(arn)
        return _text(found[0]) if found else ""

    def has_object(self, bucket: str, key: str) -> bool:
        """The newest version; a delete marker is none."""
        with self._ministack.scope():
            found = self._ministack.service("s3")._buckets.get(bucket)
        return found is not None and key in found["objects"]

    def secret(self, reference: str, region: str) -> str:
        """By name, whole ARN, or ARN without its random end."""
        if not reference:
            return ""
        with self._ministack.scope(region):
            _, found = self._ministack.service("secretsmanager")._resolve(reference)
        return str(found["ARN"]) if found else ""

    def entity(self, kind: str, name: str) -> str:
        """From IAM; policies are named by ARN anyway."""
        store = _STORES.get(kind)
        if store is None:
            return ""
        with self._ministack.scope():
            found = getattr(self._ministack.service("iam"), store).get(name)
        return str(found["Arn"]) if found else ""


def _policies(iam: Any, kind: str, name: str, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Inline policies first, then attached ones, then those of a user's groups."""
    inline = found.get("InlinePolicies") if kind == "role" else iam._user_inline_policies.get(name)
    yield from _own(iam, f"{kind}/{name}", inline, found)
    if kind == "user":
        for group, record in iam._groups.items():
            if name in record.get("Users", ()):
                yield from _own(iam, f"group/{group}", iam._group_inline_policies.get(group), record)


def _own(iam: Any, owner: str, inline: Mapping[str, Any] | None, record: Mapping[str, Any]) -> Documents:
    found = [(f"{owner}/{title}", _text(document)) for title, document in (inline or {}).items()]
    return [*found, *((arn, _managed(iam, arn)) for arn in record.get("AttachedPolicies", ()))]


def _boundary(iam: Any, found: Mapping[str, Any]) -> tuple[str, str] | None:
    arn = found.get("PermissionsBoundary")
    return (str(arn), _managed(iam, str(arn))) if arn else None


def _managed(iam: Any, arn: str) -> str:
    """The default version of a managed policy; empty if there is none, which allows nothing."""
    found = iam._lookup_policy(arn)
    return _text(found["Versions"][found["DefaultVersionId"]]["Document"]) if found else ""


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document) if document else ""


def _tags(found: Any) -> dict[str, str]:
    return {str(one["Key"]): str(one["Value"]) for one in found or ()}
