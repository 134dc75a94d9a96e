"""ECS's operations on task definitions."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from typing import Any

from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.checks import check_definition, cpu_units, memory_mib
from skylift.localcloud.ecs.model.health import DEFAULTS
from skylift.localcloud.ecs.model.shapes import client_error, ecs_arn, invalid, merged_tags, page, shown
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

_COPIED = (
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "requiresCompatibilities",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
)


class TaskDefinitionOperations(EcsOperations):
    """Register, describe, list, deregister and delete task definitions."""

    def register_task_definition(self, caller: Caller, request: Request) -> Document:
        """A new revision of a family: one more than the highest so far."""
        check_definition(request, self.cloud.host_folders)
        family = request["family"]
        known = self.revisions(family)
        revision = int(known[-1]["revision"]) + 1 if known else 1
        tags = merged_tags((), request.get("tags", ()))
        document: Document = {
            "taskDefinitionArn": ecs_arn(self.cloud, "task-definition", f"{family}:{revision}"),
            "containerDefinitions": [_completed(container) for container in request["containerDefinitions"]],
            "family": family,
            "revision": revision,
            "status": "ACTIVE",
            "volumes": request.get("volumes", []),
            "placementConstraints": request.get("placementConstraints", []),
            "compatibilities": _compatibilities(request),
            "registeredAt": self.clock(),
            "registeredBy": caller.principal,
            "tags": tags,
            **{key: request[key] for key in _COPIED if key in request},
        }
        if cpu := cpu_units(request.get("cpu")):
            document["cpu"] = str(cpu)
        if memory := memory_mib(request.get("memory")):
            document["memory"] = str(memory)
        self.store.save_definition(document)
        return {"taskDefinition": shown(document, "tags"), "tags": tags}

    def describe_task_definition(self, caller: Caller, request: Request) -> Document:
        """One task definition; ``family`` alone means its newest active revision."""
        found = self.definition(request["taskDefinition"])
        tags = {"tags": found["tags"]} if "TAGS" in request.get("include", ()) else {}
        return {"taskDefinition": shown(found, "tags"), **tags}

    def list_task_definitions(self, caller: Caller, request: Request) -> Document:
        """ARNs, by family and revision; ``familyPrefix`` is a whole family name, as in AWS."""
        status = request.get("status") or "ACTIVE"
        prefix = request.get("familyPrefix")
        found = [
            item
            for item in self.store.definitions.values()
            if item["status"] == status and (prefix is None or item["family"] == prefix)
        ]
        found.sort(key=lambda item: (item["family"], item["revision"]), reverse=request.get("sort") == "DESC")
        arns, more = page([item["taskDefinitionArn"] for item in found], request)
        return {"taskDefinitionArns": arns, **more}

    def list_task_definition_families(self, caller: Caller, request: Request) -> Document:
        """Family names that begin with ``familyPrefix``. INACTIVE families have no active revision."""
        active = {item["family"] for item in self.store.definitions.values() if item["status"] == "ACTIVE"}
        known = {item["family"] for item in self.store.definitions.values()}
        wanted = {"ACTIVE": active, "INACTIVE": known - active, "ALL": known}[request.get("status") or "ALL"]
        names = sorted(name for name in wanted if name.startswith(request.get("familyPrefix", "")))
        families, more = page(names, request)
        return {"families": families, **more}

    def deregister_task_definition(self, caller: Caller, request: Request) -> Document:
        """Makes a revision INACTIVE: what runs goes on, but nothing new may use it."""
        reference = request["taskDefinition"]
        if ":" not in reference.rsplit("/", 1)[-1]:
            raise client_error("Revision is missing: a task definition is deregistered as family:revision.")
        found = self.find_definition(reference)
        if found is None:
            raise client_error("The specified task definition does not exist.")
        if found["status"] == "ACTIVE":
            found |= {"status": "INACTIVE", "deregisteredAt": self.clock()}
            self.store.save_definition(found)
        return {"taskDefinition": shown(found, "tags")}

    def delete_task_definitions(self, caller: Caller, request: Request) -> Document:
        """Marks INACTIVE revisions for deletion; an ACTIVE one is a failure."""
        references = request["taskDefinitions"]
        if not 1 <= len(references) <= 10:
            raise invalid("taskDefinitions must have 1 to 10 entries.")
        deleted: list[Any] = []
        failures: list[Any] = []
        for reference in references:
            found = self.find_definition(reference)
            if found is None:
                failures.append({"arn": reference, "reason": "TASK_DEFINITION_NOT_FOUND"})
            elif found["status"] == "ACTIVE":
                reason = (
                    "The specified task definition is still in ACTIVE status. Please deregister the target and "
                    "try again."
                )
                failures.append({"arn": found["taskDefinitionArn"], "reason": reason})
            else:
                found["status"] = "DELETE_IN_PROGRESS"
                self.store.save_definition(found)
                deleted.append(shown(found, "tags"))
        return {"taskDefinitions": deleted, "failures": failures}


def _completed(container: Document) -> Document:
    """A container definition with the members that ECS adds if they are missing."""
    filled: Document = {
        "cpu": 0,
        "portMappings": [],
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "volumesFrom": [],
        "systemControls": [],
        **container,
    }
    filled["portMappings"] = [
        {"protocol": "tcp", **({"hostPort": port["containerPort"]} if "containerPort" in port else {}), **port}
        for port in filled["portMappings"]
    ]
    if "healthCheck" in filled:
        filled["healthCheck"] = {**DEFAULTS, **filled["healthCheck"]}
    return filled


def _compatibilities(request: Request) -> list[str]:
    fargate = "FARGATE" in request.get("requiresCompatibilities", ())
    return ["EC2", "FARGATE"] if fargate else ["EXTERNAL", "EC2"]
