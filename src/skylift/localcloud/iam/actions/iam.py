"""IAM's own actions and resources: users, roles, groups and policies, whose ARNs have paths."""

from __future__ import annotations

from collections.abc import Iterable

from skylift.localcloud.iam.actions.call import ApiCall, Need, OperationNeeds, Resources, Table, arns

_KINDS = {
    "RoleName": "role",
    "UserName": "user",
    "GroupName": "group",
    "InstanceProfileName": "instance-profile",
    "PolicyName": "policy",
}


def _entity(name: str) -> Resources:
    kind = _KINDS[name]

    def found(call: ApiCall) -> Iterable[str]:
        called = call.text(name)
        path = (call.text("Path") or "/").strip("/")
        made = f"{kind}/{path}/{called}" if path else f"{kind}/{called}"
        return [call.lookups.entity(kind, called) or call.arn(made)] if called else []

    return found


def _with_boundary(name: str) -> OperationNeeds:
    return OperationNeeds(
        _entity(name),
        lambda call: {"iam:PermissionsBoundary": bound} if (bound := call.text("PermissionsBoundary")) else {},
    )


def _attached(name: str) -> OperationNeeds:
    return OperationNeeds(_entity(name), lambda call: {"iam:PolicyARN": call.text("PolicyArn")})


def _given_role(call: ApiCall) -> Iterable[Need]:
    return [
        Need("iam:PassRole", one, {"iam:PassedToService": "ec2.amazonaws.com"}) for one in _entity("RoleName")(call)
    ]


_ROLE = (
    "DeleteRole",
    "GetRole",
    "UpdateRole",
    "UpdateRoleDescription",
    "UpdateAssumeRolePolicy",
    "PutRolePolicy",
    "GetRolePolicy",
    "DeleteRolePolicy",
    "ListRolePolicies",
    "ListAttachedRolePolicies",
    "ListInstanceProfilesForRole",
    "ListRoleTags",
    "TagRole",
    "UntagRole",
    "DeleteRolePermissionsBoundary",
)
_USER = (
    "DeleteUser",
    "GetUser",
    "UpdateUser",
    "PutUserPolicy",
    "GetUserPolicy",
    "DeleteUserPolicy",
    "ListUserPolicies",
    "ListAttachedUserPolicies",
    "ListGroupsForUser",
    "ListUserTags",
    "TagUser",
    "UntagUser",
    "DeleteUserPermissionsBoundary",
    "CreateAccessKey",
    "DeleteAccessKey",
    "UpdateAccessKey",
    "ListAccessKeys",
    "CreateLoginProfile",
    "DeleteLoginProfile",
    "GetLoginProfile",
    "UpdateLoginProfile",
    "ListMFADevices",
)
_GROUP = (
    "CreateGroup",
    "DeleteGroup",
    "GetGroup",
    "AddUserToGroup",
    "RemoveUserFromGroup",
    "PutGroupPolicy",
    "GetGroupPolicy",
    "DeleteGroupPolicy",
    "ListGroupPolicies",
    "ListAttachedGroupPolicies",
)
_POLICY = (
    "CreatePolicyVersion",
    "DeletePolicy",
    "DeletePolicyVersion",
    "GetPolicy",
    "GetPolicyVersion",
    "ListEntitiesForPolicy",
    "ListPolicyVersions",
    "SetDefaultPolicyVersion",
    "TagPolicy",
    "UntagPolicy",
)
_PROFILE = (
    "CreateInstanceProfile",
    "DeleteInstanceProfile",
    "GetInstanceProfile",
    "RemoveRoleFromInstanceProfile",
)

IAM: Table = {
    "CreateRole": _with_boundary("RoleName"),
    "PutRolePermissionsBoundary": _with_boundary("RoleName"),
    "AttachRolePolicy": _attached("RoleName"),
    "DetachRolePolicy": _attached("RoleName"),
    **dict.fromkeys(_ROLE, OperationNeeds(_entity("RoleName"))),
    "CreateUser": _with_boundary("UserName"),
    "PutUserPermissionsBoundary": _with_boundary("UserName"),
    "AttachUserPolicy": _attached("UserName"),
    "DetachUserPolicy": _attached("UserName"),
    **dict.fromkeys(_USER, OperationNeeds(_entity("UserName"))),
    "AttachGroupPolicy": _attached("GroupName"),
    "DetachGroupPolicy": _attached("GroupName"),
    **dict.fromkeys(_GROUP, OperationNeeds(_entity("GroupName"))),
    "CreatePolicy": OperationNeeds(_entity("PolicyName")),
    **dict.fromkeys(_POLICY, OperationNeeds(arns("PolicyArn"))),
    **dict.fromkeys(_PROFILE, OperationNeeds(_entity("InstanceProfileName"))),
    "AddRoleToInstanceProfile": OperationNeeds(_entity("InstanceProfileName"), further=_given_role),
    "SimulatePrincipalPolicy": OperationNeeds(arns("PolicySourceArn")),
    **dict.fromkeys(
        ("ListRoles", "ListUsers", "ListGroups", "ListPolicies", "ListInstanceProfiles", "GetAccountSummary"),
        OperationNeeds(lambda _call: ["*"]),
    ),
}
"""By operation; of others only the action is judged."""
