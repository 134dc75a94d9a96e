"""Batch's operations on job definitions."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from skylift.localcloud.batch.checks import check_definition
from skylift.localcloud.batch.containers import ecs_request
from skylift.localcloud.batch.operations import BatchOperations, Request
from skylift.localcloud.batch.shapes import batch_arn, executing, merged_tags, name_of, page, without
from skylift.localcloud.batch.store import DEFINITION
from skylift.localcloud.ecs.model.checks import check_definition as check_ecs_definition
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

_COPIED = (
    "type",
    "platformCapabilities",
    "schedulingPriority",
    "containerProperties",
    "ecsProperties",
    "retryStrategy",
    "timeout",
    "propagateTags",
)
_OURS = ("ecsTaskDefinition",)


class JobDefinitionOperations(BatchOperations):
    """RegisterJobDefinition, DescribeJobDefinitions, DeregisterJobDefinition."""

    def register_job_definition(self, caller: Caller, request: Request) -> Document:
        """A new revision: one more than the highest so far."""
        check_definition(request)
        name = request["jobDefinitionName"]
        known = self.revisions(name)
        revision = int(known[-1]["revision"]) + 1 if known else 1
        arn = batch_arn(self.cloud, "job-definition", f"{name}:{revision}")
        document: Document = {
            "jobDefinitionName": name,
            "jobDefinitionArn": arn,
            "revision": revision,
            "status": "ACTIVE",
            "parameters": request.get("parameters", {}),
            "containerOrchestrationType": "ECS",
            "tags": merged_tags({}, request.get("tags", {})),
            **{key: request[key] for key in _COPIED if key in request},
        }
        check_ecs_definition(ecs_request(document, self.cloud.region), self.cloud.host_folders)
        self.store.save_thing(DEFINITION, arn, document)
        return {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}

    def describe_job_definitions(self, caller: Caller, request: Request) -> Document:
        """By references, or by name and status; newest revision first."""
        if "jobDefinitions" in request and ("jobDefinitionName" in request or "status" in request):
            raise executing("jobDefinitions cannot be combined with jobDefinitionName or status.")
        wanted = {name_of(reference) for reference in request.get("jobDefinitions", ())}
        found = [one for one in self.store.definitions.values() if _matches(one, request, wanted)]
        found.sort(key=lambda one: (one["jobDefinitionName"], -int(one["revision"])))
        shown, more = page(found, request)
        return {"jobDefinitions": [without(one, _OURS) for one in shown], **more}

    def deregister_job_definition(self, caller: Caller, request: Request) -> Document:
        """Makes a revision INACTIVE: its jobs go on, new ones are refused. An unknown one is not an error."""
        name, _, revision = name_of(request["jobDefinition"]).partition(":")
        if not revision:
            raise executing("Job definition must be given as name:revision or by its ARN.")
        for found in self.revisions(name):
            if str(found["revision"]) == revision and found["status"] == "ACTIVE":
                self.store.save_thing(DEFINITION, found["jobDefinitionArn"], found | {"status": "INACTIVE"})
        return {}


def _matches(definition: Document, request: Request, wanted: set[str]) -> bool:
    name = definition["jobDefinitionName"]
    if wanted:
        return bool({name, f"{name}:{definition['revision']}"} & wanted)
    if request.get("jobDefinitionName", name) != name:
        return False
    return bool(request.get("status", definition["status"]) == definition["status"])
