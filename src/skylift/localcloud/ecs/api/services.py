"""ECS's operations on services. They store what is wanted; ``services/scheduler.py`` does it."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.checks import check_placement
from skylift.localcloud.ecs.model.lifecycle import SERVICE, ServiceState
from skylift.localcloud.ecs.model.service_checks import check_service
from skylift.localcloud.ecs.model.shapes import digest, ecs_arn, invalid, last_word, merged_tags, page, shown
from skylift.localcloud.ecs.model.store import EcsService
from skylift.localcloud.ecs.model.strategy import FARGATE_PROVIDERS
from skylift.localcloud.ecs.services.deployments import begin
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

_ROLLING = {
    "deploymentCircuitBreaker": {"enable": False, "rollback": False},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
    "strategy": "ROLLING",
    "bakeTimeInMinutes": 0,
}
_NEW_DEPLOYMENT = frozenset(
    {
        "taskDefinition",
        "networkConfiguration",
        "platformVersion",
        "capacityProviderStrategy",
        "loadBalancers",
        "serviceRegistries",
        "launchType",
    }
)
"""Members whose change replaces the service's ECS tasks (API reference, UpdateService)."""
_UPDATED = (
    "availabilityZoneRebalancing",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "healthCheckGracePeriodSeconds",
    "placementConstraints",
    "placementStrategy",
    "propagateTags",
)


class ServiceOperations(EcsOperations):
    """CreateService, UpdateService, DescribeServices, ListServices, DeleteService."""

    def create_service(self, caller: Caller, request: Request) -> Document:
        """Stores a service. The same request again (with or without client token) returns the existing service."""
        cluster = self.cluster(request)
        definition = self.runnable_definition(request.get("taskDefinition", ""))
        request = self.with_strategy(request, cluster)
        check_placement(request, definition)
        self._check_kind(request, definition)
        self.engine.check_registries(request, definition)
        arn, name = cluster["clusterArn"], request["serviceName"]
        fingerprint = digest({key: value for key, value in request.items() if key != "clientToken"})
        found = self.store.services.get((arn, name))
        if found is not None and found.document["status"] == ServiceState.ACTIVE:
            if found.digest != fingerprint:
                raise invalid("Creation of service was not idempotent.")
            return {"service": shown(found.document)}
        if found is not None and found.document["status"] == ServiceState.DRAINING:
            raise invalid("Unable to Start a service that is still Draining.")
        service = EcsService(self._document(caller, request, cluster, definition), digest=fingerprint)
        deployment = service.document["deployments"][0]
        texts = self.engine.events.of_deployment(service.document, deployment, "SERVICE_DEPLOYMENT_IN_PROGRESS")
        self._accept(service, texts)
        return {"service": shown(service.document)}

    def update_service(self, caller: Caller, request: Request) -> Document:
        """Changes the service; a new task definition (or ``forceNewDeployment``) begins a deployment."""
        cluster = self.cluster(request)
        service = self._active(cluster, request["service"])
        document = service.document
        if "taskDefinition" in request:
            reference = self.runnable_definition(request["taskDefinition"])["taskDefinitionArn"]
            request = {**request, "taskDefinition": reference}
        definition = self.store.definitions[request.get("taskDefinition") or document["taskDefinition"]]
        if request.get("networkConfiguration"):
            check_placement({**request, "launchType": document.get("launchType")}, definition)
        merged = {**document, **request}
        if request.get("capacityProviderStrategy"):
            self.with_strategy(request, cluster)
            merged.pop("launchType", None)
        self._check_kind(merged, definition)
        if "serviceRegistries" in request:
            self.engine.check_registries(request, definition)
        replaced = bool(request.get("forceNewDeployment")) or any(
            key in request and request[key] != document.get(key) for key in _NEW_DEPLOYMENT
        )
        before = document["desiredCount"]
        document |= {key: request[key] for key in (*_UPDATED, *_NEW_DEPLOYMENT) if key in request}
        if request.get("capacityProviderStrategy"):
            document.pop("launchType", None)
        if "deploymentConfiguration" in request:
            document["deploymentConfiguration"] |= request["deploymentConfiguration"]
        if "desiredCount" in request:
            document["desiredCount"] = request["desiredCount"]
        texts: list[str] = []
        if request.get("desiredCount", before) != before:
            texts += self.engine.events.of_service(document, "SERVICE_DESIRED_COUNT_UPDATED")
        if replaced:
            deployment = begin(service, self.clock())
            texts += self.engine.events.of_deployment(document, deployment, "SERVICE_DEPLOYMENT_IN_PROGRESS")
        document["deployments"][0]["desiredCount"] = document["desiredCount"]
        self._accept(service, texts)
        return {"service": shown(document)}

    def describe_services(self, caller: Caller, request: Request) -> Document:
        """Up to 10 services; unknown ones are failures with reason MISSING."""
        cluster = self.cluster(request)
        names = request["services"]
        if not 1 <= len(names) <= 10:
            raise invalid("Services cannot be empty." if not names else "Services can not be more than 10.")
        hidden = () if "TAGS" in request.get("include", ()) else ("tags",)
        services, failures = [], []
        for name in dict.fromkeys(names):
            found = self.store.services.get((cluster["clusterArn"], last_word(name)))
            if found is None:
                arn = ecs_arn(self.cloud, "service", cluster["clusterName"], last_word(name))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                services.append(shown(found.document, *hidden))
        return {"services": services, "failures": failures}

    def list_services_by_namespace(self, caller: Caller, request: Request) -> Document:
        """Service Connect is not supported, so there is no namespace."""
        raise AwsError("NamespaceNotFoundException", "The specified namespace was not found.")

    def list_services(self, caller: Caller, request: Request) -> Document:
        """ARNs of the services of a cluster that are not INACTIVE."""
        cluster = self.cluster(request)
        arns = [
            service.document["serviceArn"]
            for key, service in sorted(self.store.services.items())
            if key[0] == cluster["clusterArn"]
            and service.document["status"] != ServiceState.INACTIVE
            and request.get("launchType") in {None, service.document.get("launchType")}
            and request.get("schedulingStrategy") in {None, "REPLICA"}
        ]
        shown_arns, more = page(arns, request)
        return {"serviceArns": shown_arns, **more}

    def delete_service(self, caller: Caller, request: Request) -> Document:
        """Drains a service: its ECS tasks are stopped, then it is INACTIVE. Above a count of zero it needs
        ``force``."""
        cluster = self.cluster(request)
        service = self._active(cluster, request["service"])
        document = service.document
        if document["desiredCount"] > 0 and not request.get("force"):
            raise invalid("The service cannot be stopped while it is scaled above 0.")
        document |= {"status": SERVICE.move(ServiceState(document["status"]), ServiceState.DRAINING), "desiredCount": 0}
        for deployment in document["deployments"]:
            deployment["desiredCount"] = 0
        self._accept(service)
        return {"service": shown(document)}

    def _accept(self, service: EcsService, events: Sequence[str] = ()) -> None:
        service.failures, service.not_before = 0, 0.0
        self.store.save(service, events=events)
        self.engine.changes.service_changed(service)
        self.scheduler.ring(service.key)

    def _active(self, cluster: Document, reference: str) -> EcsService:
        found = self.store.services.get((cluster["clusterArn"], last_word(reference)))
        if found is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        if found.document["status"] != ServiceState.ACTIVE:
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        return found

    def _check_kind(self, request: Request, definition: Document) -> None:
        check_service(request)
        containers = {item["name"]: item for item in definition["containerDefinitions"]}
        for balancer in request.get("loadBalancers", ()):
            container = containers.get(balancer.get("containerName", ""))
            if container is None:
                raise invalid(f"The container {balancer.get('containerName')} does not exist in the task definition.")
            ports = {port.get("containerPort") for port in container.get("portMappings", ())}
            if balancer.get("containerPort") not in ports:
                raise invalid(
                    f"The container {container['name']} did not have a container port {balancer.get('containerPort')} "
                    "defined."
                )
            if "targetGroupArn" not in balancer:
                raise invalid("Classic load balancers are not supported: name a targetGroupArn.")

    def _document(self, caller: Caller, request: Request, cluster: Document, definition: Document) -> Document:
        now, name = self.clock(), request["serviceName"]
        placed: dict[str, Any] = {"launchType": request.get("launchType") or _usual_type(definition)}
        if strategy := request.get("capacityProviderStrategy"):
            placed = {"capacityProviderStrategy": strategy}
        own = any(item["capacityProvider"] not in FARGATE_PROVIDERS for item in strategy or ())
        if not own and (
            "FARGATE" in definition.get("requiresCompatibilities", ()) or request.get("launchType") == "FARGATE"
        ):
            placed |= {"platformVersion": request.get("platformVersion") or "LATEST", "platformFamily": "Linux"}
        document: Document = {
            "serviceArn": ecs_arn(self.cloud, "service", cluster["clusterName"], name),
            "serviceName": name,
            "clusterArn": cluster["clusterArn"],
            "loadBalancers": request.get("loadBalancers", []),
            "serviceRegistries": request.get("serviceRegistries", []),
            "status": ServiceState.ACTIVE,
            "desiredCount": request.get("desiredCount", 1),
            "runningCount": 0,
            "pendingCount": 0,
            "taskDefinition": definition["taskDefinitionArn"],
            "deploymentConfiguration": {**_ROLLING, **request.get("deploymentConfiguration", {})},
            "deployments": [],
            "events": [],
            "createdAt": now,
            "createdBy": caller.principal,
            "placementConstraints": request.get("placementConstraints", []),
            "placementStrategy": request.get("placementStrategy", []),
            "schedulingStrategy": "REPLICA",
            "deploymentController": {"type": "ECS"},
            "enableECSManagedTags": bool(request.get("enableECSManagedTags", False)),
            "enableExecuteCommand": bool(request.get("enableExecuteCommand", False)),
            "propagateTags": request.get("propagateTags", "NONE"),
            "availabilityZoneRebalancing": request.get("availabilityZoneRebalancing", "ENABLED"),
            "tags": merged_tags((), request.get("tags", ())),
            **placed,
            **{
                key: request[key] for key in ("networkConfiguration", "healthCheckGracePeriodSeconds") if key in request
            },
        }
        begin(EcsService(document), now)
        return document


def _usual_type(definition: Document) -> str:
    """The default launch type: there are no instances here, so Fargate, if the definition allows it."""
    return "FARGATE" if "FARGATE" in definition.get("requiresCompatibilities", ()) else "EC2"
