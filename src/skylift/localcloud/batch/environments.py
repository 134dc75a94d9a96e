"""Batch's operations on compute environments. Each owns an ECS cluster; its ``maxvCpus`` is its capacity."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from skylift.core.names import arn
from skylift.localcloud.batch.operations import BatchOperations, Request
from skylift.localcloud.batch.shapes import NAME, batch_arn, executing, merged_tags, name_of, page, refused
from skylift.localcloud.batch.store import ENVIRONMENT
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

FARGATE = frozenset({"FARGATE", "FARGATE_SPOT"})
_SERVED = FARGATE | {"EC2", "SPOT"}
_HEALTHY = "ComputeEnvironment Healthy"
_NOT_ON_FARGATE = (
    "minvCpus",
    "instanceTypes",
    "instanceRole",
    "ec2KeyPair",
    "imageId",
    "bidPercentage",
    "launchTemplate",
)
_LONGEST_CLUSTER = 255


class EnvironmentOperations(BatchOperations):
    """CreateComputeEnvironment, UpdateComputeEnvironment, DescribeComputeEnvironments, DeleteComputeEnvironment."""

    def create_compute_environment(self, caller: Caller, request: Request) -> Document:
        """Creates a compute environment with its ECS cluster; VALID at once."""
        name = request["computeEnvironmentName"]
        if not NAME.fullmatch(name):
            raise executing("computeEnvironmentName should match valid pattern")
        if name in self.store.environments:
            raise executing("Object already exists")
        if request["type"] != "MANAGED":
            raise refused("UNMANAGED compute environments are not supported by skylift's local cloud.")
        if "computeResources" not in request:
            raise executing("computeResources must be provided for a MANAGED compute environment")
        if "eksConfiguration" in request:
            raise refused("Compute environments on EKS are not supported by skylift's local cloud.")
        _check_resources(request["computeResources"])
        ident = str(uuid.uuid4())
        cluster = f"AWSBatch-{name}-{ident}"[:_LONGEST_CLUSTER]
        document: Document = {
            "computeEnvironmentName": name,
            "computeEnvironmentArn": batch_arn(self.cloud, "compute-environment", name),
            "ecsClusterArn": self.ecs.create_cluster(caller, {"clusterName": cluster})["cluster"]["clusterArn"],
            "tags": merged_tags({}, request.get("tags", {})),
            "type": "MANAGED",
            "state": request.get("state", "ENABLED"),
            "status": "VALID",
            "statusReason": _HEALTHY,
            "computeResources": request["computeResources"],
            "serviceRole": request.get("serviceRole", self._service_role()),
            "containerOrchestrationType": "ECS",
            "uuid": ident,
            **({"context": request["context"]} if "context" in request else {}),
        }
        self.store.save_thing(ENVIRONMENT, name, document)
        return {name: document[name] for name in ("computeEnvironmentName", "computeEnvironmentArn")}

    def update_compute_environment(self, caller: Caller, request: Request) -> Document:
        """Changes state, capacity and other changeable members; what runs goes on."""
        found = self.environment(request["computeEnvironment"])
        resources = {**found["computeResources"], **request.get("computeResources", {})}
        resources.pop("updateToLatestImageVersion", None)
        if (resources["type"] in FARGATE) != (found["computeResources"]["type"] in FARGATE):
            raise executing("The type of a compute environment cannot change between Fargate and EC2.")
        _check_resources(resources)
        changed: Document = {
            name: request[name] for name in ("state", "serviceRole", "updatePolicy", "context") if name in request
        }
        self.store.save_thing(
            ENVIRONMENT, found["computeEnvironmentName"], {**found, **changed, "computeResources": resources}
        )
        self.engine.capacity_changed()
        return {name: found[name] for name in ("computeEnvironmentName", "computeEnvironmentArn")}

    def describe_compute_environments(self, caller: Caller, request: Request) -> Document:
        """Compute environments by name or ARN; without names, all of them; unknown ones are omitted."""
        names = [name_of(reference) for reference in request.get("computeEnvironments", ())]
        known = self.store.environments
        found = [known[name] for name in names if name in known] if names else [known[name] for name in sorted(known)]
        shown, more = page(found, request)
        return {"computeEnvironments": shown, **more}

    def delete_compute_environment(self, caller: Caller, request: Request) -> Document:
        """Removes a disabled one that no queue uses. An unknown one is not an error."""
        found = self.store.environments.get(name_of(request["computeEnvironment"]))
        if found is None:
            return {}
        if found["state"] != "DISABLED":
            raise executing("Cannot delete, state must be DISABLED")
        arn = found["computeEnvironmentArn"]
        if any(arn in _environments_of(queue) for queue in self.store.queues.values()):
            raise executing("Cannot delete, found existing JobQueue relationship")
        self.store.remove_thing(ENVIRONMENT, found["computeEnvironmentName"])
        with contextlib.suppress(AwsError):  # what still runs in it goes on; the empty cluster is harmless
            self.ecs.delete_cluster(caller, {"cluster": found["ecsClusterArn"]})
        return {}

    def _service_role(self) -> str:
        name = "aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
        return arn("iam", self.cloud.region, self.cloud.account, f"role/{name}")


def _environments_of(queue: Document) -> list[str]:
    return [item["computeEnvironment"] for item in queue["computeEnvironmentOrder"]]


def _check_resources(resources: Mapping[str, Any]) -> None:
    kind = resources["type"]
    if kind not in _SERVED:
        raise refused(f"Compute resources of type {kind} are not supported by skylift's local cloud.")
    if resources["maxvCpus"] < 1:
        raise executing("maxvCpus must be greater than 0.")
    if not resources.get("subnets"):
        raise executing("Resource subnets are required.")
    if kind in FARGATE:
        for name in _NOT_ON_FARGATE:
            if name in resources:
                raise executing(f"{name} is not applicable for {kind} compute environments.")
        if not resources.get("securityGroupIds"):
            raise executing("Resource securityGroupIds are required.")
    elif resources.get("minvCpus", 0) > resources["maxvCpus"]:
        raise executing("minvCpus must not be greater than maxvCpus.")
