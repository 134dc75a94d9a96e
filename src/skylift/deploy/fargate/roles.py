"""The two roles: what ECS may do to start the container, and what the container may do. Least privilege."""

from __future__ import annotations

import json
from typing import Any

from skylift.aws.account_calls import AccountCalls
from skylift.aws.iam_policies import trust_policy
from skylift.core.errors import Refused
from skylift.core.names import arn
from skylift.deploy.fargate.wanted import Named, foreign, tagged, upper_tags

PATH = "/skylift/fargate/"
ABSENT = frozenset({"NoSuchEntity"})
POLICY = "skylift"


def execution_policy(named: Named, secret: str, repository: str) -> dict[str, Any]:
    """For ECS: write the log, read the password, and pull from the ECR repository if there is one."""
    group = arn("logs", named.region, named.account, f"log-group:{named.log_group}:*")
    statements = [
        _allow("WriteTheLog", ["logs:CreateLogStream", "logs:PutLogEvents"], [group]),
        _allow("ReadThePassword", ["secretsmanager:GetSecretValue"], [secret]),
    ]
    if repository:
        pull = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
        statements.append(_allow("SignInToEcr", ["ecr:GetAuthorizationToken"], ["*"]))
        statements.append(_allow("PullTheImage", pull, [repository]))
    return {"Version": "2012-10-17", "Statement": statements}


def task_policy(named: Named) -> dict[str, Any]:
    """For the container: read the DAGs, and keep a copy of Airflow's database."""
    bucket = arn("s3", named.region, named.account, named.bucket)
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("FindDags", ["s3:ListBucket"], [bucket]),
            _allow("ReadDags", ["s3:GetObject"], [f"{bucket}/dags/*"]),
            _allow("KeepTheDatabase", ["s3:GetObject", "s3:PutObject"], [f"{bucket}/state/*"]),
        ],
    }


def repository_of(image: str, region: str) -> str:
    """ARN of the ECR repository of an image; "" if the image is not in ECR."""
    host, slash, path = image.partition("/")
    words = host.split(".")
    if not slash or len(words) < 6 or words[1:3] != ["dkr", "ecr"]:
        return ""
    name = path.partition("@")[0].rpartition(":")[0] or path.partition("@")[0]
    return arn("ecr", words[3] or region, words[0], f"repository/{name}")


def ensure(calls: AccountCalls, named: Named, role: str, policy: dict[str, Any]) -> str:
    """A role with exactly this policy. Returns its ARN."""
    found = calls.call("iam", "get_role", absent=ABSENT, RoleName=role)
    if not found:
        found = calls.call(
            "iam",
            "create_role",
            Path=PATH,
            RoleName=role,
            AssumeRolePolicyDocument=json.dumps(trust_policy()),
            Description=f"Airflow on Fargate: {named.name} (skylift fargate)",
            Tags=upper_tags(named.name),
        )
    elif not ours(calls, named, found["Role"]):
        raise Refused(foreign(f"role {role}", named.name))
    there = calls.call("iam", "get_role_policy", absent=ABSENT, RoleName=role, PolicyName=POLICY)
    if there.get("PolicyDocument") != policy:
        document = json.dumps(policy)
        calls.call("iam", "put_role_policy", RoleName=role, PolicyName=POLICY, PolicyDocument=document)
    return str(found["Role"]["Arn"])


def existing(calls: AccountCalls, role: str) -> str:
    """ARN of somebody's role, by name or ARN; "" for none. Raises ``Refused`` if there is no such role."""
    if not role or role.startswith("arn:"):
        return role
    found = calls.call("iam", "get_role", absent=ABSENT, RoleName=role)
    if not found:
        raise Refused(f"There is no role {role}. Make it, or leave it out: then one with the least rights is made.")
    return str(found["Role"]["Arn"])


def remove(calls: AccountCalls, named: Named, role: str) -> bool:
    """Deletes a role of ours with its policies. Whether there was one; a role without our tag stays."""
    found = calls.call("iam", "get_role", absent=ABSENT, RoleName=role)
    if not found or not ours(calls, named, found["Role"]):
        return False
    for policy in calls.call("iam", "list_role_policies", absent=ABSENT, RoleName=role).get("PolicyNames", ()):
        calls.call("iam", "delete_role_policy", absent=ABSENT, RoleName=role, PolicyName=policy)
    attached = calls.call("iam", "list_attached_role_policies", absent=ABSENT, RoleName=role)
    for policy in attached.get("AttachedPolicies", ()):
        calls.call("iam", "detach_role_policy", absent=ABSENT, RoleName=role, PolicyArn=policy["PolicyArn"])
    calls.call("iam", "delete_role", absent=ABSENT, RoleName=role)
    return True


def ours(calls: AccountCalls, named: Named, role: dict[str, Any]) -> bool:
    """Whether a role has our tag."""
    found = role.get("Tags")
    if found is None:
        answer = calls.call("iam", "list_role_tags", absent=ABSENT, RoleName=role["RoleName"])
        found = answer.get("Tags", [])
    return tagged(found) == named.name


def _allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
