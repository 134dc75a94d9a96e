"""A job's containers: the job definition with the submission's overrides, and what ECS gets for it. Pure.

Each revision of a job definition becomes one ECS task definition; a job's overrides go into the overrides of
its ECS task.
Sources: "Job definition parameters", "Job environment variables" in the AWS Batch user guide; API reference of
SubmitJob.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.localcloud.batch.model import BatchJob, SubmittedJob
from skylift.localcloud.ports import Document

CONTAINER = "default"
"""Name of the container of a job definition with ``containerProperties``."""
LOG_GROUP = "/aws/batch/job"
_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")
_LEGACY = {"VCPU": "vcpus", "MEMORY": "memory"}
_TO_ECS = ("image", "environment", "secrets", "ulimits", "user", "readonlyRootFilesystem", "privileged", "mountPoints")
_TO_ECS_OF_TASK = ("dependsOn", "essential", "startTimeout", "stopTimeout", "firelensConfiguration")
_SHOWN_OVERRIDES = ("command", "environment", "instanceType")


@dataclass(frozen=True)
class Size:
    """What a job takes: vCPUs and MiB."""

    vcpus: float
    memory: int


def on_fargate(definition: Document) -> bool:
    """Whether the job definition is for Fargate."""
    return "FARGATE" in definition.get("platformCapabilities", ())


def written(definition: Document) -> list[Document]:
    """The containers of a job definition, each with its name."""
    if "containerProperties" in definition:
        return [{"name": CONTAINER, **definition["containerProperties"]}]
    return [_named(item, number) for number, item in enumerate(_task_properties(definition)["containers"])]


def effective(definition: Document, request: Mapping[str, Any]) -> list[Document]:
    """The containers with SubmitJob's overrides, in Batch's format, with parameters filled in."""
    parameters = {**definition.get("parameters", {}), **request.get("parameters", {})}
    changes = _overrides(request)
    return [_overridden(item, changes.get(item["name"], {}), parameters) for item in written(definition)]


def overridden_names(request: Mapping[str, Any]) -> set[str]:
    """Names of the containers that SubmitJob overrides."""
    return set(_overrides(request))


def size_of(containers: Sequence[Document]) -> Size:
    """The sum of what containers ask for. Raises ``ValueError`` for text that is not a number."""
    return Size(
        sum(_number(_asked(item, "VCPU")) for item in containers),
        sum(int(_number(_asked(item, "MEMORY"))) for item in containers),
    )


def _number(text: str | None) -> float:
    value = float(text or 0)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def ecs_request(definition: Document, region: str) -> Document:
    """RegisterTaskDefinition's request for a revision of a job definition."""
    containers = written(definition)
    size = size_of(containers)
    fargate = on_fargate(definition)
    properties = _properties(definition)
    request: Document = {
        "family": f"AWSBatch-{definition['jobDefinitionName']}",
        "networkMode": "awsvpc" if fargate else "host",
        "requiresCompatibilities": ["FARGATE" if fargate else "EC2"],
        "containerDefinitions": [_ecs_container(item, definition["jobDefinitionName"], region) for item in containers],
        "volumes": properties.get("volumes", []),
    }
    if fargate:
        request |= {"cpu": str(round(size.vcpus * 1024)), "memory": str(size.memory)}
    role = properties.get("jobRoleArn") or properties.get("taskRoleArn")
    extra = {"taskRoleArn": role, "executionRoleArn": properties.get("executionRoleArn")}
    extra |= {name: properties.get(name) for name in ("ephemeralStorage", "runtimePlatform")}
    return {**request, **{name: value for name, value in extra.items() if value}}


def ecs_overrides(definition: Document, job: BatchJob, queue: str, compute_environment: str) -> Document:
    """``overrides`` of the ECS task of a job's next attempt."""
    containers = effective(definition, job.submission.request)
    own = batch_environment(job, queue, compute_environment)
    overrides: Document = {"containerOverrides": [_ecs_override(item, own) for item in containers]}
    if on_fargate(definition):
        size = size_of(containers)
        overrides |= {"cpu": str(round(size.vcpus * 1024)), "memory": str(size.memory)}
    return overrides


def batch_environment(job: BatchJob, queue: str, compute_environment: str) -> list[dict[str, str]]:
    """The variables that Batch sets in every container of a job."""
    values = {
        "AWS_BATCH_CE_NAME": compute_environment,
        "AWS_BATCH_JOB_ATTEMPT": str(len(job.attempts) + 1),
        "AWS_BATCH_JOB_ID": job.id,
        "AWS_BATCH_JQ_NAME": queue,
    }
    if job.index >= 0:
        values |= {
            "AWS_BATCH_JOB_ARRAY_INDEX": str(job.index),
            "AWS_BATCH_JOB_ARRAY_SIZE": str(job.submission.size),
        }
    return [{"name": name, "value": value} for name, value in values.items()]


def ecs_tags(definition: Document, submission: SubmittedJob) -> list[dict[str, str]]:
    """Tags of the ECS task: the job's and its definition's, if they are to be propagated; the job's win."""
    propagate = submission.request.get("propagateTags", definition.get("propagateTags", False))
    tags = {**definition.get("tags", {}), **submission.tags} if propagate else {}
    return [{"key": key, "value": value} for key, value in tags.items()]


def _named(item: Document, number: int) -> Document:
    """Like Batch, names a container without a name after its position in the list."""
    return {"name": item.get("name") or f"container_{number}", **item}


def _task_properties(definition: Document) -> Document:
    return dict(definition["ecsProperties"]["taskProperties"][0])


def _properties(definition: Document) -> Document:
    return dict(definition.get("containerProperties") or _task_properties(definition))


def _overrides(request: Mapping[str, Any]) -> dict[str, Document]:
    if override := request.get("containerOverrides"):
        return {CONTAINER: override}
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", ())
    return {item.get("name", ""): item for task in tasks for item in task.get("containers", ())}


def _overridden(item: Document, change: Document, parameters: Mapping[str, str]) -> Document:
    changed = {**item, **{name: change[name] for name in _SHOWN_OVERRIDES if change.get(name)}}
    if "environment" in change:
        pairs = {pair.get("name", ""): pair for pair in (*item.get("environment", ()), *change["environment"])}
        changed["environment"] = list(pairs.values())
    asked = {
        one["type"]: one for one in (*item.get("resourceRequirements", ()), *change.get("resourceRequirements", ()))
    }
    for kind, member in _LEGACY.items():
        if member in change and kind not in asked:
            changed[member] = change[member]
        elif any(one["type"] == kind for one in change.get("resourceRequirements", ())):
            changed.pop(member, None)
    changed["resourceRequirements"] = list(asked.values())
    if "command" in changed:
        changed["command"] = [_put_in(word, parameters) for word in changed["command"]]
    return changed


def _put_in(word: str, parameters: Mapping[str, str]) -> str:
    """``Ref::name`` becomes the parameter's value; without such a parameter it stays."""
    return _REFERENCE.sub(lambda match: parameters.get(match[1], match[0]), word)


def _asked(item: Document, kind: str) -> str | None:
    for one in item.get("resourceRequirements", ()):
        if one["type"] == kind:
            return str(one["value"])
    value = item.get(_LEGACY[kind])
    return None if value is None else str(value)


def _ecs_container(item: Document, prefix: str, region: str) -> Document:
    size = size_of([item])
    container = {name: item[name] for name in (*_TO_ECS, *_TO_ECS_OF_TASK) if name in item}
    container |= {
        "name": item["name"],
        "cpu": round(size.vcpus * 1024),
        "logConfiguration": _logging(item, prefix, region),
    }
    if size.memory:
        container["memory"] = size.memory
    if "command" in item:
        container["command"] = item["command"]
    return container


def _logging(item: Document, prefix: str, region: str) -> Document:
    """Where the output goes; Batch's own log group if the job definition does not say."""
    said = item.get("logConfiguration")
    if said and said["logDriver"] != "awslogs":
        return dict(said)
    options = dict(said.get("options", {})) if said else {}
    own = {} if "awslogs-group" in options else {"awslogs-group": LOG_GROUP, "awslogs-create-group": "true"}
    return {
        "logDriver": "awslogs",
        "options": {"awslogs-region": region, "awslogs-stream-prefix": prefix, **own, **options},
    }


def _ecs_override(item: Document, own: Sequence[dict[str, str]]) -> Document:
    """The whole effective container, because the ECS task definition is only a base; Batch's own variables come
    last."""
    size = size_of([item])
    override: Document = {
        "name": item["name"],
        "environment": [*item.get("environment", ()), *own],
        "cpu": round(size.vcpus * 1024),
    }
    if size.memory:
        override["memory"] = size.memory
    if item.get("command"):
        override["command"] = item["command"]
    return override
