"""ECS's operations on clusters."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import re
from collections.abc import Collection

from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.lifecycle import STARTING, ServiceState, TaskState
from skylift.localcloud.ecs.model.shapes import ecs_arn, invalid, last_word, merged_tags, page
from skylift.localcloud.ecs.model.strategy import FARGATE_PROVIDERS, check_strategy
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")


class ClusterOperations(EcsOperations):
    """CreateCluster, DescribeClusters, ListClusters, UpdateCluster, PutClusterCapacityProviders, DeleteCluster."""

    def create_cluster(self, caller: Caller, request: Request) -> Document:
        """Creates a cluster; ``default`` without a name. An existing one is returned unchanged."""
        name = request.get("clusterName") or "default"
        if not _NAME.fullmatch(name):
            raise invalid(
                "Identifier contains invalid characters. Cluster name may have letters, numbers, hyphens, underscores."
            )
        self._check_providers(request)
        _check_settings(request)
        found = self.store.clusters.get(name)
        if found is None or found["status"] != "ACTIVE":
            found = {
                "clusterArn": ecs_arn(self.cloud, "cluster", name),
                "clusterName": name,
                "status": "ACTIVE",
                "settings": request.get("settings") or [{"name": "containerInsights", "value": "disabled"}],
                "capacityProviders": request.get("capacityProviders", []),
                "defaultCapacityProviderStrategy": request.get("defaultCapacityProviderStrategy", []),
                "tags": merged_tags((), request.get("tags", ())),
            }
            if "configuration" in request:
                found["configuration"] = request["configuration"]
            self.store.save_cluster(found)
        return {"cluster": self._shown(found)}

    def describe_clusters(self, caller: Caller, request: Request) -> Document:
        """Clusters by name or ARN; unknown ones are failures with reason MISSING."""
        names = request.get("clusters") or ["default"]
        if len(names) > 100:
            raise invalid("Clusters can not be more than 100.")
        include = request.get("include", ())
        found = {name: self.store.clusters.get(last_word(name)) for name in names}
        missing = [
            ecs_arn(self.cloud, "cluster", last_word(name)) for name, cluster in found.items() if cluster is None
        ]
        return {
            "clusters": [_without(self._shown(cluster), include) for cluster in found.values() if cluster is not None],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn in missing],
        }

    def list_clusters(self, caller: Caller, request: Request) -> Document:
        """ARNs of active clusters."""
        arns = [found["clusterArn"] for found in self.store.clusters.values() if found["status"] == "ACTIVE"]
        shown, more = page(sorted(arns), request)
        return {"clusterArns": shown, **more}

    def update_cluster(self, caller: Caller, request: Request) -> Document:
        """Changes settings and configuration."""
        cluster = self.cluster(request)
        _check_settings(request)
        cluster |= {key: request[key] for key in ("settings", "configuration") if key in request}
        self.store.save_cluster(cluster)
        return {"cluster": self._shown(cluster)}

    def update_cluster_settings(self, caller: Caller, request: Request) -> Document:
        """Changes settings."""
        return self.update_cluster(caller, {"cluster": request.get("cluster"), "settings": request["settings"]})

    def put_cluster_capacity_providers(self, caller: Caller, request: Request) -> Document:
        """Sets the capacity providers and the default strategy."""
        cluster = self.cluster(request)
        self._check_providers(request)
        self._check_in_use(cluster, request["capacityProviders"])
        keys = ("capacityProviders", "defaultCapacityProviderStrategy")
        cluster |= {key: request[key] for key in keys}
        self.store.save_cluster(cluster)
        return {"cluster": self._shown(cluster)}

    def delete_cluster(self, caller: Caller, request: Request) -> Document:
        """Makes an empty cluster INACTIVE."""
        cluster = self.cluster(request)
        arn = cluster["clusterArn"]
        if any(s.key[0] == arn and s.document["status"] != ServiceState.INACTIVE for s in self.store.services.values()):
            raise AwsError(
                "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
            )
        if any(self.tasks_in(arn, stopped=False)):
            raise AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        cluster["status"] = "INACTIVE"
        self.store.save_cluster(cluster)
        return {"cluster": self._shown(cluster)}

    def _shown(self, cluster: Document) -> Document:
        arn = cluster["clusterArn"]
        alive = [task for task in self.store.alive.values() if task.document["clusterArn"] == arn]
        services = (service.document["status"] for service in self.store.services.values() if service.key[0] == arn)
        return {
            **cluster,
            "registeredContainerInstancesCount": 0,
            "runningTasksCount": sum(task.state is TaskState.RUNNING for task in alive),
            "pendingTasksCount": sum(task.state in STARTING for task in alive),
            "activeServicesCount": sum(status == ServiceState.ACTIVE for status in services),
            "statistics": [],
        }

    def _check_providers(self, request: Request) -> None:
        """Checks that the names are known, and that the default strategy is valid."""
        names = request.get("capacityProviders", ())
        known = {*FARGATE_PROVIDERS, *self.store.providers}
        for name in names:
            if name not in known:
                raise invalid(f"The specified capacity provider {name} was not found.")
        check_strategy(request.get("defaultCapacityProviderStrategy", ()), names, known)

    def _check_in_use(self, cluster: Document, names: Collection[str]) -> None:
        """A provider in use by a service or an ECS task cannot be removed from its cluster (API reference,
        PutClusterCapacityProviders)."""
        arn = cluster["clusterArn"]
        used = {
            item["capacityProvider"]
            for service in self.store.services.values()
            if service.key[0] == arn and service.document["status"] != ServiceState.INACTIVE
            for item in service.document.get("capacityProviderStrategy", ())
        }
        used |= {task.document.get("capacityProviderName", "") for task in self.tasks_in(arn, stopped=False)}
        if gone := sorted(used & set(cluster["capacityProviders"]) - set(names)):
            raise AwsError(
                "ResourceInUseException", f"The capacity provider {gone[0]} is in use and cannot be removed."
            )


def _without(cluster: Document, include: Collection[str]) -> Document:
    """Tags, settings and configuration are shown only on request (API reference, DescribeClusters:
    ``include``)."""
    if "TAGS" not in include:
        cluster["tags"] = []
    if "SETTINGS" not in include:
        cluster["settings"] = []
    if "CONFIGURATIONS" not in include:
        cluster.pop("configuration", None)
    return cluster


def _check_settings(request: Request) -> None:
    for setting in request.get("settings", ()):
        if setting.get("value") not in {"enabled", "disabled", "enhanced"}:
            raise invalid(f"Invalid cluster setting value: {setting.get('value')}.")
