"""Cloud Map for ECS (``ports.Registries``): in this process, without HTTP; on the disk before it returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skylift.localcloud.emulators.cloud_map.mended import cloud_map
from skylift.localcloud.emulators.ministack import Ministack
from skylift.wire.errors import AwsError

_TARGET = "Route53AutoNaming_v20170314"


class CloudMapRegistries:
    """The registries of one emulator."""

    def __init__(self, ministack: Ministack) -> None:
        self._ministack = ministack

    def records(self, registry: str) -> frozenset[str]:
        """As ``ports.Registries``."""
        service = self._service(registry)
        if service is None:
            raise AwsError("InvalidParameterException", f"The service registry {registry} was not found.")
        return frozenset(one["Type"] for one in (service.get("DnsConfig") or {}).get("DnsRecords", ()))

    async def register(self, registry: str, instance: str, attributes: Mapping[str, str]) -> None:
        """As ``ports.Registries``."""
        await self._call("RegisterInstance", registry, InstanceId=instance, Attributes=dict(attributes))

    async def deregister(self, registry: str, instance: str) -> None:
        """As ``ports.Registries``."""
        if self._service(registry) is not None:
            await self._call("DeregisterInstance", registry, InstanceId=instance)

    async def report(self, registry: str, instance: str, healthy: bool) -> None:
        """As ``ports.Registries``."""
        service = self._service(registry)
        if service is not None and service.get("HealthCheckCustomConfig"):
            status = "HEALTHY" if healthy else "UNHEALTHY"
            await self._call("UpdateInstanceCustomHealthStatus", registry, InstanceId=instance, Status=status)

    def _service(self, registry: str) -> dict[str, Any] | None:
        with self._ministack.scope(_region(registry)):
            found: dict[str, Any] | None = cloud_map(self._ministack)._services.get(_id(registry))
        return found if found is not None and found["Arn"] == registry else None

    async def _call(self, operation: str, registry: str, **members: Any) -> None:
        headers = {"x-amz-target": f"{_TARGET}.{operation}", "content-type": "application/x-amz-json-1.1"}
        body = json.dumps({"ServiceId": _id(registry), **members}).encode()
        with self._ministack.scope(_region(registry)):
            answer = await cloud_map(self._ministack).handle_request("POST", "/", headers, body, {})
        if answer[0] >= 400:
            told = json.loads(answer[2] or b"{}")
            code = str(told.get("__type", "ServerException"))
            raise AwsError(code, str(told.get("message") or told.get("Message") or code), answer[0])


def _id(registry: str) -> str:
    return registry.rpartition("/")[2]


def _region(registry: str) -> str:
    return registry.split(":")[3] if registry.count(":") >= 5 else ""
