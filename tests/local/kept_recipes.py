"""For each emulated service that keeps anything: how to make one thing there, and how to see which there are."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

ROLE = "arn:aws:iam::000000000000:role/r"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@dataclass(frozen=True)
class Recipe:
    """Attributes:
    service: boto3's name.
    make: given a client and a name.
    names: of what is there, given a client.
    """

    service: str
    make: Callable[[Any, str], object]
    names: Callable[[Any], Iterable[str]]


def _code() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("f.py", "def f(event, context): return 1")
    return file.getvalue()


def _states(client: Any, name: str) -> None:
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    client.create_state_machine(name=name, definition=definition, roleArn=ROLE)


def _table(client: Any, name: str) -> None:
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def _pipe(client: Any, name: str) -> None:
    queue = "arn:aws:sqs:us-east-1:000000000000"
    client.create_pipe(
        Name=name, Source=f"{queue}:kept-from", Target=f"{queue}:kept-to", RoleArn=ROLE, DesiredState="STOPPED"
    )


def _tags(client: Any, name: str) -> None:
    client.tag_resources(ResourceARNList=["arn:aws:sqs:us-east-1:000000000000:before"], Tags={name: "x"})


def _tagged(client: Any) -> list[str]:
    return [tag["Key"] for one in client.get_resources()["ResourceTagMappingList"] for tag in one["Tags"]]


def _key_names(client: Any) -> list[str]:
    keys = (client.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in client.list_keys()["Keys"])
    return [one["Description"] for one in keys]


def _listed(operation: str, members: str, name: str, **request: Any) -> Callable[[Any], list[str]]:
    """Names of all that an operation lists; ``name`` empty: they are names already."""

    def names(client: Any) -> list[str]:
        found = getattr(client, operation)(**request)
        for member in members.split("."):
            found = found[member]
        return [one[name] if name else one for one in found]

    return names


def _ends(names: Callable[[Any], list[str]]) -> Callable[[Any], list[str]]:
    """Last words of ARNs and URLs."""
    return lambda client: [one.replace(":", "/").rstrip("/").rpartition("/")[2] for one in names(client)]


def _plain(operation: str, parameter: str, **request: Any) -> Callable[[Any, str], object]:
    return lambda client, name: getattr(client, operation)(**{parameter: name}, **request)


RECIPES = (
    Recipe("s3", _plain("create_bucket", "Bucket"), _listed("list_buckets", "Buckets", "Name")),
    Recipe("sqs", _plain("create_queue", "QueueName"), _ends(_listed("list_queues", "QueueUrls", ""))),
    Recipe("sns", _plain("create_topic", "Name"), _ends(_listed("list_topics", "Topics", "TopicArn"))),
    Recipe(
        "secretsmanager",
        _plain("create_secret", "Name", SecretString="s"),
        _listed("list_secrets", "SecretList", "Name"),
    ),
    Recipe(
        "ssm",
        _plain("put_parameter", "Name", Value="v", Type="String"),
        _listed("describe_parameters", "Parameters", "Name"),
    ),
    Recipe(
        "logs", _plain("create_log_group", "logGroupName"), _listed("describe_log_groups", "logGroups", "logGroupName")
    ),
    Recipe(
        "cloudwatch",
        _plain(
            "put_metric_alarm",
            "AlarmName",
            Namespace="n",
            MetricName="m",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
        ),
        _listed("describe_alarms", "MetricAlarms", "AlarmName"),
    ),
    Recipe(
        "events", _plain("put_rule", "Name", EventPattern='{"source": ["x"]}'), _listed("list_rules", "Rules", "Name")
    ),
    Recipe(
        "scheduler", _plain("create_schedule_group", "Name"), _listed("list_schedule_groups", "ScheduleGroups", "Name")
    ),
    Recipe("pipes", _pipe, _listed("list_pipes", "Pipes", "Name")),
    Recipe("iam", _plain("create_user", "UserName"), _listed("list_users", "Users", "UserName")),
    Recipe(
        "ec2",
        _plain("create_security_group", "GroupName", Description="d"),
        _listed("describe_security_groups", "SecurityGroups", "GroupName"),
    ),
    Recipe("kms", _plain("create_key", "Description"), _key_names),
    Recipe("dynamodb", _table, _listed("list_tables", "TableNames", "")),
    Recipe("kinesis", _plain("create_stream", "StreamName", ShardCount=1), _listed("list_streams", "StreamNames", "")),
    Recipe(
        "firehose",
        _plain("create_delivery_stream", "DeliveryStreamName"),
        _listed("list_delivery_streams", "DeliveryStreamNames", ""),
    ),
    Recipe("stepfunctions", _states, _listed("list_state_machines", "stateMachines", "name")),
    Recipe(
        "lambda",
        lambda client, name: client.create_function(
            FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="f.f", Code={"ZipFile": _code()}
        ),
        _listed("list_functions", "Functions", "FunctionName"),
    ),
    Recipe(
        "route53",
        lambda client, name: client.create_hosted_zone(Name=f"{name}.org", CallerReference=name),
        lambda client: [one["Name"].removesuffix(".org.") for one in client.list_hosted_zones()["HostedZones"]],
    ),
    Recipe(
        "servicediscovery", _plain("create_http_namespace", "Name"), _listed("list_namespaces", "Namespaces", "Name")
    ),
    Recipe(
        "resource-groups",
        _plain(
            "create_group",
            "Name",
            ResourceQuery={
                "Type": "TAG_FILTERS_1_0",
                "Query": json.dumps({"ResourceTypeFilters": ["AWS::AllSupported"], "TagFilters": [{"Key": "k"}]}),
            },
        ),
        _listed("list_groups", "Groups", "Name"),
    ),
    Recipe("resourcegroupstaggingapi", _tags, _tagged),
    Recipe(
        "ecr",
        _plain("create_repository", "repositoryName"),
        _listed("describe_repositories", "repositories", "repositoryName"),
    ),
    Recipe(
        "efs",
        _plain("create_file_system", "CreationToken"),
        _listed("describe_file_systems", "FileSystems", "CreationToken"),
    ),
    Recipe(
        "rds",
        _plain(
            "create_db_parameter_group", "DBParameterGroupName", DBParameterGroupFamily="postgres16", Description="d"
        ),
        _listed("describe_db_parameter_groups", "DBParameterGroups", "DBParameterGroupName"),
    ),
    Recipe(
        "glue",
        lambda client, name: client.create_database(DatabaseInput={"Name": name}),
        _listed("get_databases", "DatabaseList", "Name"),
    ),
    Recipe("athena", _plain("create_work_group", "Name"), _listed("list_work_groups", "WorkGroups", "Name")),
    Recipe(
        "emr",
        lambda client, name: client.run_job_flow(
            Name=name, ReleaseLabel="emr-7.0.0", Instances={"InstanceCount": 1, "MasterInstanceType": "m5.xlarge"}
        ),
        _listed("list_clusters", "Clusters", "Name"),
    ),
    Recipe(
        "eks",
        _plain("create_cluster", "name", roleArn=ROLE, resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]}),
        _listed("list_clusters", "clusters", ""),
    ),
    Recipe(
        "autoscaling",
        _plain("create_launch_configuration", "LaunchConfigurationName", ImageId="ami-1", InstanceType="t3.micro"),
        _listed("describe_launch_configurations", "LaunchConfigurations", "LaunchConfigurationName"),
    ),
    Recipe("apigateway", _plain("create_rest_api", "name"), _listed("get_rest_apis", "items", "name")),
    Recipe("apigatewayv2", _plain("create_api", "Name", ProtocolType="HTTP"), _listed("get_apis", "Items", "Name")),
    Recipe(
        "cognito-idp",
        _plain("create_user_pool", "PoolName"),
        _listed("list_user_pools", "UserPools", "Name", MaxResults=60),
    ),
    Recipe(
        "cognito-identity",
        _plain("create_identity_pool", "IdentityPoolName", AllowUnauthenticatedIdentities=True),
        _listed("list_identity_pools", "IdentityPools", "IdentityPoolName", MaxResults=60),
    ),
    Recipe(
        "ses",
        lambda client, name: client.verify_email_identity(EmailAddress=f"{name}@example.org"),
        lambda client: [one.partition("@")[0] for one in client.list_identities()["Identities"]],
    ),
    Recipe(
        "sesv2",
        _plain("create_configuration_set", "ConfigurationSetName"),
        _listed("list_configuration_sets", "ConfigurationSets", ""),
    ),
    Recipe("cloudtrail", _plain("create_trail", "Name", S3BucketName="b"), _listed("list_trails", "Trails", "Name")),
    Recipe(
        "organizations",
        lambda client, name: client.create_policy(
            Content="{}", Description="d", Name=name, Type="SERVICE_CONTROL_POLICY"
        ),
        _listed("list_policies", "Policies", "Name", Filter="SERVICE_CONTROL_POLICY"),
    ),
)
