"""The policies of two roles: what an environment's containers may do, and what ECS may do to start them. Pure.

The base is MWAA's own execution role (``mwaa-create-role``), without what MWAA needs for Celery's queue (whose own
policy allows it). Added is what skylift's containers call: they start ECS tasks, read their secrets, and share the
control plane's bucket for layers and workloads.

User code runs with the environment's own role. So that role can read no secret except the options that user code gets
anyway, and can start only the ECS tasks of its executor. The database's address and Airflow's keys are read by ECS with
the task execution role, which no container has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skylift.control.part_context import batch_place
from skylift.core.names import arn

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["airflow.amazonaws.com", "airflow-env.amazonaws.com", "ecs-tasks.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}


TRUST_ECS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": ["ecs-tasks.amazonaws.com"]}, "Action": "sts:AssumeRole"}
    ],
}


@dataclass(frozen=True)
class EnvironmentScope:
    """The resources of an environment.

    Attributes:
        bucket: its own bucket, with the DAGs.
        control_bucket: the control plane's.
        cluster: ECS cluster.
    """

    environment: str
    bucket: str
    control_bucket: str
    cluster: str
    account: str
    region: str

    def arn(self, service: str, rest: str) -> str:
        """An ARN of this account and region."""
        return arn(service, self.region, self.account, rest)


def role_name(environment: str) -> str:
    """Name of an environment's role (IAM's limit is 64 characters)."""
    return f"skylift-{environment}"[:64]


def policy(scope: EnvironmentScope) -> dict[str, Any]:
    """The policy document."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            *_files(scope),
            *_logs(scope),
            *_images(),
            *_ecs_tasks(scope),
            *_batch_jobs(scope),
            *_as_on_mwaa(scope),
        ],
    }


def task_execution_policy(account: str, region: str) -> dict[str, Any]:
    """What ECS does before it runs a container of any environment: reads its secrets, pulls its image, writes its
    log."""
    groups = [arn("logs", region, account, f"log-group:{name}:*") for name in ("airflow-*", "/skylift/*")]
    # An environment's secrets, not the control plane's own (skylift/postgres).
    secrets = arn("secretsmanager", region, account, "secret:skylift/*/*")
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow(["secretsmanager:GetSecretValue"], [secrets]),
            _allow(["logs:CreateLogStream", "logs:PutLogEvents"], groups),
            *_images(),
        ],
    }


def _files(scope: EnvironmentScope) -> list[dict[str, Any]]:
    own = [scope.arn("s3", scope.bucket), scope.arn("s3", f"{scope.bucket}/*")]
    control = scope.arn("s3", scope.control_bucket)
    return [
        # MWAA's role can only read. Most people's DAGs write their results to the same bucket, and so does our
        # quickstart.
        _allow(["s3:GetObject*", "s3:GetBucket*", "s3:List*", "s3:PutObject"], own),
        _allow(
            ["s3:GetObject", "s3:PutObject"],
            # Layers, what trying out an update found, and what Airflow tasks are to run.
            [f"{control}/{kind}/{scope.environment}/*" for kind in ("layers", "proofs", "workloads")],
        ),
        # A workload contains a token: its container deletes it after the download.
        _allow(["s3:DeleteObject"], [f"{control}/workloads/{scope.environment}/*"]),
        # The executor's ECS tasks get this role, and the environment's configuration options as variables.
        _allow(
            ["secretsmanager:GetSecretValue"],
            # Of skylift.toml and .env, too.
            [
                scope.arn("secretsmanager", f"secret:skylift/{scope.environment}/{name}-*")
                for name in ("options", "environment")
            ],
        ),
    ]


def _logs(scope: EnvironmentScope) -> list[dict[str, Any]]:
    groups = (f"airflow-{scope.environment}-*", f"/skylift/{scope.environment}")
    resources = [scope.arn("logs", f"log-group:{group}{end}") for group in groups for end in ("", ":*")]
    write = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    read = ["logs:DescribeLogStreams", "logs:GetLogEvents", "logs:GetLogRecord", "logs:GetLogGroupFields"]
    return [_allow([*write, *read, "logs:GetQueryResults"], resources), _allow(["logs:DescribeLogGroups"], ["*"])]


def _images() -> list[dict[str, Any]]:
    pull = ["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"]
    return [_allow([*pull, "ecr:BatchGetImage"], ["*"])]


def _ecs_tasks(scope: EnvironmentScope) -> list[dict[str, Any]]:
    """What the scheduler's executor does, within one cluster and with this environment's task definition for it.

    Not with the other task definitions: a user's command in the scheduler's would see the scheduler's secrets.
    """
    cluster = scope.arn("ecs", f"cluster/{scope.cluster}")
    within = {"ArnEquals": {"ecs:cluster": cluster}}
    running = [scope.arn("ecs", f"task/{scope.cluster}/*")]
    definitions = [scope.arn("ecs", f"task-definition/skylift-{scope.environment}-task:*")]
    role = scope.arn("iam", f"role/{role_name(scope.environment)}")
    return [
        _allow(["ecs:RunTask"], definitions, within),
        # A busy Celery worker protects its own ECS task. (Their queue's policy allows the rest.)
        _allow(["ecs:DescribeTasks", "ecs:StopTask", "ecs:UpdateTaskProtection"], running, within),
        # ListTasks supports no resource but the cluster's container instances, so the condition limits it.
        _allow(["ecs:ListTasks"], ["*"], within),
        _allow(["ecs:DescribeClusters"], [cluster]),
        _allow(["ecs:TagResource"], running, {"StringEquals": {"ecs:CreateAction": "RunTask"}}),
        _allow(["iam:PassRole"], [role], {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}),
    ]


def _batch_jobs(scope: EnvironmentScope) -> list[dict[str, Any]]:
    """What the scheduler's executor does where ``core.executor`` names ``AwsBatchExecutor``, in the environment's own
    queue."""
    name = batch_place(scope.environment)  # not just its name: Batch takes no underscore and no dot
    queue = scope.arn("batch", f"job-queue/{name}")
    jobs = scope.arn("batch", "job/*")
    return [
        _allow(["batch:SubmitJob"], [queue, scope.arn("batch", f"job-definition/{name}*")]),
        # A job's ARN contains its id, not its name; and reading operations support no resources at all.
        _allow(["batch:TerminateJob", "batch:TagResource"], [jobs]),
        _allow(["batch:DescribeJobs", "batch:ListJobs", "batch:DescribeJobQueues"], ["*"]),
        # After a restart, the executor looks up there which array child an Airflow task is.
        _allow(
            ["s3:ListBucket"],
            [scope.arn("s3", scope.control_bucket)],
            {"StringLike": {"s3:prefix": f"workloads/{scope.environment}/*"}},
        ),
    ]


def _as_on_mwaa(scope: EnvironmentScope) -> list[dict[str, Any]]:
    return [
        _allow(["airflow:PublishMetrics"], [scope.arn("airflow", f"environment/{scope.environment}")]),
        _allow(["cloudwatch:PutMetricData", "s3:GetAccountPublicAccessBlock"], ["*"]),
        {"Effect": "Deny", "Action": ["s3:ListAllMyBuckets"], "Resource": ["*"]},
    ]


def _allow(actions: list[str], resources: list[str], condition: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return found | ({"Condition": condition} if condition else {})
