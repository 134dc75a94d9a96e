"""The table of AWS services and their emulators. Routing and documents are made from it.

Skylift implements ECS, Batch, Elastic Load Balancing, Certificate Manager, Application Auto Scaling, MWAA and
CloudWatch Logs itself (the wire gives them to their providers before it reads this table). Of the others, ministack
serves those whose state must survive a restart, and moto what ministack lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qs


class Emulator(StrEnum):
    """Which emulator answers."""

    SKYLIFT = "skylift"
    MINISTACK = "ministack"
    MOTO = "moto"
    NOBODY = "nobody"
    OTHERS = "the endpoint of --others"


class Depth(StrEnum):
    """How much an answer can be relied on."""

    WORKS = "works"
    ANSWERS = "answers"
    REFUSED = "refused"


NOTHING = "nothing"

KEEPING = """
What is kept:

- **When you get an answer, the change is on disk**, so `kill -9` of the server loses nothing that was acknowledged. If
  the disk cannot take a change (it is full), you get an error with status 5xx in the service's own words, which says
  what to do. The change is undone.
- This does not cover power loss: nothing is synced, except PostgreSQL (environments, Airflow) and containers' exit
  codes. Files are replaced as a whole, so you lose the last changes, or the next start names the damage. What syncing
  would cost: [local cloud](localcloud.md#durability).
- Written soon after the answer: who received a message from a queue (it is delivered again, as SQS may do), and
  whom S3 notifies of an object. Parts of an S3 upload are in memory until it is completed. Background work
  (Step Functions, schedules) is written within half a minute.
- StopTask and the end of a container happen whatever the disk says; their record is written as soon as there is space.
"""


@dataclass(frozen=True)
class Served:
    """One row of the table.

    Attributes:
        names: the name in the signature's scope first, then other names of the same service (boto3's).
        server: the emulator.
        depth: ``works``: does what AWS does, as far as one machine can; ``answers``: keeps records and returns canned
            results, nothing really runs.
        keeps: what survives a restart of skylift.
        module: ministack's module (for saving), when it differs from the name.
        host: first labels of AWS's host name, when they differ from the name (moto finds services by host).
        note: what the answers of this service leave out; for a refused service, what to use instead.
    """

    names: tuple[str, ...]
    server: Emulator
    depth: Depth = Depth.WORKS
    keeps: str = "all"
    module: str = ""
    host: str = ""
    note: str = ""


def _ministack(*names: str, module: str = "", depth: Depth = Depth.WORKS, keeps: str = "all", note: str = "") -> Served:
    return Served(names, Emulator.MINISTACK, depth, keeps, module or names[0].replace("-", "_"), note=note)


def _moto(*names: str, host: str = "", note: str = "") -> Served:
    return Served(names, Emulator.MOTO, Depth.ANSWERS, NOTHING, host=host or names[0], note=note)


def _refused(*names: str, instead: str) -> Served:
    return Served(names, Emulator.NOBODY, Depth.REFUSED, NOTHING, note=instead)


NO_JOBS = "no job runs; the reason beside its state says so"


TABLE: tuple[Served, ...] = (
    Served(("ecs",), Emulator.SKYLIFT),
    Served(("batch",), Emulator.SKYLIFT, keeps="all; ended jobs for a day"),
    Served(("elasticloadbalancing", "elbv2"), Emulator.SKYLIFT),
    Served(
        ("acm",),
        Emulator.SKYLIFT,
        note="a requested certificate is issued at once, by the state folder's own authority; no DNS and no mailbox is "
        "asked, no private CA, nothing is exported",
    ),
    Served(
        ("application-autoscaling",),
        Emulator.SKYLIFT,
        note="ECS services; other namespaces are refused. Target tracking (CPU, memory, one metric of your own), step "
        "scaling and scheduled actions; no metric math, no predictive scaling. One minute's value decides, and target "
        "tracking makes no alarms",
    ),
    Served(("airflow", "mwaa"), Emulator.SKYLIFT),
    Served(("logs",), Emulator.SKYLIFT, keeps="all; on disk before the answer", note="nothing is encrypted"),
    _ministack("s3", keeps="all; objects and versions are files, written before the answer"),
    _ministack("sqs", keeps="queues and messages"),
    _ministack("sns"),
    _ministack("secretsmanager"),
    _ministack("ssm"),
    _ministack(
        "monitoring",
        "cloudwatch",
        module="cloudwatch",
        keeps="all; metrics for two weeks, after three hours as statistics of five minutes",
        note="no metric math; any namespace may be written, AWS/ too",
    ),
    _ministack(
        "events",
        module="eventbridge",
        note="targets: Lambda, state machines, ECS tasks, Batch jobs, SQS, SNS, log groups, buses, API destinations; "
        "others are refused",
    ),
    _ministack(
        "scheduler",
        note="targets: Lambda, state machines, ECS tasks, SQS, SNS, buses, and any operation of ECS and Batch "
        "(aws-sdk); others are refused; an occurrence that is more than five minutes late is skipped",
    ),
    _ministack("pipes", note="a target that is an ECS task or a Batch job is refused"),
    _ministack("sts", keeps="session keys that it issued"),
    _ministack("iam"),
    _ministack(
        "ec2",
        keeps="VPCs, subnets, security groups, addresses, ...",
        note="an instance is a record: nothing boots. ECS tasks and load balancers have interfaces, and nothing of a "
        "network is deleted while something uses it",
    ),
    _ministack("kms"),
    _ministack("dynamodb"),
    _ministack("streams.dynamodb", "dynamodbstreams", module="dynamodb_streams"),
    _ministack("kinesis"),
    _ministack("firehose", "kinesis-firehose"),
    _ministack(
        "states",
        "stepfunctions",
        module="stepfunctions",
        note="a state machine that calls ECS, Batch, Elastic Load Balancing or MWAA is refused; jobs of Glue, EMR, "
        "Athena as there",
    ),
    _ministack(
        "lambda",
        module="lambda_svc",
        depth=Depth.ANSWERS,
        note="zip functions of Python and Node.js run as processes, others fail",
    ),
    _refused(
        "cloudformation",
        instead="Make the resources with Terraform (examples/terraform), boto3 or the AWS CLI: those calls reach "
        "the services that run here. `cdk synth` works without it.",
    ),
    _refused(
        *("cloudcontrol", "cloudcontrolapi"),
        instead="Call the service itself, e.g. ecs CreateCluster. In Terraform take the provider aws, not awscc.",
    ),
    _ministack("route53", note="no DNS behind it: records are kept, names do not resolve"),
    _ministack(
        "servicediscovery",
        note="ECS services with `serviceRegistries` register their ECS tasks, and DiscoverInstances gives them; no DNS "
        "behind it: names do not resolve",
    ),
    _ministack("resource-groups"),
    _ministack("tagging", "resourcegroupstaggingapi"),
    _ministack("ecr", depth=Depth.ANSWERS),
    _ministack("elasticfilesystem", "efs", module="efs", depth=Depth.ANSWERS),
    _ministack("rds", depth=Depth.ANSWERS, note="no database runs, whatever the status says"),
    _ministack(
        "glue",
        depth=Depth.ANSWERS,
        note="Python shell scripts run as processes; Spark jobs and crawlers do not, and the reason beside their "
        "state says so",
    ),
    _ministack(
        "athena",
        depth=Depth.ANSWERS,
        note="DDL changes the Glue catalog; SELECT gives made-up rows, and the reason beside the state says so",
    ),
    _ministack("elasticmapreduce", "emr", module="emr", depth=Depth.ANSWERS, note=NO_JOBS),
    _ministack("eks", depth=Depth.ANSWERS, note="no Kubernetes runs, whatever the status says"),
    _ministack(
        "autoscaling", depth=Depth.ANSWERS, note="an instance is a record: nothing boots, ECS gets no capacity by it"
    ),
    _ministack("apigateway", "apigatewayv2", depth=Depth.ANSWERS),
    _ministack("cognito-idp", module="cognito", depth=Depth.ANSWERS),
    _ministack("cognito-identity", module="cognito", depth=Depth.ANSWERS),
    _ministack("ses", "sesv2", depth=Depth.ANSWERS),
    _ministack("cloudtrail", depth=Depth.ANSWERS),
    _ministack("organizations", depth=Depth.ANSWERS),
    _ministack("account", depth=Depth.ANSWERS, keeps=NOTHING),
    _moto("emr-serverless", note=NO_JOBS),
    _moto("emr-containers", note=NO_JOBS),
    _moto("sagemaker", host="api.sagemaker", note=NO_JOBS),
    _moto("redshift", note="no database runs, whatever the status says"),
    _moto("redshift-data", note=NO_JOBS),
    _moto("databrew"),
    _moto("dms", note=NO_JOBS),
    _moto("comprehend", note=NO_JOBS),
    _moto("quicksight"),
    _moto("appmesh"),
    _moto("datasync", note=NO_JOBS),
    _moto("servicequotas"),
    _moto("glacier"),
    _moto("lakeformation"),
    _moto("ce"),
    _moto("synthetics", note=NO_JOBS),
)

_BY_NAME = {name: row for row in TABLE for name in row.names}


def served(service: str) -> Served | None:
    """The row of a service, by its signing name or boto3 name. ``None`` when nobody serves it."""
    return _BY_NAME.get(service)


def forgetful() -> list[str]:
    """Names of the services whose state is lost at a restart."""
    return [row.names[0] for row in TABLE if row.keeps == NOTHING and row.server is not Emulator.NOBODY]


def page() -> str:
    """The table as a Markdown page, for ``docs/services.md``."""
    lines = [
        "# What the local cloud serves",
        "",
        *KEEPING.strip().splitlines(),
        f"- These services **keep nothing over a restart**: {', '.join(forgetful())}. `skylift status` says so too.",
        "",
        "*works*: does what AWS does, as far as one machine can. *answers*: keeps records and returns canned results. "
        "*refused*: every call gets `NotImplemented` (501) with the note's advice, because an emulator would claim to "
        "have "
        "made what no service here knows.",
        "Generated from `skylift.localcloud.emulators.table`. A service that is not in the table gets `NotImplemented` "
        "(501). With [`--others`](localcloud.md#another-endpoint-behind-it), another endpoint serves those, and most "
        "of the table.",
        "",
        "| service | served by | depth | survives a restart | note |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {', '.join(row.names)} | {row.server} | {row.depth} | {row.keeps} | {row.note} |" for row in TABLE]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Scope:
    """The service that a request's signature names; all fields are empty when it is not signed."""

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
