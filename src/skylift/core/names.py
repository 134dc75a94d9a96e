"""Names and ARNs that more than one layer must agree on; each is made only here."""

from __future__ import annotations

import re

from skylift.core.partitions import partition_of

ENVIRONMENT_NAME = re.compile(r"[a-zA-Z][0-9a-zA-Z\-_]{0,79}")
"""EnvironmentName of the MWAA API: 1 to 80 characters (botocore model ``mwaa/2020-07-01``)."""

LOG_MODULES = {
    "DagProcessingLogs": "DAGProcessing",
    "SchedulerLogs": "Scheduler",
    "WebserverLogs": "WebServer",
    "WorkerLogs": "Worker",
    "TaskLogs": "Task",
}
"""MWAA's five log modules, and the last part of their CloudWatch log group."""

TASK_EXECUTION_ROLE = "skylift_task_execution"
"""Name of the role with which ECS starts environments' containers. With underscores: no environment's own role has
it."""


def log_group(environment: str, module: str) -> str:
    """The log group of an environment's module: ``airflow-{env}-Scheduler`` and so on, as MWAA names them."""
    return f"airflow-{environment}-{LOG_MODULES[module]}"


REGIONLESS = frozenset({"iam", "sts", "s3"})
"""Services whose ARNs have no region."""


def arn(service: str, region: str, account: str, resource: str) -> str:
    """``arn:{partition}:{service}:{region}:{account}:{resource}``, in the partition of the region.

    Args:
        service: as in ARNs. IAM, STS and S3 ignore the region, and S3 also the account.
        region: "" for AWS's own partition.
    """
    shown = "" if service in REGIONLESS else region
    whose = "" if service == "s3" else account
    return f"arn:{partition_of(region)}:{service}:{shown}:{whose}:{resource}"


def worker_host(task: str) -> str:
    """The host name of a Celery worker, by which Airflow knows where an Airflow task ran.

    Args:
        task: ARN of the worker's ECS task.
    """
    return f"worker-{task.rpartition('/')[2]}"


def current_worker_key(environment: str) -> str:
    """Key in the control plane's bucket: ``{"definition": ARN}`` of the task definition of an environment's newest
    workers."""
    return f"workloads/{environment}/worker.json"


def s3_url(bucket: str, key: str) -> str:
    """``s3://bucket/key``."""
    return f"s3://{bucket}/{key}"


def split_s3_url(url: str) -> tuple[str, str]:
    """Bucket and key (without leading slash) of an ``s3://`` URL. Raises ``ValueError`` for any other text."""
    match = re.fullmatch(r"s3://([^/]+)/?(.*)", url)
    if match is None:
        raise ValueError(f"not an S3 URL: {url!r} (expected s3://bucket/key)")
    return match[1], match[2]


def tag_value(text: str) -> str:
    """``text`` in AWS's alphabet for tags (letters, digits, blanks, ``+-=._:/@``), at most 256 characters."""
    return re.sub(r"[^\w +\-=.:/@]", "_", text)[:256]
