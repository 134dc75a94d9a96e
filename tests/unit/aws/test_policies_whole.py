"""The IAM policies that skylift prints or gives to roles, in full. The local cloud takes any, so only AWS would notice a
word that is wrong, and somebody else a word too many."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.whole_answers import Story, compared

from skylift.aws.iam_policies import (
    PolicyScope,
    Uses,
    execution_role_policy,
    scheduler_policy,
    task_role_policy,
    trust_policy,
)
from skylift.cli import execution_role
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit
FILES = Path(__file__).parent / "answers"
HERE = PolicyScope("111122223333", "eu-central-1")
ECS = Uses(
    cluster="airflow",
    task_definitions=("airflow-task:7", "arn:aws:ecs:eu-central-1:111122223333:task-definition/gpu:1"),
    pass_roles=("execution", "arn:aws:iam::111122223333:role/task"),
    container_log_groups=("/ecs/airflow",),
    repositories=("airflow", "arn:aws:ecr:us-east-1:111122223333:repository/gpu"),
    secrets=("arn:aws:secretsmanager:eu-central-1:111122223333:secret:db-x",),
)
ALL = Uses(
    cluster="airflow",
    task_definitions=("airflow-task",),
    pass_roles=("execution",),
    job_queues=("q", "arn:aws:batch:eu-central-1:111122223333:job-queue/r"),
    job_definitions=("d:3", "e"),
    payload_url="s3://bucket/prefix",
    warm=True,
    events_queue="arn:aws:sqs:eu-central-1:111122223333:events",
    container_log_groups=("/ecs/airflow",),
    remote_log_groups=("airflow-logs",),
    remote_log_url="s3://logs/airflow",
    repositories=("airflow",),
)
BATCH = Uses(job_queues=("q",), job_definitions=("d",), events_queue="events", payload_url="s3://bucket")


def test_what_people_give_to_their_roles() -> None:
    told = Story()
    for name, uses in (("ecs", ECS), ("batch", BATCH), ("all", ALL)):
        told[f"{name}: scheduler"] = scheduler_policy(HERE, uses)
        for what, policy in (("task role", task_role_policy), ("execution role", execution_role_policy)):
            try:
                told[f"{name}: {what}"] = policy(HERE, uses)
            except Refused as error:
                told[f"{name}: {what}"] = str(error)
    told["in China"] = scheduler_policy(PolicyScope("111122223333", "cn-north-1"), ECS)
    told["trust"] = trust_policy()
    with pytest.raises(Refused, match="name what the executor uses: --cluster and --task-definition, or --job-queue"):
        scheduler_policy(HERE, Uses())
    compared(told, FILES / "iam_policies.json")


def test_what_environments_give_to_theirs() -> None:
    scope = execution_role.EnvironmentScope(
        "flight", "flight-bucket", "control", "skylift", "111122223333", "eu-west-1"
    )
    told = Story()
    told["execution role"] = execution_role.policy(scope)
    told["task execution role"] = execution_role.task_execution_policy("111122223333", "eu-west-1")
    told["trust"] = execution_role.TRUST
    told["trust of ECS"] = execution_role.TRUST_ECS
    told["name"] = execution_role.role_name("e" * 80)
    compared(told, FILES / "environment_roles.json")
