"""Service discovery: which registries a service may have, and which instances DiscoverInstances gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import ME, World, played, until

from skylift.localcloud.ecs.model.registry_checks import check_registries
from skylift.localcloud.emulators.cloud_map.mended import chosen
from skylift.wire.errors import AwsError

REGISTRY = "arn:aws:servicediscovery:us-east-1:000000000000:service/srv-1"
AWSVPC = {"networkMode": "awsvpc", "containerDefinitions": [{"name": "c", "portMappings": [{"containerPort": 80}]}]}
BRIDGE = {**AWSVPC, "networkMode": "bridge"}
CONTAINER = {"containerName": "c", "containerPort": 80}

REFUSED: list[tuple[dict[str, Any], dict[str, Any], set[str], str]] = [
    (BRIDGE, {}, {"A"}, "When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and"),
    (BRIDGE, {"port": 80}, {"SRV"}, "When specifying 'host' or 'bridge' for networkMode"),
    (AWSVPC, {"port": 80}, {"A"}, "do not require a value for 'port'. Remove the value and retry."),
    (AWSVPC, CONTAINER, {"A"}, "do not require a value for 'containerPort'. Remove the value and retry."),
    (AWSVPC, {}, {"SRV"}, "Specify a value for either 'port' or the 'containerName' and 'containerPort' combination"),
    (AWSVPC, {"port": 80, **CONTAINER}, {"SRV"}, "but not both"),
    (AWSVPC, {"containerName": "c"}, {"SRV"}, "but not both"),
    (AWSVPC, {"containerPort": 80}, set(), "but not both"),
    (AWSVPC, {"containerName": "x", "containerPort": 80}, {"SRV"}, "The container x is not valid. The value for"),
    (AWSVPC, {"containerName": "c", "containerPort": 81}, {"A", "SRV"}, "The container port 81 is not valid."),
]


@pytest.mark.parametrize(("definition", "members", "records", "text"), REFUSED)
def test_what_a_registry_may_not_have(
    definition: dict[str, Any], members: dict[str, Any], records: set[str], text: str
) -> None:
    with pytest.raises(AwsError) as caught:
        check_registries([{"registryArn": REGISTRY, **members}], definition, lambda _: frozenset(records))
    assert text in caught.value.message
    assert caught.value.code == "InvalidParameterException"
    assert f"Registry: {REGISTRY}" in caught.value.message


def test_one_registry_for_a_service() -> None:
    with pytest.raises(AwsError, match="one service registry only"):
        check_registries([{"registryArn": REGISTRY}] * 2, AWSVPC, lambda _: frozenset())


@pytest.mark.parametrize(
    ("definition", "members", "records"),
    [
        (AWSVPC, {}, {"A"}),
        (AWSVPC, {"port": 80}, {"SRV"}),
        (AWSVPC, CONTAINER, {"A", "SRV"}),
        (AWSVPC, {}, set()),
        (AWSVPC, {"port": 80}, set()),
        (BRIDGE, CONTAINER, {"SRV"}),
    ],
)
def test_what_it_may_have(definition: dict[str, Any], members: dict[str, Any], records: set[str]) -> None:
    asked: list[str] = []

    def records_of(registry: str) -> frozenset[str]:
        asked.append(registry)
        return frozenset(records)

    check_registries([{"registryArn": REGISTRY, **members}], definition, records_of)
    assert asked == [REGISTRY]


def instance(name: str, health: str = "HEALTHY", **attributes: str) -> dict[str, Any]:
    return {"InstanceId": name, "HealthStatus": health, "Attributes": attributes}


WELL, SICK = instance("well", a="1"), instance("sick", "UNHEALTHY", a="2")


@pytest.mark.parametrize(
    ("instances", "request_", "checked", "names"),
    [
        ([WELL, SICK], {}, True, ["well", "sick"]),
        ([WELL, SICK], {"HealthStatus": "ALL"}, True, ["well", "sick"]),
        ([WELL, SICK], {"HealthStatus": "HEALTHY"}, True, ["well"]),
        ([WELL, SICK], {"HealthStatus": "UNHEALTHY"}, True, ["sick"]),
        ([WELL, SICK], {"HealthStatus": "HEALTHY_OR_ELSE_ALL"}, True, ["well"]),
        ([SICK], {"HealthStatus": "HEALTHY_OR_ELSE_ALL"}, True, ["sick"]),
        ([SICK], {"HealthStatus": "HEALTHY"}, False, ["sick"]),
        ([WELL, SICK], {"QueryParameters": {"a": "2"}}, True, ["sick"]),
        ([WELL, SICK], {"QueryParameters": {"a": "3"}}, True, []),
        ([WELL, SICK], {"OptionalParameters": {"a": "2"}}, True, ["sick"]),
        ([WELL, SICK], {"OptionalParameters": {"a": "3"}}, True, ["well", "sick"]),
        ([WELL, SICK], {"MaxResults": 1}, True, ["well"]),
    ],
)
def test_which_instances_are_discovered(
    instances: list[dict[str, Any]], request_: dict[str, Any], checked: bool, names: list[str]
) -> None:
    assert [one["InstanceId"] for one in chosen(instances, request_, checked)] == names


class Names:
    """A Cloud Map: registry and instance -> attributes; the registry ``deleted`` refuses everything."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Mapping[str, str]] = {}
        self.health: list[bool] = []
        self.registered = 0

    def records(self, registry: str) -> frozenset[str]:
        return frozenset({"SRV"} if registry == "srv" else ())

    async def register(self, registry: str, instance: str, attributes: Mapping[str, str]) -> None:
        if registry == "deleted":
            raise AwsError("ServiceNotFound", "Service not found")
        self.registered += 1
        self.known[registry, instance] = attributes

    async def deregister(self, registry: str, instance: str) -> None:
        del self.known[registry, instance]

    async def report(self, registry: str, instance: str, healthy: bool) -> None:
        self.health.append(healthy)


def test_an_ecs_task_is_in_the_registry_with_which_it_began(tmp_path: Path) -> None:
    """It stays there over ``kill -9``, once; a service that leaves the registry replaces its ECS tasks."""

    async def scenario(world: World) -> None:
        names = world.registries = Names()
        await world.restart()
        world.serve(serviceRegistries=[{"registryArn": "srv", "containerName": "c", "containerPort": 80}])
        await until(lambda: names.known)
        ((_, first),) = names.known
        attributes = names.known["srv", first]
        assert attributes["AWS_INSTANCE_PORT"] == "80"
        assert attributes["AWS_INSTANCE_IPV4"].startswith("127.64.")
        assert attributes["AWS_INIT_HEALTH_STATUS"] == "HEALTHY"
        await world.restart()
        await until(lambda: world.service["runningCount"] == 1)
        assert (names.registered, names.health) == (1, [])
        world.ecs.update_service(ME, {"service": "s", "serviceRegistries": [{"registryArn": "http"}]})
        await until(lambda: {registry for registry, _ in names.known} == {"http"})
        ((_, second),) = names.known
        assert second != first
        assert "AWS_INSTANCE_PORT" not in names.known["http", second]
        world.ecs.update_service(ME, {"service": "s", "desiredCount": 0})
        await until(lambda: not names.known)

    played(tmp_path, scenario)


def test_a_registry_that_does_not_take_it_is_an_event(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.registries = Names()
        await world.restart()
        world.serve(serviceRegistries=[{"registryArn": "deleted"}])
        await until(lambda: any("in deleted: Service not found" in one["message"] for one in world.service["events"]))
        await until(lambda: world.service["runningCount"] == 1)

    played(tmp_path, scenario)
