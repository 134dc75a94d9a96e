"""What the control plane creates for Batch jobs: a compute environment, its queue, a job definition. All have one
name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling

GONE = frozenset({"DELETED", "DELETING"})


@dataclass(frozen=True)
class BatchResource:
    """A compute environment or a queue as it stands; state is ENABLED or DISABLED, status VALID, CREATING, INVALID,
    DELETING …

    Attributes:
        resources: ``computeResources`` of a compute environment.
    """

    state: str
    status: str
    reason: str
    resources: Mapping[str, Any]


class BatchPlaces:
    """The calls. Every method raises ``Refused`` or ``Unavailable``; making what is there is not an error, nor is
    removing what is not."""

    def __init__(self, region: str) -> None:
        self._batch = client("batch", region=region)

    def environment(self, name: str) -> BatchResource | None:
        """The compute environment of that name."""
        with calling(f"batch DescribeComputeEnvironments {name}"):
            answer = self._batch.describe_compute_environments(computeEnvironments=[name])
        return _place(answer.get("computeEnvironments") or [])

    def queue(self, name: str) -> BatchResource | None:
        """The job queue of that name."""
        with calling(f"batch DescribeJobQueues {name}"):
            answer = self._batch.describe_job_queues(jobQueues=[name])
        return _place(answer.get("jobQueues") or [])

    def definition(self, name: str) -> Mapping[str, Any] | None:
        """The newest active revision of the job definition of that name, as Batch describes it."""
        return max(self._active(name), key=lambda one: int(one["revision"]), default=None)

    def make_environment(self, name: str, resources: Mapping[str, Any]) -> None:
        """Makes a compute environment on Fargate; ``resources`` are maxvCpus, subnets and securityGroupIds."""
        given = {"type": "FARGATE", **resources}
        self._make("create_compute_environment", computeEnvironmentName=name, type="MANAGED", computeResources=given)

    def change_environment(self, name: str, resources: Mapping[str, Any]) -> None:
        """Gives a compute environment other resources; what runs goes on."""
        with calling(f"batch UpdateComputeEnvironment {name}"):
            self._batch.update_compute_environment(computeEnvironment=name, computeResources=dict(resources))

    def make_queue(self, name: str) -> None:
        """Makes a queue on the compute environment of the same name, which must be VALID."""
        order = [{"order": 1, "computeEnvironment": name}]
        self._make("create_job_queue", jobQueueName=name, priority=1, computeEnvironmentOrder=order)

    def register(self, request: Mapping[str, Any]) -> str:
        """Registers a revision of a job definition; its ARN."""
        with calling(f"batch RegisterJobDefinition {request['jobDefinitionName']}"):
            return str(self._batch.register_job_definition(**request)["jobDefinitionArn"])

    def delete_queue(self, name: str) -> None:
        """One step towards no queue: disables it, or deletes it with all its jobs."""
        found = self.queue(name)
        if found is None or found.status in {*GONE, "UPDATING"}:
            return
        with calling(f"batch DeleteJobQueue {name}"):
            if found.state == "ENABLED":
                self._batch.update_job_queue(jobQueue=name, state="DISABLED")
            else:
                self._batch.delete_job_queue(jobQueue=name)

    def delete_environment(self, name: str) -> None:
        """One step towards no compute environment, once its queue is gone."""
        found = self.environment(name)
        if found is None or found.status in {*GONE, "UPDATING"}:
            return
        with calling(f"batch DeleteComputeEnvironment {name}"):
            if found.state == "ENABLED":
                self._batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
            else:
                self._batch.delete_compute_environment(computeEnvironment=name)

    def deregister(self, name: str) -> None:
        """Makes all revisions of a job definition inactive."""
        for one in self._active(name):
            with calling(f"batch DeregisterJobDefinition {one['jobDefinitionArn']}"):
                self._batch.deregister_job_definition(jobDefinition=one["jobDefinitionArn"])

    def _active(self, name: str) -> list[dict[str, Any]]:
        with calling(f"batch DescribeJobDefinitions {name}"):
            pages = self._batch.get_paginator("describe_job_definitions").paginate(
                jobDefinitionName=name, status="ACTIVE"
            )
            return [one for page in pages for one in page.get("jobDefinitions") or []]

    def _make(self, operation: str, **request: Any) -> None:
        with calling(f"batch {operation}"):
            try:
                getattr(self._batch, operation)(**request)
            except ClientError as error:
                if "already exists" not in str(error):
                    raise


def _place(found: Sequence[Mapping[str, Any]]) -> BatchResource | None:
    alive = [one for one in found if one.get("status") != "DELETED"]
    if not alive:
        return None
    one = alive[0]
    return BatchResource(
        one.get("state", ""), one.get("status", ""), one.get("statusReason", ""), one.get("computeResources") or {}
    )
