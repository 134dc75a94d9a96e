"""The code under test: runs the report on some orders, as an ECS task on Fargate or as an AWS Batch job."""

import time
import uuid

import boto3
from botocore.exceptions import ConnectionClosedError

IMAGE = "my/orders:1"
ROLE = "arn:aws:iam::000000000000:role/orders"
NETWORK = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}


class ReportFailed(Exception):
    """The container did not exit with 0."""


def sum_on_ecs(bucket: str, key: str) -> int:
    """Runs the report as an ECS task and waits for it. An answer that got lost is asked for again with the same
    token."""
    ecs, request = boto3.client("ecs"), _run_task(bucket, key)
    while True:
        try:
            answer = ecs.run_task(**request)
            break
        except ConnectionClosedError:
            continue
    if answer["failures"]:
        raise ReportFailed(answer["failures"][0]["reason"])
    task = answer["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 1})
    ended = ecs.describe_tasks(tasks=[task])["tasks"][0]
    if ended["containers"][0].get("exitCode") != 0:
        raise ReportFailed(ended["stoppedReason"])
    return _result(bucket, key)


def sum_on_batch(bucket: str, key: str, queue: str, definition: str) -> int:
    """Runs the report as a Batch job and waits for it."""
    batch = boto3.client("batch")
    job = batch.submit_job(
        jobName="orders",
        jobQueue=queue,
        jobDefinition=definition,
        containerOverrides={
            "command": ["python", "-m", "report", key],
            "environment": [{"name": "BUCKET", "value": bucket}],
        },
    )["jobId"]
    while (found := batch.describe_jobs(jobs=[job])["jobs"][0])["status"] not in {"SUCCEEDED", "FAILED"}:
        time.sleep(0.2)
    if found["status"] == "FAILED":
        raise ReportFailed(found["statusReason"])
    return _result(bucket, key)


def register() -> None:
    """The task definition; in your project Terraform or CDK does it."""
    boto3.client("ecs").register_task_definition(
        family="orders",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        taskRoleArn=ROLE,
        containerDefinitions=[{"name": "report", "image": IMAGE, "command": ["python", "-m", "report"]}],
    )


def _run_task(bucket: str, key: str) -> dict:
    container = {
        "name": "report",
        "command": ["python", "-m", "report", key],
        "environment": [{"name": "BUCKET", "value": bucket}],
    }
    return {
        "taskDefinition": "orders",
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": NETWORK},
        "overrides": {"containerOverrides": [container]},
        "clientToken": str(uuid.uuid4()),
    }


def _result(bucket: str, key: str) -> int:
    return int(boto3.client("s3").get_object(Bucket=bucket, Key=f"{key}.sum")["Body"].read())
