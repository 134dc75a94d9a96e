"""What ECS and Batch have and the local cloud does not is refused by name, not passed over; what it has is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit import batch_world
from tests.unit.localcloud.test_ecs_engine import definition
from tests.unit.refusals import says_whose

from skylift.localcloud.ecs.model.checks import check_definition
from skylift.localcloud.ecs.model.service_checks import check_deployment, check_service
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit

LOG_OPTIONS = {
    "awslogs-group": "g",
    "awslogs-region": "r",
    "awslogs-stream-prefix": "p",
    "awslogs-create-group": "true",
    "awslogs-datetime-format": "%Y",
    "awslogs-endpoint": "https://logs.example.org",
    "awslogs-multiline-pattern": "^INFO",
    "max-buffer-size": "25m",
    "mode": "non-blocking",
}
"""All that "Send Amazon ECS logs to CloudWatch" (ECS developer guide) names."""


def logging(**options: str) -> dict[str, Any]:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return definition(logConfiguration={"logDriver": "awslogs", "options": {**LOG_OPTIONS, **given}})


def refused(wanted: dict[str, Any]) -> str:
    with pytest.raises(AwsError) as error:
        check_definition(wanted)
    assert error.value.code == "ClientException"
    return error.value.message


def test_every_option_of_awslogs_is_taken() -> None:
    check_definition(logging())
    check_definition(logging(mode="blocking"))
    assert refused(logging(awslogs_typo="x")) == "Log driver awslogs disallows options: awslogs-typo"
    assert "mode must be blocking or non-blocking" in refused(logging(mode="other"))
    assert "awslogs-create-group must be 'true'" in refused(logging(awslogs_create_group="false"))


@pytest.mark.parametrize("name", ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"])
def test_an_option_that_awslogs_needs_is_named(name: str) -> None:
    assert refused(logging(**{name: ""})) == f"Log driver awslogs requires options: {name}"


@pytest.mark.parametrize("driver", ["splunk", "json-file"])
def test_another_log_driver_is_refused(driver: str) -> None:
    wanted = definition(logConfiguration={"logDriver": driver})
    assert refused(wanted).startswith(f"Log driver {driver} is not supported")


@pytest.mark.parametrize("member", ["links", "firelensConfiguration"])
def test_what_a_container_cannot_have_is_named(member: str) -> None:
    wanted = refused(definition(**{member: [{"x": "y"}]}))
    assert wanted == f"Container 'c': {member} is not supported by skylift's local cloud."
    check_definition(definition(**{member: []}))


@pytest.mark.parametrize(
    ("fits", "does_not", "why"),
    [
        ({"stopTimeout": 0}, {"stopTimeout": -1}, "stopTimeout of a container on Fargate"),
        ({"stopTimeout": 120}, {"stopTimeout": 121}, "stopTimeout of a container on Fargate"),
        ({"startTimeout": 2}, {"startTimeout": 1}, "startTimeout of a container on Fargate"),
        ({"startTimeout": 120}, {"startTimeout": 121}, "startTimeout of a container on Fargate"),
        ({"name": "c" * 255}, {"name": "c" * 256}, "Invalid container name"),
        ({"name": "A-b_9"}, {"name": "a b"}, "Invalid container name 'a b'"),
        ({"image": "i"}, {"image": ""}, "should not be null or empty"),
    ],
)
def test_a_containers_limits(fits: dict[str, Any], does_not: dict[str, Any], why: str) -> None:
    check_definition(definition(**fits))
    assert why in refused(definition(**does_not))


@pytest.mark.parametrize(
    ("fits", "does_not", "why"),
    [
        ({"privileged": False}, {"privileged": True}, "Fargate does not support privileged"),
        (
            {"linuxParameters": {"capabilities": {"add": ["SYS_PTRACE"]}, "initProcessEnabled": True}},
            {"linuxParameters": {"capabilities": {"add": ["SYS_PTRACE", "NET_ADMIN"]}}},
            "adding capabilities: NET_ADMIN",
        ),
        ({"linuxParameters": {}}, {"linuxParameters": {"tmpfs": [{"containerPath": "/t", "size": 1}]}}, "tmpfs"),
        ({"resourceRequirements": []}, {"resourceRequirements": [{"type": "GPU", "value": "1"}]}, "of type GPU"),
        ({"hostname": ""}, {"hostname": "h"}, "hostname is not supported when networkMode=awsvpc"),
        ({"dnsServers": []}, {"dnsServers": ["1.1.1.1"]}, "dnsServers is not supported when networkMode=awsvpc"),
        (
            {"portMappings": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81}]},
            {"portMappings": [{"containerPort": 80, "hostPort": 8080}]},
            "the host ports and container ports in port mappings must match",
        ),
        ({"cpu": 256}, {"cpu": 257}, "cpu (257) is more than the cpu of the task (256)"),
        ({"memory": 512}, {"memory": 513}, "memory (513 MiB) is more than the memory of the task (512 MiB)"),
        (
            {"memory": 600, "memoryReservation": 512},
            {"memory": 1, "memoryReservation": 2},
            "must not be more than memory",
        ),
    ],
)
def test_what_fargate_and_awsvpc_do_not_allow(fits: dict[str, Any], does_not: dict[str, Any], why: str) -> None:
    check_definition(definition(**fits))
    assert why in refused(definition(**does_not))


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ({"pidMode": "host"}, "pid mode 'task'"),
        ({"ipcMode": "host"}, "does not support ipcMode"),
        ({"placementConstraints": [{"type": "memberOf"}]}, "placementConstraints"),
        ({"volumes": [{"name": "v", "host": {"sourcePath": "/x"}}]}, "Volume 'v'"),
    ],
)
def test_what_fargate_does_not_have_for_a_task(member: dict[str, Any], why: str) -> None:
    assert why in refused({**definition(), **member})
    check_definition({**definition(), "pidMode": "task", "volumes": [{"name": "v", "host": {}}]})
    on_ec2 = {**definition(memory=5), **member, "requiresCompatibilities": ["EC2"], "networkMode": "bridge"}
    check_definition(on_ec2, [Path("/x")])


def test_all_containers_count() -> None:
    two = definition(cpu=200)
    two["containerDefinitions"].append({"name": "d", "image": "i", "cpu": 57})
    assert "cpu (257)" in refused(two)
    without = {**two, "requiresCompatibilities": ["EC2"], "memory": "100"}
    check_definition({name: value for name, value in without.items() if name != "cpu"})


UNSERVED_OF_SERVICES: list[tuple[dict[str, Any], str]] = [
    ({"volumeConfigurations": [{"name": "x"}]}, "volumeConfigurations is not supported by skylift's local cloud"),
    (
        {"vpcLatticeConfigurations": [{"roleArn": "x"}]},
        "vpcLatticeConfigurations is not supported by skylift's local cloud",
    ),
    ({"serviceConnectConfiguration": {"enabled": True}}, "Service Connect is not supported by skylift's local cloud"),
    ({"schedulingStrategy": "DAEMON"}, "DAEMON is not supported"),
    (
        {"deploymentController": {"type": "CODE_DEPLOY"}},
        "skylift's local cloud serves the deployment controller ECS only",
    ),
    ({"desiredCount": -1}, "must not be negative"),
    ({"serviceName": "a b"}, "Service name must have up to 255"),
    ({"serviceName": "a" * 256}, "Service name must have up to 255"),
    ({"healthCheckGracePeriodSeconds": -1}, "must be between 0 and 2147483647"),
    ({"healthCheckGracePeriodSeconds": 2**31}, "must be between 0 and 2147483647"),
    (
        {"deploymentConfiguration": {"lifecycleHooks": [{"hookTargetArn": "x"}]}},
        "Lifecycle hooks are not supported by skylift's local cloud",
    ),
    (
        {"deploymentConfiguration": {"alarms": {"enable": True}}},
        "Deployment alarms are not supported by skylift's local cloud",
    ),
    (
        {"deploymentConfiguration": {"strategy": "BLUE_GREEN"}},
        "strategy BLUE_GREEN is not supported by skylift's local cloud",
    ),
    ({"deploymentConfiguration": {"minimumHealthyPercent": -1}}, "must not be negative, and maximumPercent"),
    ({"deploymentConfiguration": {"maximumPercent": 99}}, "maximumPercent must be at least 100"),
    ({"deploymentConfiguration": {"minimumHealthyPercent": 101}}, "must not be more than 100"),
    ({"deploymentConfiguration": {"maximumPercent": 100}}, "cannot be 100 as this will block"),
]


@pytest.mark.parametrize(("request_", "why"), UNSERVED_OF_SERVICES)
def test_what_a_service_cannot_have_is_named(request_: dict[str, Any], why: str) -> None:
    with pytest.raises(AwsError) as error:
        check_service(request_)
    assert error.value.code == "InvalidParameterException"
    assert says_whose(why, error.value.message), error.value.message


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"serviceName": "a" * 255, "schedulingStrategy": "REPLICA", "deploymentController": {"type": "ECS"}},
        {"desiredCount": 0, "healthCheckGracePeriodSeconds": 0, "serviceConnectConfiguration": {"enabled": False}},
        {"healthCheckGracePeriodSeconds": 2**31 - 1, "serviceRegistries": []},
        {"deploymentConfiguration": {"minimumHealthyPercent": 0, "maximumPercent": 100, "strategy": "ROLLING"}},
        {"deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 101, "alarms": {"enable": False}}},
    ],
)
def test_what_a_service_may_have(request_: dict[str, Any]) -> None:
    check_service(request_)
    assert check_deployment(request_.get("deploymentConfiguration", {})) is None


FARGATE = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["s"], "securityGroupIds": ["g"]}
EC2 = {"type": "EC2", "maxvCpus": 4, "minvCpus": 4, "subnets": ["s"], "instanceTypes": ["optimal"], "instanceRole": "r"}
WRONG_RESOURCES: list[tuple[dict[str, Any], str]] = [
    *(
        (FARGATE | {name: "x"}, f"{name} is not applicable for FARGATE")
        for name in (
            "minvCpus", "instanceTypes", "instanceRole", "ec2KeyPair", "imageId", "bidPercentage", "launchTemplate",
        )
    ),
    (FARGATE | {"type": "FARGATE_SPOT", "minvCpus": 0}, "not applicable for FARGATE_SPOT"),
    (FARGATE | {"maxvCpus": 0}, "maxvCpus must be greater than 0"),
    (FARGATE | {"subnets": []}, "subnets are required"),
    (FARGATE | {"securityGroupIds": []}, "securityGroupIds are required"),
    (EC2 | {"minvCpus": 5}, "minvCpus must not be greater"),
    (EC2 | {"type": "OTHER"}, "type OTHER are not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "why"), WRONG_RESOURCES)
def test_what_compute_resources_cannot_have_is_named(tmp_path: Path, resources: dict[str, Any], why: str) -> None:
    async def scenario(world: batch_world.World) -> None:
        wanted = {"computeEnvironmentName": "e", "type": "MANAGED", "computeResources": resources}
        with pytest.raises(AwsError, match=why) as error:
            world.batch.create_compute_environment(batch_world.ME, wanted)
        assert error.value.code == "ClientException"

    batch_world.played(tmp_path, scenario)


@pytest.mark.parametrize("kind", [FARGATE, EC2, FARGATE | {"type": "FARGATE_SPOT"}, EC2 | {"type": "SPOT"}])
def test_what_compute_resources_may_have(tmp_path: Path, kind: dict[str, Any]) -> None:
    async def scenario(world: batch_world.World) -> None:
        wanted = {"computeEnvironmentName": "e", "type": "MANAGED", "computeResources": kind | {"maxvCpus": 4}}
        world.batch.create_compute_environment(batch_world.ME, wanted)
        found = world.batch.describe_compute_environments(batch_world.ME, {})["computeEnvironments"]
        assert [one["computeResources"]["type"] for one in found] == [kind["type"]]

    batch_world.played(tmp_path, scenario)
