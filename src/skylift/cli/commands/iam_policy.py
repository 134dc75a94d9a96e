"""``skylift iam-policy``: prints the IAM policies that Airflow on ECS or Batch needs (asks nobody), or the least policy
of what ran in the local cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from skylift.aws import iam_policies
from skylift.aws.iam_policies import PolicyScope, Uses
from skylift.deploy.fargate.deployer_policy import deployer_policy

ROLES: dict[str, Callable[[PolicyScope, Uses], dict[str, Any]]] = {
    "scheduler": iam_policies.scheduler_policy,
    "task-role": iam_policies.task_role_policy,
    "execution-role": iam_policies.execution_role_policy,
    "secrets-backend": iam_policies.secrets_backend_policy,
}
FARGATE = "fargate"
MANY: dict[str, tuple[str, str]] = {
    "task_definitions": ("--task-definition", "Family of an ECS task definition that the executor runs."),
    "pass_roles": ("--pass-role", "Name or ARN of a role in the task definition (execution role, task role)."),
    "job_queues": ("--job-queue", "Batch job queue."),
    "job_definitions": ("--job-definition", "Batch job definition."),
    "container_log_groups": ("--container-log-group", "Log group of the containers' output (awslogs)."),
    "remote_log_groups": ("--remote-log-group", "CloudWatch log group of Airflow's remote logs."),
    "repositories": ("--repository", "ECR repository of the image."),
    "secrets": ("--secret", "ARN of a secret that the definition passes to the container."),
    "secret_prefixes": ("--secret-prefix", "Prefix of secrets with connections or variables (secrets-backend)."),
}
FLAGS: dict[str, tuple[str, str]] = {
    "warm": ("--warm", "[skylift] warm_seconds is set."),
}
ONE: dict[str, tuple[str, str]] = {
    "cluster": ("--cluster", "Name or ARN of the ECS cluster."),
    "payload_url": ("--payload-url", "[skylift] payload_url: s3://bucket/prefix."),
    "events_queue": ("--events-queue", "[skylift] events_queue: name or ARN of the SQS queue."),
    "remote_log_url": ("--remote-log-url", "s3://bucket/prefix of Airflow's remote logs."),
}


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for one in reversed(fields(Uses)):
        if one.name in MANY:
            flag, text = MANY[one.name]
            option = click.option(flag, one.name, multiple=True, help=f"{text} May be repeated.")
        elif one.name in FLAGS:
            flag, text = FLAGS[one.name]
            option = click.option(flag, one.name, is_flag=True, help=text)
        else:
            flag, text = ONE[one.name]
            option = click.option(flag, one.name, default="", help=text)
        command = option(command)
    return command


@click.command(name="iam-policy")
@click.argument("role", type=click.Choice([*ROLES, "trust", FARGATE]), required=False)
@click.option("--name", default="airflow", show_default=True, help="With fargate: the NAME.")
@click.option("--observed", is_flag=True, help="Print the least policy of what users and roles did here.")
@click.option("--principal", default="", help="With --observed: only this user or role, by name or ARN.")
@click.option("--since", default="", help="With --observed: since then, e.g. 10m (ago) or 2026-11-30T18:00.")
@click.option("--json", "calls", is_flag=True, help="With --observed: print the calls, with what was denied.")
@click.option("--account", help="AWS account id, 12 digits.")
@click.option("--region", help="AWS region.")
@click.option(
    "--partition",
    default="",
    help="AWS partition; needed only for a region that is newer than this version of skylift.",
)
@_options
def iam_policy(
    role: str | None,
    name: str,
    observed: bool,
    principal: str,
    since: str,
    calls: bool,
    account: str | None,
    region: str | None,
    partition: str,
    **uses: Any,
) -> None:
    """Print the IAM policy of ROLE as JSON, least privilege, for Airflow with skylift's executors.

    ROLE is scheduler (for Airflow's scheduler), task-role (for code in the container), execution-role (for ECS
    itself, which starts the container), secrets-backend (to read connections and variables from Secrets Manager),
    fargate (for whoever runs skylift fargate), or trust (the trust policy of task-role and execution-role).

    With --observed instead of ROLE: what ran in the local cloud since its start, if skylift up was given
    --observe-iam or --enforce-iam.

    \b
    aws iam put-role-policy --role-name airflow-scheduler --policy-name skylift --policy-document "$(
      skylift iam-policy scheduler --account 123456789012 --region eu-central-1 --cluster airflow
        --task-definition airflow-task --pass-role airflow-task --pass-role airflow-execution)"
    """
    if observed is (role is not None):
        raise click.UsageError("Give a ROLE, or --observed.")
    if not observed and (principal or since or calls):
        raise click.UsageError("--principal, --since and --json need --observed.")
    if observed:
        from skylift.cli import observed_calls  # lazy: only this needs a local cloud

        document = observed_calls.observed(principal, since, calls=calls)
    elif role == "trust":
        document = iam_policies.trust_policy()
    elif not account or not region:
        raise click.UsageError("Give --account and --region: the policy contains ARNs.")
    elif role == FARGATE:
        document = deployer_policy(PolicyScope(account, region, partition), name)
    else:
        document = ROLES[str(role)](PolicyScope(account, region, partition), Uses(**uses))
    click.echo(json.dumps(document, indent=2))
