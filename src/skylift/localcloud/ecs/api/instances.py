"""ECS's operations on container instances, their attributes and task sets: as on Fargate, there are none."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.shapes import client_error, ecs_arn, invalid, last_word
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller


class InstanceOperations(EcsOperations):
    """Answers for a cluster without instances."""

    def list_container_instances(self, caller: Caller, request: Request) -> Document:
        """Always empty."""
        self.cluster(request)
        return {"containerInstanceArns": []}

    def describe_container_instances(self, caller: Caller, request: Request) -> Document:
        """Each is a failure with reason MISSING."""
        return {"containerInstances": [], "failures": self._missing(request)}

    def update_container_instances_state(self, caller: Caller, request: Request) -> Document:
        """Each is a failure with reason MISSING."""
        return {"containerInstances": [], "failures": self._missing(request)}

    def start_task(self, caller: Caller, request: Request) -> Document:
        """Starts ECS tasks on named instances: each is a failure with reason MISSING."""
        self.runnable_definition(request["taskDefinition"])
        if not 1 <= len(request["containerInstances"]) <= 10:
            raise invalid("Container instances must be 1 to 10.")
        return {"tasks": [], "failures": self._missing(request)}

    def register_container_instance(self, caller: Caller, request: Request) -> Document:
        """For agents only."""
        raise client_error("Container instances cannot be registered here: ECS tasks run as on Fargate.")

    def deregister_container_instance(self, caller: Caller, request: Request) -> Document:
        """There are none."""
        self.cluster(request)
        raise invalid("Instance is not registered in any cluster.")

    def list_attributes(self, caller: Caller, request: Request) -> Document:
        """Always empty."""
        self.cluster(request)
        return {"attributes": []}

    def put_attributes(self, caller: Caller, request: Request) -> Document:
        """There are no targets."""
        self.cluster(request)
        raise AwsError("TargetNotFoundException", "The specified target wasn't found.")

    def delete_attributes(self, caller: Caller, request: Request) -> Document:
        """There are no targets."""
        return self.put_attributes(caller, request)

    def describe_task_sets(self, caller: Caller, request: Request) -> Document:
        """Services here have deployments, not task sets."""
        cluster = self.cluster(request)
        if (cluster["clusterArn"], last_word(request["service"])) not in self.store.services:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        return {"taskSets": [], "failures": []}

    def create_task_set(self, caller: Caller, request: Request) -> Document:
        """Only services with the deployment controller EXTERNAL have them."""
        self.describe_task_sets(caller, request)
        raise invalid("Unable to create TaskSet on services that are not using the EXTERNAL deployment controller.")

    def _missing(self, request: Request) -> list[Document]:
        cluster = self.cluster(request)
        return [
            {
                "arn": ecs_arn(self.cloud, "container-instance", cluster["clusterName"], last_word(name)),
                "reason": "MISSING",
            }
            for name in request["containerInstances"]
        ]
