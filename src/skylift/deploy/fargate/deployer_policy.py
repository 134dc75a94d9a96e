"""The IAM policy of whoever runs ``skylift fargate``: every call of up, ps, logs, open, list and down. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skylift.aws.iam_policies import PolicyScope
from skylift.deploy.fargate.roles import PATH
from skylift.deploy.fargate.wanted import Named

SEEN = (
    "AvailabilityZones",
    "InternetGateways",
    "NetworkInterfaces",
    "RouteTables",
    "SecurityGroups",
    "Subnets",
    "VpcEndpoints",
    "Vpcs",
)
MADE = ("CreateInternetGateway", "CreateRouteTable", "CreateSecurityGroup", "CreateSubnet", "CreateTags", "CreateVpc")
CONNECTED = ("AssociateRouteTable", "AttachInternetGateway", "CreateRoute")
LET_IN = ("AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress")
UNMADE = (
    "DeleteInternetGateway",
    "DeleteRouteTable",
    "DeleteSecurityGroup",
    "DeleteSubnet",
    "DeleteVpc",
    "DetachInternetGateway",
    "DisassociateRouteTable",
)
OF_CLUSTER = ("CreateCluster", "DeleteCluster", "DescribeClusters")
OF_SERVICE = ("CreateService", "DeleteService", "DescribeServices", "UpdateService")
OF_DEFINITION = ("DeleteTaskDefinitions", "RegisterTaskDefinition")
OF_DEFINITIONS = (
    "DeregisterTaskDefinition",
    "DescribeTaskDefinition",
    "ListTaskDefinitionFamilies",
    "ListTaskDefinitions",
)
OF_ROLES = (
    "CreateRole",
    "DeleteRole",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "GetRole",
    "GetRolePolicy",
    "ListAttachedRolePolicies",
    "ListRolePolicies",
    "ListRoleTags",
    "PutRolePolicy",
    "TagRole",
)
OF_LOG = (
    "CreateLogGroup",
    "DeleteLogGroup",
    "FilterLogEvents",
    "GetLogEvents",
    "ListTagsLogGroup",
    "PutRetentionPolicy",
    "TagResource",
)
OF_PASSWORD = ("CreateSecret", "DeleteSecret", "DescribeSecret", "GetSecretValue", "RestoreSecret", "TagResource")
OF_BUCKET = (
    "CreateBucket",
    "DeleteBucket",
    "GetBucketTagging",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "PutBucketPublicAccessBlock",
    "PutBucketTagging",
)
OF_OBJECTS = ("AbortMultipartUpload", "DeleteObject", "DeleteObjectVersion", "PutObject")
SERVICE_ROLE = "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"


def deployer_policy(scope: PolicyScope, name: str) -> dict[str, Any]:
    """The policy for one NAME. EC2's ids are not known before, so its statements have no resources."""
    named = Named(name, scope.account, scope.region)
    cluster = scope.arn("ecs", f"cluster/{named.whole}")
    service = scope.arn("ecs", f"service/{named.whole}/{named.whole}")
    tasks = scope.arn("ecs", f"task/{named.whole}/*")
    definitions = scope.arn("ecs", f"task-definition/{named.whole}:*")
    group = scope.arn("logs", f"log-group:{named.log_group}")
    secret = scope.arn("secretsmanager", f"secret:{named.secret}")
    roles = [scope.arn("iam", f"role{PATH}{one}") for one in named.roles]
    # IAM knows no path of a role that is not there, and says nothing of it without a right to its bare name.
    bare = [scope.arn("iam", f"role/{one}") for one in named.roles]
    bucket = scope.arn("s3", named.bucket)
    to_ecs = {"Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("SeeTheNetwork", "ec2", [f"Describe{one}" for one in SEEN]),
            _allow("MakeTheNetwork", "ec2", MADE),
            _allow("ConnectTheNetwork", "ec2", CONNECTED),
            _allow("LetMyAddressIn", "ec2", LET_IN),
            _allow("RemoveTheNetwork", "ec2", UNMADE),
            _allow("Cluster", "ecs", OF_CLUSTER, cluster),
            _allow("FindClustersAndTasks", "ecs", ("ListClusters", "ListTasks")),
            _allow("TagWhatIsOfEcs", "ecs", ("TagResource",), cluster, service, tasks, definitions),
            _allow("Service", "ecs", OF_SERVICE, service),
            _allow("SeeTasks", "ecs", ("DescribeTasks",)),
            _allow("StopTasks", "ecs", ("StopTask",), tasks),
            _allow("Definition", "ecs", OF_DEFINITION, definitions),
            _allow("Definitions", "ecs", OF_DEFINITIONS),
            _allow("Roles", "iam", OF_ROLES, *roles, *bare),
            _allow("FindRoles", "iam", ("ListRoles",)),
            _allow("HandOverTheRoles", "iam", ("PassRole",), *roles) | to_ecs,
            _allow("FirstServiceOfTheAccount", "iam", ("CreateServiceLinkedRole",), scope.arn("iam", SERVICE_ROLE)),
            _allow("Log", "logs", OF_LOG, group, f"{group}:*"),
            _allow("FindLogs", "logs", ("DescribeLogGroups",)),
            _allow("Password", "secretsmanager", OF_PASSWORD, secret, f"{secret}-*"),
            _allow("FindPasswords", "secretsmanager", ("ListSecrets",)),
            _allow("Bucket", "s3", OF_BUCKET, bucket),
            _allow("Objects", "s3", OF_OBJECTS, f"{bucket}/*"),
            _allow("FindBuckets", "s3", ("ListAllMyBuckets",)),
        ],
    }


def _allow(sid: str, service: str, actions: Sequence[str], *resources: str) -> dict[str, Any]:
    named = [f"{service}:{one}" for one in actions]
    return {"Sid": sid, "Effect": "Allow", "Action": named, "Resource": list(resources) or ["*"]}
