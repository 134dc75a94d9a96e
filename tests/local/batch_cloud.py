"""Batch on the local cloud of tests: one compute environment, one queue, short ways to submit and to wait."""

from __future__ import annotations

from typing import Any

from tests.local.ecs_cloud import ACCOUNT, IMAGE, wait_for

SUBNETS = {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/start"
SMALL = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
ENDED = ("SUCCEEDED", "FAILED")


def prepare(batch: Any, name: str = "q", vcpus: int = 64, kind: str = "FARGATE", priority: int = 1) -> None:
    """A compute environment ``{name}-ce`` and a queue ``name``."""
    resources = {"type": kind, "maxvCpus": vcpus, **SUBNETS}
    batch.create_compute_environment(computeEnvironmentName=f"{name}-ce", type="MANAGED", computeResources=resources)
    order = [{"order": 1, "computeEnvironment": f"{name}-ce"}]
    batch.create_job_queue(jobQueueName=name, priority=priority, computeEnvironmentOrder=order)


def define(batch: Any, *command: str, name: str = "work", **members: Any) -> str:
    """Registers a job definition for Fargate; ``members`` go to the container, but those of the definition to it."""
    top = {
        key: members.pop(key)
        for key in ("retryStrategy", "timeout", "parameters", "tags", "propagateTags")
        if key in members
    }
    container = {
        "image": IMAGE,
        "command": list(command),
        "resourceRequirements": SMALL,
        "executionRoleArn": ROLE,
        "jobRoleArn": f"arn:aws:iam::{ACCOUNT}:role/work",
        **members,
    }
    answer = batch.register_job_definition(
        jobDefinitionName=name, type="container", platformCapabilities=["FARGATE"], containerProperties=container, **top
    )
    return str(answer["jobDefinitionArn"])


def submit(batch: Any, definition: str = "work", queue: str = "q", name: str = "one", **members: Any) -> str:
    return str(batch.submit_job(jobName=name, jobQueue=queue, jobDefinition=definition, **members)["jobId"])


def job(batch: Any, name: str) -> dict[str, Any]:
    return dict(batch.describe_jobs(jobs=[name])["jobs"][0])


def until(batch: Any, name: str, *states: str, seconds: float = 30) -> dict[str, Any]:
    """The job once it is in one of the states (default: over)."""
    found: dict[str, Any] = {}

    def reached() -> bool:
        found.clear()
        found.update(job(batch, name))
        return found["status"] in (states or ENDED)

    wait_for(reached, seconds, lambda: str(found))
    return found
