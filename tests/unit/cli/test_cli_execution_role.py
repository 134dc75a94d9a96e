"""The roles: each allows every call that is made with it, on its own resources only."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.control_scenes import ROLE, context

from skylift.cli.execution_role import EnvironmentScope, policy, task_execution_policy
from skylift.control.blueprint import EXECUTOR_ROLE
from skylift.control.definitions import definition
from skylift.control.part_context import batch_place
from skylift.core.containers import Command
from skylift.core.names import TASK_EXECUTION_ROLE

pytestmark = pytest.mark.unit
SRC = Path(__file__).parents[3] / "src" / "skylift"
PLACE = EnvironmentScope("flight", "flight-bucket", "control", "skylift", "000000000000", "us-east-1")
HERE = ":us-east-1:000000000000:"
ACTION = {"list_objects_v2": "s3:ListBucket", "get_object": "s3:GetObject", "put_object": "s3:PutObject"}
DO_NOT_EXIST = {"s3:ListBucket", "airflow:PublishMetrics", "iam:PassRole", "s3:GetAccountPublicAccessBlock"}
"""Actions that are no operations of their service (S3's are named otherwise, others are rights only)."""


def effect(action: str, resource: str, document: dict[str, Any] | None = None) -> str:
    """What a policy (default: the environment's) says, conditions taken as met: Deny, Allow, or "" for nothing."""
    matching = [
        one["Effect"]
        for one in (document or policy(PLACE))["Statement"]
        if any(fnmatchcase(action, pattern) for pattern in one["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in one["Resource"])
    ]
    return "Deny" if "Deny" in matching else "Allow" if matching else ""


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObjectVersion", "arn:aws:s3:::flight-bucket/requirements.txt"),
        ("s3:ListBucket", "arn:aws:s3:::flight-bucket"),
        ("s3:PutObject", "arn:aws:s3:::control/layers/flight/0123/layer.tar.gz"),
        ("s3:GetObject", "arn:aws:s3:::control/layers/flight/0123/layer.tar.gz"),
        ("s3:PutObject", "arn:aws:s3:::control/workloads/flight/0123.json"),
        ("s3:GetObject", "arn:aws:s3:::control/workloads/flight/0123.json"),
        ("s3:DeleteObject", "arn:aws:s3:::control/workloads/flight/0123.json"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager{HERE}secret:skylift/flight/options-AbCdEf"),
        ("logs:PutLogEvents", f"arn:aws:logs{HERE}log-group:airflow-flight-Task:log-stream:x"),
        ("logs:CreateLogStream", f"arn:aws:logs{HERE}log-group:/skylift/flight:log-stream:x"),
        ("logs:GetLogEvents", f"arn:aws:logs{HERE}log-group:airflow-flight-Task:log-stream:x"),
        ("ecs:RunTask", f"arn:aws:ecs{HERE}task-definition/skylift-flight-task:7"),
        ("ecs:TagResource", f"arn:aws:ecs{HERE}task/skylift/0123"),
        ("iam:PassRole", "arn:aws:iam::000000000000:role/skylift-flight"),
    ],
)
def test_what_containers_do_is_allowed(action: str, resource: str) -> None:
    assert effect(action, resource) == "Allow"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", "arn:aws:s3:::other-bucket/dags/secret.py"),
        ("s3:GetObject", "arn:aws:s3:::control/workloads/other/0123.json"),
        ("s3:DeleteObject", "arn:aws:s3:::control/workloads/other/0123.json"),
        ("s3:PutObject", "arn:aws:s3:::control/layers/other/0123/layer.tar.gz"),
        ("s3:DeleteObject", "arn:aws:s3:::control/layers/flight/0123/layer.tar.gz"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager{HERE}secret:skylift/postgres-AbCdEf"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager{HERE}secret:skylift/flight/airflow-AbCdEf"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager{HERE}secret:skylift/flight/database-AbCdEf"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager{HERE}secret:skylift/token-key-AbCdEf"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager{HERE}secret:skylift/other/database-AbCdEf"),
        ("logs:GetLogEvents", f"arn:aws:logs{HERE}log-group:airflow-other-Task:log-stream:x"),
        ("ecs:RunTask", f"arn:aws:ecs{HERE}task-definition/skylift-other-task:1"),
        ("ecs:RunTask", f"arn:aws:ecs{HERE}task-definition/skylift-flight-scheduler:1"),
        ("iam:PassRole", "arn:aws:iam::000000000000:role/skylift_task_execution"),
        ("ecs:StopTask", f"arn:aws:ecs{HERE}task/another-cluster/0123"),
        ("ecs:RegisterTaskDefinition", "*"),
        ("iam:PassRole", "arn:aws:iam::000000000000:role/admin"),
    ],
)
def test_what_is_not_theirs_is_not(action: str, resource: str) -> None:
    assert effect(action, resource) == ""


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("skylift/flight/airflow-AbCdEf", "Allow"),
        ("skylift/other/database-AbCdEf", "Allow"),
        ("skylift/postgres-AbCdEf", ""),
        ("elsewhere-AbCdEf", ""),
    ],
)
def test_ecs_reads_the_secrets_of_environments_and_no_others(resource: str, expected: str) -> None:
    document = task_execution_policy("000000000000", "us-east-1")
    assert (
        effect("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager{HERE}secret:{resource}", document) == expected
    )
    assert effect("logs:PutLogEvents", f"arn:aws:logs{HERE}log-group:airflow-x-Task:log-stream:y", document) == "Allow"
    assert effect("ecr:BatchGetImage", "*", document) == "Allow"
    assert effect("s3:GetObject", "arn:aws:s3:::control/layers/other/0123/layer.tar.gz", document) == ""


def test_the_role_that_reads_keys_is_no_containers_own() -> None:
    for role in (*Command, EXECUTOR_ROLE):
        request = definition(context(), role)
        assert request["taskRoleArn"] == ROLE
        secret = {one["name"] for one in request["containerDefinitions"][0]["secrets"]}
        started = f"arn:aws:iam::000000000000:role/{TASK_EXECUTION_ROLE}" if secret else ROLE
        assert request["executionRoleArn"] == started, role


def test_buckets_of_others_are_not_even_listed() -> None:
    assert effect("s3:ListAllMyBuckets", "*") == "Deny"


def test_every_call_in_the_code_of_containers_is_granted() -> None:
    granted = [action for one in policy(PLACE)["Statement"] if one["Effect"] == "Allow" for action in one["Action"]]
    for file, service, name in (("ecs/tasks.py", "ecs", "_client"), ("s3_objects.py", "s3", "_s3")):
        text = (SRC / "aws" / file).read_text()
        calls = set(re.findall(rf"self\.{name}\.(?:get_paginator\(\")?(?!get_paginator)(\w+)", text))
        assert len(calls) >= 3
        for call in calls:
            action = ACTION.get(call) or f"{service}:{''.join(word.title() for word in call.split('_'))}"
            assert any(fnmatchcase(action, pattern) for pattern in granted), action


def test_every_action_is_one_of_aws() -> None:
    known: dict[str, Any] = {
        service: set(boto3.client(service, region_name="us-east-1").meta.service_model.operation_names)
        for service in ("s3", "secretsmanager", "logs", "ecs", "batch", "ecr", "cloudwatch")
    }
    every = [*policy(PLACE)["Statement"], *task_execution_policy("000000000000", "us-east-1")["Statement"]]
    for one in every:
        for action in set(one["Action"]) - DO_NOT_EXIST:
            service, _, name = action.partition(":")
            assert [it for it in known[service] if fnmatchcase(it, name)] or name == "ListAllMyBuckets", action


def test_a_name_that_batch_does_not_take_is_allowed_as_batch_has_it() -> None:
    place = replace(PLACE, environment="my_flight.2")
    for kind in ("job-queue", "job-definition"):
        arn = f"arn:aws:batch{HERE}{kind}/{batch_place('my_flight.2')}"
        assert effect("batch:SubmitJob", arn, policy(place)) == "Allow"
