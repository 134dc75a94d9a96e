"""Batch's actions and resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skylift.localcloud.iam.actions.call import ECS_TASKS, ApiCall, Need, OperationNeeds, arns, member, pass_role


def _submitted(call: ApiCall) -> Iterable[str]:
    reference = call.text("jobDefinition")
    definition = call.lookups.job_definition(reference).get("jobDefinitionArn")
    return [
        definition or call.named("job-definition", reference),
        call.named("job-queue", call.text("jobQueue")),
    ]


def _submit_further(call: ApiCall) -> Iterable[Need]:
    """Tags need a right of their own. The roles were handed over when the job definition was registered."""
    return [Need("batch:TagResource", call.arn("job/*"))] if call.members.get("tags") else []


def _register_further(call: ApiCall) -> Iterable[Need]:
    yield from (pass_role(one, ECS_TASKS) for one in job_roles(call.members))
    if call.members.get("tags"):
        yield Need("batch:TagResource", call.named("job-definition", call.text("jobDefinitionName")))


def job_roles(definition: Mapping[str, Any]) -> list[str]:
    """The roles that a job definition's containers get: the job's and the execution role."""
    ecs = definition.get("ecsProperties") or {}
    parts = [definition.get("containerProperties") or {}, *(ecs.get("taskProperties") or ())]
    words = ("jobRoleArn", "taskRoleArn", "executionRoleArn")
    return list(dict.fromkeys(str(part[word]) for part in parts for word in words if part.get(word)))


def _created_environment(call: ApiCall) -> Iterable[Need]:
    if role := call.text("serviceRole"):
        yield pass_role(role, "batch.amazonaws.com")
    if call.members.get("tags"):
        yield Need("batch:TagResource", call.named("compute-environment", call.text("computeEnvironmentName")))


def _created_queue(call: ApiCall) -> Iterable[str]:
    return [call.named("job-queue", call.text("jobQueueName")), *_environments(call)]


def _updated_queue(call: ApiCall) -> Iterable[str]:
    return [call.named("job-queue", call.text("jobQueue")), *_environments(call)]


def _environments(call: ApiCall) -> list[str]:
    order = call.members.get("computeEnvironmentOrder") or ()
    return [call.named("compute-environment", str(one["computeEnvironment"])) for one in order]


def _job(call: ApiCall) -> Iterable[str]:
    """A child of an array job is judged by its parent."""
    return [call.arn(f"job/{call.text('jobId').partition(':')[0]}")]


_TAGS = OperationNeeds(arns("resourceArn"))

BATCH: Mapping[str, OperationNeeds] = {
    "SubmitJob": OperationNeeds(_submitted, further=_submit_further),
    "TerminateJob": OperationNeeds(_job),
    "CancelJob": OperationNeeds(_job),
    "RegisterJobDefinition": OperationNeeds(member("job-definition", "jobDefinitionName"), further=_register_further),
    "DeregisterJobDefinition": OperationNeeds(member("job-definition", "jobDefinition")),
    "CreateComputeEnvironment": OperationNeeds(
        member("compute-environment", "computeEnvironmentName"), further=_created_environment
    ),
    "UpdateComputeEnvironment": OperationNeeds(member("compute-environment", "computeEnvironment")),
    "DeleteComputeEnvironment": OperationNeeds(member("compute-environment", "computeEnvironment")),
    "CreateJobQueue": OperationNeeds(_created_queue),
    "UpdateJobQueue": OperationNeeds(_updated_queue),
    "DeleteJobQueue": OperationNeeds(member("job-queue", "jobQueue")),
    "GetJobQueueSnapshot": OperationNeeds(member("job-queue", "jobQueue")),
    "CreateSchedulingPolicy": OperationNeeds(member("scheduling-policy", "name")),
    "UpdateSchedulingPolicy": OperationNeeds(arns("arn")),
    "DeleteSchedulingPolicy": OperationNeeds(arns("arn")),
    "TagResource": _TAGS,
    "UntagResource": _TAGS,
    "ListTagsForResource": _TAGS,
}
"""By operation; every other supports no resources."""
