"""All services: which table says what an operation needs."""

from __future__ import annotations

from collections.abc import Mapping

from skylift.core.iam.evaluate import ANY_RESOURCE, UNKNOWN_RESOURCE
from skylift.localcloud.iam.actions import others
from skylift.localcloud.iam.actions.batch import BATCH
from skylift.localcloud.iam.actions.call import ApiCall, Need, Table, needs_by
from skylift.localcloud.iam.actions.ecs import ECS
from skylift.localcloud.iam.actions.iam import IAM

TABLES: Mapping[str, Table] = {
    "acm": others.CERTIFICATES,
    "airflow": others.AIRFLOW,
    "batch": BATCH,
    "ec2": others.EC2,
    "ecs": ECS,
    "elasticloadbalancing": others.BALANCING,
    "events": others.EVENTS,
    "iam": IAM,
    "logs": others.LOGS,
    "rds": others.RDS,
    "scheduler": others.SCHEDULER,
    "secretsmanager": others.SECRETS,
    "sqs": others.SQS,
    "sts": others.STS,
}
"""By signing name. S3 has functions of its own (``s3.py``)."""
PARTIAL = frozenset({"ec2", "events", "iam", "logs", "rds"})
"""Services with further operations that support resources: of those only the action is judged."""
PREFIXES = {
    "email": "ses",
    "monitoring": "cloudwatch",
    "tagging": "tag",
    "streams.dynamodb": "dynamodb",
}
"""Services whose actions do not begin with the signing name."""
ALWAYS_ALLOWED = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
"""AWS asks no policy for these (GetSessionToken: of users; a role's session may not call it)."""


def needs_of(call: ApiCall) -> list[Need]:
    """What a call needs. Not for S3."""
    table = TABLES.get(call.service)
    if table is None:
        return [Need(f"{PREFIXES.get(call.service, call.service)}:{call.operation}", UNKNOWN_RESOURCE)]
    describes = call.service == "ec2" and call.operation.startswith("Describe")
    otherwise = UNKNOWN_RESOURCE if call.service in PARTIAL and not describes else ANY_RESOURCE
    return [one for one in needs_by(table, call, otherwise) if one.action not in ALWAYS_ALLOWED]
