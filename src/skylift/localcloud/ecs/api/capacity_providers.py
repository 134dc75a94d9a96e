"""ECS's operations on capacity providers: Fargate's two, and the user's own, whose ECS tasks run here like all
others."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import re

from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.lifecycle import ServiceState
from skylift.localcloud.ecs.model.shapes import client_error, ecs_arn, invalid, last_word, merged_tags, page, shown
from skylift.localcloud.ecs.model.strategy import FARGATE_PROVIDERS
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

_NAME = re.compile(r"(?!aws|ecs|fargate)[a-zA-Z0-9_-]{1,255}", re.IGNORECASE)
_SCALING = {
    "status": "DISABLED",
    "targetCapacity": 100,
    "minimumScalingStepSize": 1,
    "maximumScalingStepSize": 10000,
    "instanceWarmupPeriod": 300,
}


class CapacityProviderOperations(EcsOperations):
    """Create, describe, update and delete capacity providers."""

    def create_capacity_provider(self, caller: Caller, request: Request) -> Document:
        """Stores one. Ignores its Auto Scaling group: ECS tasks run on this machine."""
        name = request["name"]
        if not _NAME.fullmatch(name):
            raise invalid(
                "Invalid capacity provider name: up to 255 letters, numbers, underscores and hyphens, and it cannot "
                "begin "
                "with aws, ecs or fargate."
            )
        if "autoScalingGroupProvider" not in request:
            raise invalid("Auto Scaling Group Provider should not be null.")
        if name in self.store.providers:
            raise client_error("A capacity provider with the specified name already exists.")
        provider = {
            "capacityProviderArn": ecs_arn(self.cloud, "capacity-provider", name),
            "name": name,
            "status": "ACTIVE",
            "type": "EC2_AUTOSCALING",
            "autoScalingGroupProvider": _filled(request["autoScalingGroupProvider"]),
            "tags": merged_tags((), request.get("tags", ())),
        }
        self.store.save_thing("provider", name, provider)
        return {"capacityProvider": provider}

    def describe_capacity_providers(self, caller: Caller, request: Request) -> Document:
        """All, or the named ones (names or ARNs); unknown ones are failures with reason MISSING."""
        known = {**{name: self._fargate(name) for name in FARGATE_PROVIDERS}, **self.store.providers}
        names = [last_word(name) for name in request.get("capacityProviders", known)]
        if len(names) > 100:
            raise invalid("Capacity providers can not be more than 100.")
        hidden = () if "TAGS" in request.get("include", ()) else ("tags",)
        found, more = page([known[name] for name in dict.fromkeys(names) if name in known], request)
        failures = [
            {"arn": ecs_arn(self.cloud, "capacity-provider", name), "reason": "MISSING"}
            for name in names
            if name not in known
        ]
        return {"capacityProviders": [shown(item, *hidden) for item in found], "failures": failures, **more}

    def update_capacity_provider(self, caller: Caller, request: Request) -> Document:
        """Changes managed scaling, termination protection and draining."""
        provider = self._own(request["name"])
        group = request.get("autoScalingGroupProvider") or {}
        changed = {**provider["autoScalingGroupProvider"], **group}
        provider |= {"autoScalingGroupProvider": _filled(changed), "updateStatus": "UPDATE_COMPLETE"}
        self.store.save_thing("provider", provider["name"], provider)
        return {"capacityProvider": shown(provider, "tags")}

    def delete_capacity_provider(self, caller: Caller, request: Request) -> Document:
        """Removes one that no cluster and no service uses."""
        provider = self._own(request["capacityProvider"])
        name = provider["name"]
        for cluster in self.store.clusters.values():
            if cluster["status"] == "ACTIVE" and name in cluster["capacityProviders"]:
                raise client_error(
                    f"The capacity provider cannot be deleted because it is associated with cluster: "
                    f"{cluster['clusterName']}. Remove the capacity provider from the cluster and try again."
                )
        for service in self.store.services.values():
            strategy = service.document.get("capacityProviderStrategy", ())
            used = any(item["capacityProvider"] == name for item in strategy)
            if used and service.document["status"] != ServiceState.INACTIVE:
                raise client_error("The capacity provider cannot be deleted because it is used by a service.")
        self.store.remove_thing("provider", name)
        return {
            "capacityProvider": {**shown(provider, "tags"), "status": "INACTIVE", "updateStatus": "DELETE_COMPLETE"}
        }

    def _own(self, reference: str) -> Document:
        name = last_word(reference)
        if name in FARGATE_PROVIDERS:
            raise client_error(f"The capacity provider {name} is reserved: it can be neither changed nor deleted.")
        if name not in self.store.providers:
            raise client_error(
                "The specified capacity provider does not exist. Specify a valid name or ARN and try again."
            )
        return self.store.providers[name]

    def _fargate(self, name: str) -> Document:
        arn = ecs_arn(self.cloud, "capacity-provider", name)
        return {"capacityProviderArn": arn, "name": name, "status": "ACTIVE", "type": name, "tags": []}


def _filled(group: Document) -> Document:
    scaling = {**_SCALING, **group.get("managedScaling", {})}
    protections = {"managedTerminationProtection": "DISABLED", "managedDraining": "ENABLED"}
    return {**protections, **group, "managedScaling": scaling}
