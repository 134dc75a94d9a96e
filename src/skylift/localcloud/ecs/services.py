"""ECS's operations on services. They write down what is wanted; ``keeper.py`` makes it so."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import secrets
from typing import Any

from skylift.localcloud.ecs.balancing import add_event
from skylift.localcloud.ecs.checks import check_placement
from skylift.localcloud.ecs.lifecycle import SERVICE, ServiceState
from skylift.localcloud.ecs.operations import Operations, Request
from skylift.localcloud.ecs.ports import Document
from skylift.localcloud.ecs.shapes import digest, ecs_arn, invalid, last_word, merged_tags, page, shown
from skylift.localcloud.ecs.store import Service
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

_ROLLING = {"maximumPercent": 200, "minimumHealthyPercent": 100}
_NEW_DEPLOYMENT = frozenset(
    {
        "taskDefinition",
        "networkConfiguration",
        "platformVersion",
        "capacityProviderStrategy",
        "loadBalancers",
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


class ServiceOperations(Operations):
    """CreateService, UpdateService, DescribeServices, ListServices, DeleteService."""

    def create_service(self, caller: Caller, request: Request) -> Document:
        """Writes a service down. The same request again (client token or not) returns the service that is there."""
        cluster = self.cluster(request)
        definition = self.runnable_definition(request.get("taskDefinition", ""))
        check_placement(request, definition)
        self._check_kind(request, definition)
        arn, name = cluster["clusterArn"], request["serviceName"]
        fingerprint = digest({key: value for key, value in request.items() if key != "clientToken"})
        found = self.store.services.get((arn, name))
        if found is not None and found.document["status"] == ServiceState.ACTIVE:
            if found.digest != fingerprint:
                raise invalid("Creation of service was not idempotent.")
            return {"service": shown(found.document)}
        if found is not None and found.document["status"] == ServiceState.DRAINING:
            raise invalid("Unable to Start a service that is still Draining.")
        service = Service(self._document(caller, request, cluster, definition), digest=fingerprint)
        self._accept(service)
        return {"service": shown(service.document)}

    def update_service(self, caller: Caller, request: Request) -> Document:
        """Changes what is wanted; a new task definition (or ``forceNewDeployment``) begins a deployment."""
        cluster = self.cluster(request)
        service = self._active(cluster, request["service"])
        document = service.document
        if "taskDefinition" in request:
            reference = self.runnable_definition(request["taskDefinition"])["taskDefinitionArn"]
            request = {**request, "taskDefinition": reference}
        definition = self.store.definitions[request.get("taskDefinition") or document["taskDefinition"]]
        if request.get("networkConfiguration"):
            check_placement({**request, "launchType": document.get("launchType")}, definition)
        self._check_kind({**document, **request}, definition)
        replaced = bool(request.get("forceNewDeployment")) or any(
            key in request and request[key] != document.get(key) for key in _NEW_DEPLOYMENT
        )
        document |= {key: request[key] for key in (*_UPDATED, *_NEW_DEPLOYMENT) if key in request}
        if "deploymentConfiguration" in request:
            document["deploymentConfiguration"] |= request["deploymentConfiguration"]
        if "desiredCount" in request:
            document["desiredCount"] = request["desiredCount"]
        if replaced:
            self._begin_deployment(service)
        document["deployments"][0]["desiredCount"] = document["desiredCount"]
        self._accept(service)
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
                arn = ecs_arn(self.place, "service", cluster["clusterName"], last_word(name))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                services.append(shown(found.document, *hidden))
        return {"services": services, "failures": failures}

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
        """Drains a service: its ECS tasks are stopped, then it is INACTIVE. ``force`` is needed above zero."""
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

    def _accept(self, service: Service) -> None:
        service.failures, service.not_before = 0, 0.0
        self.store.save(service)
        self.engine.tell_service(*service.key)
        self.keeper.ring(service.key)

    def _active(self, cluster: Document, reference: str) -> Service:
        found = self.store.services.get((cluster["clusterArn"], last_word(reference)))
        if found is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        if found.document["status"] != ServiceState.ACTIVE:
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        return found

    def _check_kind(self, request: Request, definition: Document) -> None:
        if request.get("schedulingStrategy", "REPLICA") != "REPLICA":
            raise invalid("The scheduling strategy DAEMON is not supported on Fargate.")
        if (request.get("deploymentController") or {}).get("type", "ECS") != "ECS":
            raise invalid("skylift's local cloud serves the deployment controller ECS only.")
        if request.get("desiredCount", 0) < 0:
            raise invalid("desiredCount must not be negative.")
        containers = {item["name"]: item for item in definition["containerDefinitions"]}
        for balancer in request.get("loadBalancers", ()):
            container = containers.get(balancer.get("containerName", ""))
            if container is None:
                raise invalid(f"The container {balancer.get('containerName')} does not exist in the task definition.")
            ports = {port.get("containerPort") for port in container.get("portMappings", ())}
            if balancer.get("containerPort") not in ports:
                raise invalid(
                    f"The container {container['name']} did not have a container port {balancer.get('containerPort')} defined."
                )
            if "targetGroupArn" not in balancer:
                raise invalid("Classic load balancers are not served: name a targetGroupArn.")

    def _document(self, caller: Caller, request: Request, cluster: Document, definition: Document) -> Document:
        now, name = self.clock(), request["serviceName"]
        placed: dict[str, Any] = {"launchType": request.get("launchType") or "EC2"}
        if strategy := request.get("capacityProviderStrategy"):
            placed = {"capacityProviderStrategy": strategy}
        if "FARGATE" in definition.get("requiresCompatibilities", ()) or placed.get("launchType") == "FARGATE":
            placed |= {"platformVersion": request.get("platformVersion") or "LATEST", "platformFamily": "Linux"}
        document: Document = {
            "serviceArn": ecs_arn(self.place, "service", cluster["clusterName"], name),
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
            "tags": merged_tags((), request.get("tags", ())),
            **placed,
            **{
                key: request[key] for key in ("networkConfiguration", "healthCheckGracePeriodSeconds") if key in request
            },
        }
        self._begin_deployment(Service(document))
        return document

    def _begin_deployment(self, service: Service) -> None:
        """A new PRIMARY deployment; the one before becomes ACTIVE until its ECS tasks are gone."""
        document, now = service.document, self.clock()
        for deployment in document["deployments"]:
            deployment["status"] = "ACTIVE"
        ident = f"ecs-svc/{secrets.randbelow(9 * 10**18) + 10**18}"
        copied = ("launchType", "capacityProviderStrategy", "platformVersion", "platformFamily", "networkConfiguration")
        deployment = {
            "id": ident,
            "status": "PRIMARY",
            "taskDefinition": document["taskDefinition"],
            "desiredCount": document["desiredCount"],
            "pendingCount": 0,
            "runningCount": 0,
            "failedTasks": 0,
            "createdAt": now,
            "updatedAt": now,
            "rolloutState": "IN_PROGRESS",
            "rolloutStateReason": f"ECS deployment {ident} in progress.",
            **{key: document[key] for key in copied if key in document},
        }
        document["deployments"].insert(0, deployment)
        add_event(service, now, f"(deployment {ident}) deployment started.")
