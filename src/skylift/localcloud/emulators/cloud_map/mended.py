"""Cloud Map's rules that ministack does not have: which instances DiscoverInstances gives, the health that an instance
begins with, that a service may name its namespace in ``DnsConfig`` (as Terraform does), and that one with instances is
not deleted.

Source: API reference (DiscoverInstances, RegisterInstance, CreateService, DeleteService). Like ``ministack.py``, this
file depends on ministack's internals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from skylift.localcloud.emulators.ministack import Ministack
from skylift.localcloud.emulators.unavailable import Answer

SERVICE = "servicediscovery"
_MARK = "_mended_by_skylift"
_MOST = 100
Handler = Callable[[dict[str, Any]], Answer]


def cloud_map(ministack: Ministack) -> Any:
    """ministack's module, with the rules. The first call imports it."""
    module = ministack.service(SERVICE)
    if not hasattr(module, _MARK):
        setattr(module, _MARK, True)
        module._discover_instances = _discovering(module, module._discover_instances)
        module._register_instance = _registering(module, module._register_instance)
        module._create_service = _creating(module._create_service)
        module._delete_service = _deleting(module, module._delete_service)
    return module


def chosen(instances: list[dict[str, Any]], request: Mapping[str, Any], checked: bool) -> list[dict[str, Any]]:
    """The instances that DiscoverInstances returns. Pure.

    Args:
        instances: all of the service (``Attributes``, ``HealthStatus``).
        request: the operation's.
        checked: whether the service has a health check; without one the wanted health is ignored.
    """
    wanted = request.get("HealthStatus", "ALL") if checked else "ALL"
    found = [one for one in instances if _has(one, request.get("QueryParameters"))]
    found = [one for one in found if _has(one, request.get("OptionalParameters"))] or found
    if wanted == "HEALTHY_OR_ELSE_ALL":
        found = [one for one in found if one["HealthStatus"] == "HEALTHY"] or found
    elif wanted != "ALL":
        found = [one for one in found if one["HealthStatus"] == wanted]
    return found[: request.get("MaxResults", _MOST)]


def _has(instance: Mapping[str, Any], attributes: Mapping[str, str] | None) -> bool:
    return all(instance["Attributes"].get(name) == value for name, value in (attributes or {}).items())


def _discovering(module: Any, theirs: Handler) -> Handler:
    def discover(request: dict[str, Any]) -> Answer:
        answer = theirs({**request, "HealthStatus": "ALL"})
        if answer[0] >= 400:
            return answer
        namespaces = [one["Id"] for one in module._namespaces.values() if one["Name"] == request["NamespaceName"]]
        service = next(
            one
            for one in module._services.values()
            if one["Name"] == request["ServiceName"] and one["NamespaceId"] in namespaces
        )
        checked = bool(service.get("HealthCheckCustomConfig") or service.get("HealthCheckConfig"))
        found = chosen(json.loads(answer[2])["Instances"], request, checked)
        revision = int(module._instances_revision.get(service["Id"], 1))
        made: Answer = module.json_response({"Instances": found, "InstancesRevision": revision})
        return made

    return discover


def _registering(module: Any, theirs: Handler) -> Handler:
    def register(request: dict[str, Any]) -> Answer:
        answer = theirs(request)
        begins = (request.get("Attributes") or {}).get("AWS_INIT_HEALTH_STATUS", "")
        if answer[0] < 400 and begins and module._services[request["ServiceId"]].get("HealthCheckCustomConfig"):
            module._instance_health_status[request["ServiceId"]][request["InstanceId"]] = begins
        return answer

    return register


def _creating(theirs: Handler) -> Handler:
    def create(request: dict[str, Any]) -> Answer:
        named = request.get("NamespaceId") or (request.get("DnsConfig") or {}).get("NamespaceId")
        return theirs({**request, "NamespaceId": named})

    return create


def _deleting(module: Any, theirs: Handler) -> Handler:
    def delete(request: dict[str, Any]) -> Answer:
        if module._instances.get(request.get("Id", "")):
            words = "Service contains registered instances; delete the instances before deleting the service"
            refused: Answer = module.error_response_json("ResourceInUse", words, 400)
            return refused
        return theirs(request)

    return delete
