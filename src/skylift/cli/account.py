"""The AWS resources that an environment needs, created as a CloudFormation stack would: a bucket, an execution role, a
network.

Every function first looks for existing resources, so it can be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skylift.aws.errors import calling, code_of
from skylift.cli.execution_role import TRUST, TRUST_ECS, EnvironmentScope, policy, role_name, task_execution_policy
from skylift.core.errors import Refused
from skylift.core.names import TASK_EXECUTION_ROLE

NETWORK = "skylift"
"""Value of the tag Name of the one network that all local environments share."""

ABSENT = frozenset({"404", "NoSuchBucket", "NotFound", "NoSuchEntity", "ResourceNotFoundException"})
"""Error codes of S3, IAM, MWAA and Secrets Manager for something that does not exist."""


@dataclass(frozen=True)
class Network:
    """Two private subnets in different zones and a security group, as MWAA requires."""

    subnets: tuple[str, str]
    security_group: str


def ensure_bucket(s3: Any, bucket: str) -> None:
    """Creates the bucket, with versioning on and public access blocked."""
    if not exists(lambda: s3.head_bucket(Bucket=bucket), f"s3 HeadBucket {bucket}"):
        with calling(f"s3 CreateBucket {bucket}"):
            s3.create_bucket(Bucket=bucket)
    with calling(f"s3 PutBucketVersioning {bucket}"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )


def ensure_role(iam: Any, scope: EnvironmentScope) -> str:
    """The environment's execution role, with the rights that its containers need; returns its ARN. Also creates the one
    task execution role of all environments, with which ECS starts the containers that get secrets."""
    _ensure_role(iam, TASK_EXECUTION_ROLE, TRUST_ECS, "start", task_execution_policy(scope.account, scope.region))
    return _ensure_role(iam, role_name(scope.environment), TRUST, "environment", policy(scope))


def _ensure_role(iam: Any, name: str, trust: dict[str, Any], title: str, rights: dict[str, Any]) -> str:
    if not exists(lambda: iam.get_role(RoleName=name), f"iam GetRole {name}"):
        with calling(f"iam CreateRole {name}"):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    with calling(f"iam PutRolePolicy {name}"):
        found = iam.get_role(RoleName=name)
        iam.put_role_policy(RoleName=name, PolicyName=title, PolicyDocument=json.dumps(rights))
    return str(found["Role"]["Arn"])


def ensure_network(ec2: Any, region: str) -> Network:
    """The shared network: one VPC, two private subnets, one security group."""
    with calling("ec2 CreateVpc"):
        vpc = _vpc(ec2)
        subnets = (_subnet(ec2, vpc, f"{region}a", "10.192.20.0/24"), _subnet(ec2, vpc, f"{region}b", "10.192.21.0/24"))
        return Network(subnets, _security_group(ec2, vpc))


def exists(look: Callable[[], Any], doing: str) -> bool:
    """Whether a describing call finds its object. Any other failure is raised."""
    try:
        with calling(doing):
            look()
    except Refused as error:
        if error.__cause__ is not None and code_of(error.__cause__) in ABSENT:
            return False
        raise
    return True


def _vpc(ec2: Any) -> str:
    found = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [NETWORK]}])["Vpcs"]
    if found:
        return str(found[0]["VpcId"])
    vpc = str(ec2.create_vpc(CidrBlock="10.192.0.0/16")["Vpc"]["VpcId"])
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": NETWORK}])
    return vpc


def _subnet(ec2: Any, vpc: str, zone: str, block: str) -> str:
    found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    for subnet in found:
        if subnet["CidrBlock"] == block:
            return str(subnet["SubnetId"])
    return str(ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=zone)["Subnet"]["SubnetId"])


def _security_group(ec2: Any, vpc: str) -> str:
    found = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
    for group in found:
        if group["GroupName"] == NETWORK:
            return str(group["GroupId"])
    made = ec2.create_security_group(GroupName=NETWORK, Description="skylift environments", VpcId=vpc)
    return str(made["GroupId"])
