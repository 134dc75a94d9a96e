"""For Airflow tasks that run as Batch jobs: compute environment, queue and job definition, all with one
name.

Only for environments whose ``core.executor`` names ``AwsBatchExecutor``. The job definition is made from the ECS task
definition of the executor's role, so that an Airflow task has the same environment in both.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.batch.resources import BatchPlaces, BatchResource
from skylift.control.api.validation import CLASSES
from skylift.control.blueprint import EXECUTOR_ROLE, Part
from skylift.control.definitions import DIGEST_LABEL, definition, digest_of
from skylift.control.part_context import PartContext, batch_place, digest
from skylift.control.patches import is_older
from skylift.control.plan import Failure, PartPhase, Seen


class BatchParts:
    """Parts of kind BATCH."""

    def __init__(self, places: BatchPlaces) -> None:
        self._places = places

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._leaving(context) if context.leaving else self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        """See ``Parts``. The queue is created in a later pass, when its compute environment is VALID."""
        name = batch_place(context.spec.name)
        environment, request = self._places.environment(name), job_definition(context)
        if environment is None:
            self._places.make_environment(name, resources(context))
        elif environment.status == "VALID" and not _same(environment, context):
            self._places.change_environment(name, resources(context))
        elif environment.status == "VALID" and self._places.queue(name) is None:
            self._places.make_queue(name)
        if not self._registered(request):
            self._places.register(request)
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        """See ``Parts``. Batch deletes in steps, one per pass; deleting the queue also deletes its jobs."""
        name = batch_place(context.spec.name)
        self._places.deregister(name)
        if self._places.queue(name):
            self._places.delete_queue(name)
        else:
            self._places.delete_environment(name)

    def _look(self, context: PartContext) -> Seen:
        name = batch_place(context.spec.name)
        environment, queue = self._places.environment(name), self._places.queue(name)
        for what, found in (("compute environment", environment), ("job queue", queue)):
            if found and found.status == "INVALID":
                return Seen(PartPhase.FAILED, fault=Failure("BATCH_FAILED", f"Batch's {what} {name}: {found.reason}"))
        if environment is None:
            return Seen(PartPhase.ABSENT)
        if queue is None and environment.status == "VALID":
            return Seen(PartPhase.DIFFERENT, note="the job queue is to be made")
        if queue is None or environment.status != "VALID" or queue.status != "VALID":
            return Seen(PartPhase.MOVING)
        if not _same(environment, context):
            return Seen(PartPhase.DIFFERENT, note="the compute environment is not as wanted")
        kept = context.keeps and is_older(context, EXECUTOR_ROLE)  # a newer skylift's comes with a patch
        if not kept and not self._registered(job_definition(context)):
            return Seen(PartPhase.DIFFERENT, note="the job definition is not as wanted")
        return Seen(PartPhase.READY)

    def _leaving(self, context: PartContext) -> Seen:
        name = batch_place(context.spec.name)
        there = self._places.environment(name) or self._places.queue(name) or self._places.definition(name)
        return Seen(PartPhase.READY if there else PartPhase.ABSENT)

    def _registered(self, request: Mapping[str, Any]) -> bool:
        found = self._places.definition(request["jobDefinitionName"])
        return bool(found) and (found or {}).get("tags", {}).get(DIGEST_LABEL) == request["tags"][DIGEST_LABEL]


def resources(context: PartContext) -> dict[str, Any]:
    """The compute environment's resources: capacity for as many Airflow tasks as MaxWorkers promises."""
    spec = context.spec
    size = CLASSES[spec.environment_class]
    return {
        "maxvCpus": size.scheduler_cpu // 1024 * size.tasks_per_worker * spec.max_workers,
        "subnets": list(spec.subnets),
        "securityGroupIds": list(spec.security_groups),
    }


def _same(environment: BatchResource, context: PartContext) -> bool:
    def plain(value: Any) -> Any:
        return sorted(value) if isinstance(value, list) else value

    wanted = resources(context)
    return all(plain(environment.resources.get(name)) == plain(value) for name, value in wanted.items())


def job_definition(context: PartContext) -> dict[str, Any]:
    """The request for RegisterJobDefinition: the executor's ECS task definition in Batch's format.

    Batch has no ``entryPoint``; the image's own is the same.
    """
    task = definition(context, EXECUTOR_ROLE)
    (container,) = task["containerDefinitions"]
    needs = {"VCPU": str(int(task["cpu"]) / 1024), "MEMORY": task["memory"]}
    request: dict[str, Any] = {
        "jobDefinitionName": batch_place(context.spec.name),
        "type": "container",
        "platformCapabilities": ["FARGATE"],
        "containerProperties": {
            "image": container["image"],
            "jobRoleArn": task["taskRoleArn"],
            "executionRoleArn": task["executionRoleArn"],
            "environment": container["environment"],
            "secrets": container["secrets"],
            "logConfiguration": container["logConfiguration"],
            "resourceRequirements": [{"type": kind, "value": value} for kind, value in needs.items()],
            "networkConfiguration": {"assignPublicIp": "DISABLED"},
        },
    }
    return request | {"tags": {DIGEST_LABEL: digest(json.dumps(request, sort_keys=True), digest_of(task))}}
