"""Which AWS service is served by which emulator: one table, from which routing and documents come.

Skylift writes ECS, Batch, Elastic Load Balancing and MWAA itself (the wire hands them to their providers before this table is asked).
Everything else is not ours: ministack serves what must survive a restart, moto what ministack lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qs


class Server(StrEnum):
    """Who answers."""

    SKYLIFT = "skylift"
    MINISTACK = "ministack"
    MOTO = "moto"


class Depth(StrEnum):
    """What an answer is worth."""

    WORKS = "works"
    ANSWERS = "answers"


@dataclass(frozen=True)
class Served:
    """One row of the table.

    Attributes:
        names: the name in the signature's scope first, then other names of the same service (boto3's).
        server: who answers.
        depth: ``works``: does what AWS does, as far as one machine can; ``answers``: keeps records and gives canned
            results, nothing runs behind it.
        keeps: what survives a restart of skylift.
        module: ministack's module (for what must be saved), when it is not the name.
        host: first labels of AWS's host name, when they are not the name (moto finds services by host).
    """

    names: tuple[str, ...]
    server: Server
    depth: Depth = Depth.WORKS
    keeps: str = "all"
    module: str = ""
    host: str = ""


def _ministack(*names: str, module: str = "", depth: Depth = Depth.WORKS, keeps: str = "all") -> Served:
    return Served(names, Server.MINISTACK, depth, keeps, module or names[0].replace("-", "_"))


def _moto(*names: str, host: str = "") -> Served:
    return Served(names, Server.MOTO, Depth.ANSWERS, "nothing", host=host or names[0])


TABLE: tuple[Served, ...] = (
    Served(("ecs",), Server.SKYLIFT),
    Served(("batch",), Server.SKYLIFT, keeps="all; ended jobs for a day"),
    Served(("elasticloadbalancing", "elbv2"), Server.SKYLIFT),
    Served(("airflow", "mwaa"), Server.SKYLIFT),
    _ministack("s3", keeps="all; objects and versions are files, written before the answer"),
    _ministack("sqs", keeps="queues and messages"),
    _ministack("sns"),
    _ministack("secretsmanager"),
    _ministack("ssm"),
    _ministack("logs", module="cloudwatch_logs", keeps="all; journalled before the answer"),
    _ministack("monitoring", "cloudwatch", module="cloudwatch"),
    _ministack("events", module="eventbridge"),
    _ministack("scheduler"),
    _ministack("pipes"),
    _ministack("sts", keeps="session keys that it issued"),
    _ministack("iam"),
    _ministack("ec2", keeps="VPCs, subnets, security groups, addresses, ..."),
    _ministack("kms"),
    _ministack("dynamodb"),
    _ministack("streams.dynamodb", "dynamodbstreams", module="dynamodb_streams"),
    _ministack("kinesis"),
    _ministack("firehose", "kinesis-firehose"),
    _ministack("states", "stepfunctions", module="stepfunctions"),
    _ministack("lambda", module="lambda_svc", depth=Depth.ANSWERS),
    _ministack("cloudformation", depth=Depth.ANSWERS),
    _ministack("cloudcontrol", "cloudcontrolapi", depth=Depth.ANSWERS),
    _ministack("acm"),
    _ministack("route53"),
    _ministack("servicediscovery"),
    _ministack("resource-groups"),
    _ministack("tagging", "resourcegroupstaggingapi"),
    _ministack("ecr", depth=Depth.ANSWERS),
    _ministack("elasticfilesystem", "efs", module="efs", depth=Depth.ANSWERS),
    _ministack("rds", depth=Depth.ANSWERS),
    _ministack("glue", depth=Depth.ANSWERS),
    _ministack("athena", depth=Depth.ANSWERS),
    _ministack("elasticmapreduce", "emr", module="emr", depth=Depth.ANSWERS),
    _ministack("eks", depth=Depth.ANSWERS),
    _ministack("autoscaling", depth=Depth.ANSWERS),
    _ministack("apigateway", "apigatewayv2", depth=Depth.ANSWERS),
    _ministack("cognito-idp", module="cognito", depth=Depth.ANSWERS),
    _ministack("cognito-identity", module="cognito", depth=Depth.ANSWERS),
    _ministack("ses", "sesv2", depth=Depth.ANSWERS),
    _ministack("cloudtrail", depth=Depth.ANSWERS),
    _ministack("organizations", depth=Depth.ANSWERS),
    _ministack("account", depth=Depth.ANSWERS),
    _moto("application-autoscaling"),
    _moto("emr-serverless"),
    _moto("emr-containers"),
    _moto("sagemaker", host="api.sagemaker"),
    _moto("redshift"),
    _moto("redshift-data"),
    _moto("databrew"),
    _moto("dms"),
    _moto("comprehend"),
    _moto("quicksight"),
    _moto("appmesh"),
    _moto("datasync"),
    _moto("servicequotas"),
    _moto("glacier"),
    _moto("lakeformation"),
    _moto("ce"),
    _moto("synthetics"),
)

_BY_NAME = {name: row for row in TABLE for name in row.names}


def served(service: str) -> Served | None:
    """The row of a service, by the name in its signature or boto3's name. ``None``: nobody serves it."""
    return _BY_NAME.get(service)


def page() -> str:
    """The table as a Markdown page, for ``docs/services.md``."""
    lines = [
        "# What the local cloud serves",
        "",
        "*works*: does what AWS does, as far as one machine can. *answers*: keeps records and gives canned results.",
        "Generated from `skylift.localcloud.emulators.table`; a service that is not here is refused with `NotImplemented` (501).",
        "",
        "| service | served by | worth | survives a restart |",
        "|---|---|---|---|",
    ]
    lines += [f"| {', '.join(row.names)} | {row.server} | {row.depth} | {row.keeps} |" for row in TABLE]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Scope:
    """What a request's signature says that it is for; all empty when it is not signed."""

    access_key: str = ""
    region: str = ""
    service: str = ""


_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]*)/([^/]+)/aws4_request")


def scope_of(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> Scope:
    """Reads the credential scope from the Authorization header, or from a presigned URL's query."""
    for name, value in headers:
        if name.lower() == b"authorization" and (match := _CREDENTIAL.search(value.decode("latin-1"))):
            return Scope(*match.groups())
    if b"X-Amz-Credential" in query:
        credential = parse_qs(query.decode("latin-1")).get("X-Amz-Credential", [""])[0]
        if match := _CREDENTIAL.search(f"Credential={credential}"):
            return Scope(*match.groups())
    return Scope()
