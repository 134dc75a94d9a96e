"""The IAM policies for running Airflow's tasks on ECS or Batch, with least privilege, as documents for IAM.

Three roles: the scheduler's (what our executors call), the execution role (what ECS itself calls to start a container)
and the task role (what code in the container calls). Resources and conditions follow the Service Authorization
Reference for ``ecs``, ``batch``, ``s3``, ``sqs``, ``logs``, ``ecr`` and ``secretsmanager``: an action that
does not support resources gets ``*``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skylift.core.errors import Refused
from skylift.core.names import arn, split_s3_url
from skylift.core.partitions import find

ACCOUNT = re.compile(r"[0-9]{12}")
REGION = re.compile(r"[a-z]{2,8}(-[a-z]+)+-[0-9]+")
PARTITION = re.compile(r"aws(-[a-z]+)*")


@dataclass(frozen=True)
class PolicyScope:
    """The account and region that the ARNs of a policy name.

    Attributes:
        partition: of the region; needed only for a region that is newer than this skylift.

    Raises:
        Refused: an account that has not 12 digits, a region that does not look like one or is in another partition.
    """

    account: str
    region: str
    partition: str = ""

    def __post_init__(self) -> None:
        if not ACCOUNT.fullmatch(self.account):
            raise Refused(f"account {self.account!r}: an AWS account id has 12 digits (aws sts get-caller-identity)")
        if not REGION.fullmatch(self.region):
            raise Refused(f"region {self.region!r}: a region looks like eu-central-1")
        known = find(self.region)
        if self.partition and not PARTITION.fullmatch(self.partition):
            raise Refused(f"partition {self.partition!r}: a partition looks like aws, aws-cn or aws-us-gov")
        if known is None and not self.partition:
            raise Refused(f"region {self.region!r} is in no partition that skylift knows: name it with --partition")
        if known and self.partition and known.name != self.partition:
            raise Refused(f"region {self.region!r} is in partition {known.name}, not in {self.partition}")

    def arn(self, service: str, rest: str) -> str:
        """An ARN here; S3 buckets and IAM roles have no region, S3 buckets no account."""
        if rest.startswith("arn:"):
            return rest
        made = arn(service, self.region, self.account, rest)
        return made.replace("arn:aws:", f"arn:{self.partition}:", 1) if self.partition else made


@dataclass(frozen=True)
class Uses:
    """What an Airflow uses; names or ARNs. What is empty gets no statement.

    Attributes:
        cluster, task_definitions, pass_roles: of ECS; ``pass_roles`` are the task definition's two roles.
        job_queues, job_definitions: of Batch.
        payload_url: ``[skylift] payload_url``.
        warm: ``[skylift] warm_seconds`` is set: containers stay, and say so below ``payload_url``.
        events_queue: ``[skylift] events_queue``.
        container_log_groups: where the containers' output goes (log driver awslogs).
        remote_log_groups: CloudWatch groups of Airflow's remote logs.
        remote_log_url: or their S3 URL.
        repositories: ECR repositories of the images.
        secrets: ARNs of secrets that the definition hands to the container.
        secret_prefixes: names of secrets begin so that Airflow's secrets backend reads.
    """

    cluster: str = ""
    task_definitions: Sequence[str] = ()
    pass_roles: Sequence[str] = ()
    job_queues: Sequence[str] = ()
    job_definitions: Sequence[str] = ()
    payload_url: str = ""
    warm: bool = False
    events_queue: str = ""
    container_log_groups: Sequence[str] = ()
    remote_log_groups: Sequence[str] = ()
    remote_log_url: str = ""
    repositories: Sequence[str] = ()
    secrets: Sequence[str] = field(default=(), repr=False)
    secret_prefixes: Sequence[str] = ()


def scheduler_policy(scope: PolicyScope, uses: Uses) -> dict[str, Any]:
    """For whoever runs the scheduler. Raises ``Refused`` if something that it must name is missing."""
    if not uses.cluster and not uses.job_queues:
        raise Refused(
            "name what the executor uses: --cluster and --task-definition, or --job-queue and --job-definition"
        )
    return _document(
        *(_ecs(scope, uses) if uses.cluster else ()),
        *(_batch(scope, uses) if uses.job_queues else ()),
        *_put_payloads(scope, uses),
        *_events(scope, uses),
        *_read_output(scope, uses),
        *_remote_logs(scope, uses),
    )


def task_role_policy(scope: PolicyScope, uses: Uses) -> dict[str, Any]:
    """For what runs in the container; your DAGs' own needs come on top. Raises ``Refused`` if there is nothing to
    allow."""
    statements = [*_take_payloads(scope, uses), *_remote_logs(scope, uses)]
    if not statements:
        raise Refused("nothing to allow: name --payload-url, --remote-log-group or --remote-log-url if you use them")
    return _document(*statements)


def execution_role_policy(scope: PolicyScope, uses: Uses) -> dict[str, Any]:
    """For ECS itself, which pulls the image, opens the log and fetches secrets (AmazonECSTaskExecutionRolePolicy,
    narrowed)."""
    if not uses.repositories:
        raise Refused("name the image's ECR repository: --repository NAME")
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
    statements = [
        _allow("SignInToEcr", ["ecr:GetAuthorizationToken"], ["*"]),
        _allow("PullTheImage", pull, [scope.arn("ecr", f"repository/{name}") for name in uses.repositories]),
    ]
    if uses.container_log_groups:
        write = ["logs:CreateLogStream", "logs:PutLogEvents"]
        statements.append(_allow("WriteTheOutput", write, _groups(scope, uses.container_log_groups)))
    if uses.secrets:
        statements.append(_allow("ReadSecrets", ["secretsmanager:GetSecretValue"], list(uses.secrets)))
    return _document(*statements)


def secrets_backend_policy(scope: PolicyScope, uses: Uses) -> dict[str, Any]:
    """For every role whose containers look up connections or variables in Secrets Manager: environment, task role.

    The backend makes one kind of call (amazon provider 9.39). MWAA's guide also allows listing and describing, which
    only people need.
    """
    prefixes = uses.secret_prefixes or ("airflow/connections", "airflow/variables")
    names = [scope.arn("secretsmanager", f"secret:{prefix.strip('/')}/*") for prefix in prefixes]
    return _document(_allow("ReadConnectionsAndVariables", ["secretsmanager:GetSecretValue"], names))


def trust_policy(service: str = "ecs-tasks.amazonaws.com") -> dict[str, Any]:
    """Who may take on the execution role and the task role: ECS's tasks; Batch's containers are ECS tasks as well."""
    return _document({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"})


# The scheduler's statements.


def _ecs(scope: PolicyScope, uses: Uses) -> list[dict[str, Any]]:
    if not uses.task_definitions or not uses.pass_roles:
        raise Refused(
            "name what RunTask starts: --task-definition FAMILY, and --pass-role for the roles in it (execution and "
            "task role)"
        )
    cluster = scope.arn("ecs", _below("cluster", uses.cluster))
    of_cluster = {"ArnEquals": {"ecs:cluster": cluster}}
    runs = scope.arn("ecs", f"task/{uses.cluster.rpartition('/')[2]}/*")
    families = [scope.arn("ecs", f"{_below('task-definition', _family(one))}:*") for one in uses.task_definitions]
    return [
        _allow("Launch", ["ecs:RunTask"], families, of_cluster),
        _allow("TagWhatIsLaunched", ["ecs:TagResource"], [runs], {"StringEquals": {"ecs:CreateAction": "RunTask"}}),
        _allow("SeeAndStop", ["ecs:DescribeTasks", "ecs:StopTask"], [runs], of_cluster),
        _allow("FindAfterRestart", ["ecs:ListTasks"], ["*"], of_cluster),
        _allow("LookForTheCluster", ["ecs:DescribeClusters"], [cluster]),
        _allow("FindTheOutput", ["ecs:DescribeTaskDefinition"], ["*"]),
        _allow(
            "HandOverTheRoles",
            ["iam:PassRole"],
            [scope.arn("iam", _below("role", one)) for one in uses.pass_roles],
            {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
    ]


def _batch(scope: PolicyScope, uses: Uses) -> list[dict[str, Any]]:
    if not uses.job_definitions:
        raise Refused("name what SubmitJob starts: --job-definition NAME")
    names = [_below("job-definition", _family(one)) for one in uses.job_definitions]
    definitions = [scope.arn("batch", text) for name in names for text in (name, f"{name}:*")]
    queues = [scope.arn("batch", _below("job-queue", one)) for one in uses.job_queues]
    runs = scope.arn("batch", "job/*")
    return [
        _allow("Submit", ["batch:SubmitJob"], [*definitions, *queues]),
        _allow("TagWhatIsSubmitted", ["batch:TagResource"], [runs, *definitions]),
        _allow("Stop", ["batch:TerminateJob"], [runs]),
        _allow("SeeAndFind", ["batch:DescribeJobs", "batch:ListJobs", "batch:DescribeJobQueues"], ["*"]),
    ]


def _put_payloads(scope: PolicyScope, uses: Uses) -> list[dict[str, Any]]:
    if not uses.payload_url:
        return []
    # After a restart, the scheduler looks up there which child of an array job and which warm container has what.
    reads = ["s3:GetObject"] if uses.warm or uses.job_queues else []
    removes = ["s3:DeleteObject"] if uses.warm else []
    statements = [_allow("PutWorkloads", ["s3:PutObject", *reads, *removes], [_objects(scope, uses.payload_url)])]
    if reads:
        statements.append(_list("ListWorkloads", scope, uses.payload_url))
    return statements


def _events(scope: PolicyScope, uses: Uses) -> list[dict[str, Any]]:
    if not uses.events_queue:
        return []
    queue = scope.arn("sqs", uses.events_queue.rpartition("/")[2])
    actions = ["sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    return [_allow("HearEvents", actions, [queue])]


def _read_output(scope: PolicyScope, uses: Uses) -> list[dict[str, Any]]:
    if not uses.container_log_groups:
        return []
    return [_allow("ReadTheOutput", ["logs:GetLogEvents"], _groups(scope, uses.container_log_groups))]


# What scheduler and container have in common, and the container's.


def _remote_logs(scope: PolicyScope, uses: Uses) -> list[dict[str, Any]]:
    """Airflow's remote logs: the container writes them, the executor adds why a container died, the API server reads
    them."""
    statements = []
    if uses.remote_log_groups:
        actions = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:GetLogEvents", "logs:DescribeLogStreams"]
        statements.append(_allow("AirflowLogs", actions, _groups(scope, uses.remote_log_groups)))
    if uses.remote_log_url:
        objects = _objects(scope, uses.remote_log_url)
        statements.append(_allow("AirflowLogObjects", ["s3:GetObject", "s3:PutObject"], [objects]))
        statements.append(_list("ListAirflowLogs", scope, uses.remote_log_url))
    return statements


def _take_payloads(scope: PolicyScope, uses: Uses) -> list[dict[str, Any]]:
    if not uses.payload_url:
        return []
    writes = ["s3:PutObject"] if uses.warm else []
    actions = ["s3:GetObject", "s3:DeleteObject", *writes]
    return [_allow("TakeTheWorkload", actions, [_objects(scope, uses.payload_url)])]


def _list(sid: str, scope: PolicyScope, url: str) -> dict[str, Any]:
    # Without a condition on the prefix: S3 answers 404 for an object that is not there only to who may list the bucket,
    # and 403 to others (API reference, GetObject); a GetObject has no prefix that a condition could look at.
    bucket, _ = _split(url)
    return _allow(sid, ["s3:ListBucket"], [scope.arn("s3", bucket)])


def _objects(scope: PolicyScope, url: str) -> str:
    bucket, prefix = _split(url)
    return scope.arn("s3", "/".join(filter(None, (bucket, prefix.strip("/"), "*"))))


def _split(url: str) -> tuple[str, str]:
    try:
        return split_s3_url(url)
    except ValueError as error:
        raise Refused(str(error)) from error


def _groups(scope: PolicyScope, names: Sequence[str]) -> list[str]:
    # A log group's ARN ends in :*, which stands for its streams.
    return [f"{scope.arn('logs', _with('log-group:', name)).removesuffix(':*')}:*" for name in names]


def _family(definition: str) -> str:
    """``family`` of ``family:revision`` or an ARN of it."""
    head, colon, revision = definition.rpartition(":")
    return head if colon and revision.isdigit() else definition


def _below(kind: str, name: str) -> str:
    return name if name.startswith("arn:") else f"{kind}/{name}"


def _with(prefix: str, name: str) -> str:
    return name if name.startswith("arn:") else prefix + name


def _allow(
    sid: str, actions: Sequence[str], resources: Sequence[str], condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return statement | ({"Condition": dict(condition)} if condition else {})


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}
