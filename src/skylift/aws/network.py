"""The control plane's look-ups in EC2 and IAM: the VPC of a subnet, and whether a role exists."""

from __future__ import annotations

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of


def vpc_of(subnet: str, region: str) -> str:
    """The VPC of a subnet, or "" when EC2 does not know the subnet."""
    with calling(f"ec2 DescribeSubnets {subnet}"):
        try:
            found = client("ec2", region=region).describe_subnets(SubnetIds=[subnet])["Subnets"]
        except ClientError as error:
            if code_of(error) == "InvalidSubnetID.NotFound":
                return ""
            raise
    return str(found[0]["VpcId"]) if found else ""


def role_exists(role_arn: str, region: str) -> bool:
    """Whether IAM knows the role. True also when we may not ask: then ECS will tell."""
    name = role_arn.rpartition("/")[2]
    with calling(f"iam GetRole {name}"):
        try:
            client("iam", region=region).get_role(RoleName=name)
        except ClientError as error:
            if code_of(error) == "NoSuchEntity":
                return False
            if code_of(error) not in {"AccessDenied", "AccessDeniedException"}:
                raise
    return True
