"""The actions and resources of the other services whose resources are true here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skylift.core.iam.patterns import ContextValues
from skylift.localcloud.iam.actions.call import (
    ApiCall,
    Need,
    OperationNeeds,
    Resources,
    Table,
    arns,
    member,
    members,
    nothing_in_particular,
    pass_role,
    tag_keys,
)

# Airflow (MWAA).


def _environment_role(call: ApiCall) -> Iterable[Need]:
    role = call.text("ExecutionRoleArn")
    return [pass_role(role, "airflow.amazonaws.com")] if role else []


def _any_role(call: ApiCall) -> Iterable[str]:
    """Which role it becomes is decided by the control plane, which asks for each."""
    return [""] if call.text("Name") else []


_ENVIRONMENT = OperationNeeds(member("environment", "Name", "EnvironmentName"))

AIRFLOW: Table = {
    "CreateEnvironment": OperationNeeds(member("environment", "Name"), further=_environment_role),
    "UpdateEnvironment": OperationNeeds(member("environment", "Name"), further=_environment_role),
    "DeleteEnvironment": _ENVIRONMENT,
    "GetEnvironment": _ENVIRONMENT,
    "PublishMetrics": _ENVIRONMENT,
    "CreateCliToken": _ENVIRONMENT,
    "CreateWebLoginToken": OperationNeeds(_any_role),
    "InvokeRestApi": OperationNeeds(_any_role),
    "TagResource": OperationNeeds(arns("ResourceArn")),
    "UntagResource": OperationNeeds(arns("ResourceArn")),
    "ListTagsForResource": OperationNeeds(arns("ResourceArn")),
}

# CloudWatch Logs.


def _group(call: ApiCall) -> Iterable[str]:
    if name := call.text("logGroupName"):
        return [call.arn(f"log-group:{name}")]
    return [one.removesuffix(":*") for one in call.texts("logGroupIdentifier") if one.startswith("arn:")]


def _group_contents(call: ApiCall) -> Iterable[str]:
    return [f"{one}:*" for one in _group(call)]


def _stream(call: ApiCall) -> Iterable[str]:
    return [f"{one}:log-stream:{call.text('logStreamName')}" for one in _group(call)]


def _queried(call: ApiCall) -> Iterable[str]:
    names = [*call.texts("logGroupNames"), *call.texts("logGroupName"), *call.texts("logGroupIdentifiers")]
    return [f"{call.named('log-group', one, ':').removesuffix(':*')}:*" for one in names]


_LOG_GROUP, _LOG_STREAM = OperationNeeds(_group_contents), OperationNeeds(_stream)

LOGS: Table = {
    **dict.fromkeys(
        (
            "CreateLogGroup",
            "DeleteLogGroup",
            "DescribeLogStreams",
            "DescribeMetricFilters",
            "DescribeSubscriptionFilters",
            "FilterLogEvents",
            "GetLogGroupFields",
            "PutRetentionPolicy",
            "DeleteRetentionPolicy",
            "PutMetricFilter",
            "DeleteMetricFilter",
            "PutSubscriptionFilter",
            "DeleteSubscriptionFilter",
            "ListTagsLogGroup",
            "TagLogGroup",
            "UntagLogGroup",
            "CreateExportTask",
        ),
        _LOG_GROUP,
    ),
    **dict.fromkeys(("CreateLogStream", "DeleteLogStream", "PutLogEvents", "GetLogEvents"), _LOG_STREAM),
    "StartQuery": OperationNeeds(_queried),
    "TagResource": OperationNeeds(arns("resourceArn")),
    "UntagResource": OperationNeeds(arns("resourceArn")),
    "ListTagsForResource": OperationNeeds(arns("resourceArn")),
    "DescribeLogGroups": OperationNeeds(nothing_in_particular),
}

# SQS.


def _queue(call: ApiCall) -> Iterable[str]:
    name = call.text("QueueName") or call.text("QueueUrl").rstrip("/").rpartition("/")[2]
    return [call.arn(name)] if name else []


_ONE_FOR_MANY = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}

SQS: Table = {
    **dict.fromkeys(
        (
            "AddPermission",
            "ChangeMessageVisibility",
            "CreateQueue",
            "DeleteMessage",
            "DeleteQueue",
            "GetQueueAttributes",
            "GetQueueUrl",
            "ListDeadLetterSourceQueues",
            "ListQueueTags",
            "PurgeQueue",
            "ReceiveMessage",
            "RemovePermission",
            "SendMessage",
            "SetQueueAttributes",
            "TagQueue",
            "UntagQueue",
        ),
        OperationNeeds(_queue),
    ),
    **{operation: OperationNeeds(_queue, action=action) for operation, action in _ONE_FOR_MANY.items()},
    "ListMessageMoveTasks": OperationNeeds(arns("SourceArn")),
    "StartMessageMoveTask": OperationNeeds(arns("SourceArn")),
}

# Secrets Manager.


def _secret(call: ApiCall) -> Iterable[str]:
    reference = call.text("SecretId")
    found = call.lookups.secret(reference, call.region)
    return [found or (reference if reference.startswith("arn:") else call.arn(f"secret:{reference}-??????"))]


def _new_secret(call: ApiCall) -> Iterable[str]:
    return [call.arn(f"secret:{call.text('Name')}-??????")]


def _secret_keys(call: ApiCall) -> Mapping[str, ContextValues]:
    words = {"SecretId": "SecretId", "Name": "Name", "VersionId": "VersionId", "VersionStage": "VersionStage"}
    return {f"secretsmanager:{key}": call.text(name) for name, key in words.items() if call.text(name)}


def _batch_of_secrets(call: ApiCall) -> Iterable[Need]:
    listed = call.texts("SecretIdList")
    found = [call.lookups.secret(one, call.region) or call.named("secret", one, ":") for one in listed]
    return [Need("secretsmanager:GetSecretValue", one) for one in found]


_ON_SECRET = OperationNeeds(_secret, _secret_keys)

SECRETS: Table = {
    **dict.fromkeys(
        (
            "CancelRotateSecret",
            "DeleteResourcePolicy",
            "DeleteSecret",
            "DescribeSecret",
            "GetResourcePolicy",
            "GetSecretValue",
            "ListSecretVersionIds",
            "PutResourcePolicy",
            "PutSecretValue",
            "RestoreSecret",
            "RotateSecret",
            "TagResource",
            "UntagResource",
            "UpdateSecret",
            "UpdateSecretVersionStage",
        ),
        _ON_SECRET,
    ),
    "CreateSecret": OperationNeeds(_new_secret, _secret_keys),
    "BatchGetSecretValue": OperationNeeds(nothing_in_particular, further=_batch_of_secrets),
}

# EventBridge and its scheduler.


def _rule(*names: str) -> Resources:
    def found(call: ApiCall) -> Iterable[str]:
        bus = call.text("EventBusName").rpartition("/")[2]
        place = "" if bus in {"", "default"} else f"{bus}/"
        return [call.arn(f"rule/{place}{call.text(*names)}")]

    return found


def _target_roles(call: ApiCall) -> Iterable[Need]:
    roles = [one.get("RoleArn") for one in call.members.get("Targets") or () if isinstance(one, Mapping)]
    return [pass_role(str(role), "events.amazonaws.com") for role in roles if role]


def _buses(call: ApiCall) -> Iterable[str]:
    entries = [one for one in call.members.get("Entries") or () if isinstance(one, Mapping)]
    return [call.named("event-bus", str(one.get("EventBusName") or "default")) for one in entries]


_BUS = OperationNeeds(member("event-bus", "Name"))

EVENTS: Table = {
    **dict.fromkeys(
        ("PutRule", "DeleteRule", "DescribeRule", "EnableRule", "DisableRule"), OperationNeeds(_rule("Name"))
    ),
    **dict.fromkeys(("ListTargetsByRule", "RemoveTargets"), OperationNeeds(_rule("Rule"))),
    "PutTargets": OperationNeeds(_rule("Rule"), further=_target_roles),
    "PutEvents": OperationNeeds(_buses),
    **dict.fromkeys(("CreateEventBus", "DeleteEventBus"), _BUS),
    "DescribeEventBus": OperationNeeds(lambda call: [call.named("event-bus", call.text("Name") or "default")]),
    **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), OperationNeeds(arns("ResourceARN"))),
    **dict.fromkeys(
        ("ListRules", "ListEventBuses", "ListRuleNamesByTarget", "ListArchives", "PutPermission", "RemovePermission"),
        OperationNeeds(nothing_in_particular),
    ),
}


def _schedule(call: ApiCall) -> Iterable[str]:
    group = call.text("GroupName", "groupName") or "default"
    return [call.arn(f"schedule/{group}/{call.text('Name')}")]


def _schedule_role(call: ApiCall) -> Iterable[Need]:
    target = call.members.get("Target") or {}
    role = target.get("RoleArn") if isinstance(target, Mapping) else None
    return [pass_role(str(role), "scheduler.amazonaws.com")] if role else []


SCHEDULER: Table = {
    "CreateSchedule": OperationNeeds(_schedule, further=_schedule_role),
    "UpdateSchedule": OperationNeeds(_schedule, further=_schedule_role),
    "GetSchedule": OperationNeeds(_schedule),
    "DeleteSchedule": OperationNeeds(_schedule),
    **dict.fromkeys(
        ("CreateScheduleGroup", "GetScheduleGroup", "DeleteScheduleGroup"),
        OperationNeeds(member("schedule-group", "Name")),
    ),
    **dict.fromkeys(("TagResource", "UntagResource", "ListTagsForResource"), OperationNeeds(arns("ResourceArn"))),
}

# STS.


def _assumed(call: ApiCall) -> Mapping[str, ContextValues]:
    words = {"ExternalId": "sts:ExternalId", "RoleSessionName": "sts:RoleSessionName"}
    return {key: call.text(name) for name, key in words.items() if call.text(name)}


def _assuming(call: ApiCall) -> Iterable[Need]:
    """Session tags need a right of their own."""
    tagged = any(key.startswith("Tags.member.") for key in call.members)
    return [Need("sts:TagSession", call.text("RoleArn"), tag_keys(call.members))] if tagged else []


_ROLE_ARN = OperationNeeds(arns("RoleArn"), _assumed, _assuming)

STS: Table = {
    "AssumeRole": _ROLE_ARN,
    "AssumeRoleWithSAML": _ROLE_ARN,
    "AssumeRoleWithWebIdentity": _ROLE_ARN,
    "GetFederationToken": OperationNeeds(lambda call: [call.arn(f"federated-user/{call.text('Name')}")]),
}

# Elastic Load Balancing.


def _new_balancer(call: ApiCall) -> Iterable[str]:
    kind = {"network": "net", "gateway": "gwy"}.get(call.text("Type"), "app")
    return [call.arn(f"loadbalancer/{kind}/{call.text('Name')}/*")]


CERTIFICATES: Table = dict.fromkeys(
    (
        "AddTagsToCertificate",
        "DeleteCertificate",
        "DescribeCertificate",
        "GetCertificate",
        "ImportCertificate",
        "ListTagsForCertificate",
        "RemoveTagsFromCertificate",
        "UpdateCertificateOptions",
    ),
    OperationNeeds(lambda call: [call.text("CertificateArn") or call.arn("certificate/*")]),
)
BALANCING: Table = {
    "CreateLoadBalancer": OperationNeeds(_new_balancer),
    "CreateTargetGroup": OperationNeeds(lambda call: [call.arn(f"targetgroup/{call.text('Name')}/*")]),
    **dict.fromkeys(
        ("CreateListener", "DeleteLoadBalancer", "ModifyLoadBalancerAttributes", "SetSecurityGroups", "SetSubnets"),
        OperationNeeds(arns("LoadBalancerArn")),
    ),
    **dict.fromkeys(
        (
            "DeleteTargetGroup",
            "DeregisterTargets",
            "ModifyTargetGroup",
            "ModifyTargetGroupAttributes",
            "RegisterTargets",
        ),
        OperationNeeds(arns("TargetGroupArn")),
    ),
    **dict.fromkeys(
        (
            "AddListenerCertificates",
            "CreateRule",
            "DeleteListener",
            "ModifyListener",
            "ModifyListenerAttributes",
            "RemoveListenerCertificates",
        ),
        OperationNeeds(arns("ListenerArn")),
    ),
    **dict.fromkeys(("DeleteRule", "ModifyRule"), OperationNeeds(arns("RuleArn"))),
    **dict.fromkeys(("AddTags", "RemoveTags"), OperationNeeds(arns("ResourceArns"))),
}

# RDS, EC2: resources that a request names plainly; of other operations only the action is judged.

RDS: Table = {
    **dict.fromkeys(
        (
            "CreateDBInstance",
            "DeleteDBInstance",
            "ModifyDBInstance",
            "RebootDBInstance",
            "StartDBInstance",
            "StopDBInstance",
        ),
        OperationNeeds(member("db", "DBInstanceIdentifier", separator=":")),
    ),
    "DescribeDBInstances": OperationNeeds(
        lambda call: [call.named("db", call.text("DBInstanceIdentifier") or "*", ":")]
    ),
    **dict.fromkeys(
        ("CreateDBCluster", "DeleteDBCluster", "ModifyDBCluster", "StartDBCluster", "StopDBCluster"),
        OperationNeeds(member("cluster", "DBClusterIdentifier", separator=":")),
    ),
    "DescribeDBClusters": OperationNeeds(
        lambda call: [call.named("cluster", call.text("DBClusterIdentifier") or "*", ":")]
    ),
    **dict.fromkeys(
        ("CreateDBSubnetGroup", "DeleteDBSubnetGroup", "ModifyDBSubnetGroup"),
        OperationNeeds(member("subgrp", "DBSubnetGroupName", separator=":")),
    ),
    "DescribeDBSubnetGroups": OperationNeeds(
        lambda call: [call.named("subgrp", call.text("DBSubnetGroupName") or "*", ":")]
    ),
    **dict.fromkeys(
        ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"), OperationNeeds(arns("ResourceName"))
    ),
}

EC2: Table = {
    "DeleteVpc": OperationNeeds(member("vpc", "VpcId")),
    "ModifyVpcAttribute": OperationNeeds(member("vpc", "VpcId")),
    "CreateVpc": OperationNeeds(lambda call: [call.arn("vpc/*")]),
    "CreateSubnet": OperationNeeds(lambda call: [call.arn("subnet/*"), call.named("vpc", call.text("VpcId"))]),
    "DeleteSubnet": OperationNeeds(member("subnet", "SubnetId")),
    "CreateSecurityGroup": OperationNeeds(lambda call: [call.arn("security-group/*"), *member("vpc", "VpcId")(call)]),
    **dict.fromkeys(
        (
            "DeleteSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "AuthorizeSecurityGroupEgress",
            "RevokeSecurityGroupIngress",
            "RevokeSecurityGroupEgress",
        ),
        OperationNeeds(member("security-group", "GroupId")),
    ),
    **dict.fromkeys(
        ("TerminateInstances", "StartInstances", "StopInstances", "RebootInstances"),
        OperationNeeds(members("instance", "InstanceId")),
    ),
}
