"""What ECS refuses because of what is there: clusters in use, services between two states, networks and strategies that
do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import ME, NETWORK, World, definition, played, until

from skylift.localcloud.ecs.model.checks import check_overrides, check_placement, check_run
from skylift.localcloud.ecs.model.strategy import MOST_ITEMS, check_strategy
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit
ON_FARGATE = {**definition(), "compatibilities": ["EC2", "FARGATE"]}
ON_EC2 = {**definition(), "networkMode": "bridge", "compatibilities": ["EC2"], "requiresCompatibilities": ["EC2"]}


def refusal(call: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as refused:
        call(*arguments)
    return refused.value.code, refused.value.message


@pytest.mark.parametrize(
    ("request_", "known", "said"),
    [
        ({}, ON_FARGATE, "Network Configuration must be provided when networkMode 'awsvpc' is specified."),
        ({"networkConfiguration": {}}, ON_FARGATE, "Network Configuration must be provided when"),
        (
            {"networkConfiguration": {"awsvpcConfiguration": {"securityGroups": ["g"]}}},
            ON_FARGATE,
            "subnets can not be empty.",
        ),
        (
            {"networkConfiguration": NETWORK},
            ON_EC2,
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        ({"launchType": "FARGATE"}, ON_EC2, "Task definition does not support launch_type FARGATE."),
    ],
)
def test_a_network_that_does_not_fit(request_: dict[str, Any], known: dict[str, Any], said: str) -> None:
    code, text = refusal(check_placement, request_, known)
    assert (code, text.startswith(said)) == ("InvalidParameterException", True)
    check_placement({"networkConfiguration": NETWORK, "launchType": "FARGATE"}, ON_FARGATE)
    check_placement({"launchType": "EC2"}, ON_EC2)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"count": 0}, "Count should be between 1 and 10."),
        ({"count": 11}, "Count should be between 1 and 10."),
        ({"startedBy": "x" * 129}, "startedBy must have at most 128 characters."),
        ({"propagateTags": "SERVICE"}, "propagateTags SERVICE is not supported when running a task."),
        ({"clientToken": ""}, "clientToken must have 1 to 64 ASCII characters between 33 and 126."),
    ],
)
def test_a_run_that_is_not_lawful(members: dict[str, Any], said: str) -> None:
    lawful = {"networkConfiguration": NETWORK}
    assert refusal(check_run, {**lawful, **members}, ON_FARGATE) == ("InvalidParameterException", said)
    check_run({**lawful, "count": 10, "startedBy": "x" * 128, "clientToken": "~" * 64}, ON_FARGATE)


def test_overrides_name_a_container_that_is_there() -> None:
    said = "Override for container named x is not a container in the TaskDefinition."
    assert refusal(check_overrides, {"containerOverrides": [{"name": "x"}]}, ON_FARGATE)[1] == said
    files = {"containerOverrides": [{"name": "c", "environmentFiles": [{"value": "a", "type": "s3"}]}]}
    assert "must be the ARN of an object in S3" in refusal(check_overrides, files, ON_FARGATE)[1]
    check_overrides({"containerOverrides": [{"name": "c"}]}, ON_FARGATE)


def item(name: str, **members: int) -> dict[str, Any]:
    return {"capacityProvider": name, "weight": 1, **members}


SOME = ["FARGATE", "FARGATE_SPOT", "own", *(f"p{n}" for n in range(30))]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([item(f"p{n}") for n in range(MOST_ITEMS + 1)], "cannot contain more than 20 capacity providers."),
        ([item("own"), item("own")], "cannot contain duplicate capacity providers."),
        ([item("none")], "The specified capacity provider none was not found."),
        ([item("foreign")], "not associated with"),
        ([item("FARGATE"), item("own")], "cannot mix Fargate and Auto Scaling group capacity providers."),
        ([item("own", weight=1001)], "weight of a capacity provider must be between 0 and 1000."),
        ([item("own", weight=-1)], "weight of a capacity provider must be between 0 and 1000."),
        ([item("own", base=100_001)], "base of a capacity provider must be between 0 and 100000."),
        ([item("own", base=1), item("p1", base=1)], "can have a base defined."),
    ],
)
def test_a_strategy_that_is_not_lawful(items: list[dict[str, Any]], said: str) -> None:
    code, text = refusal(check_strategy, items, SOME, [*SOME, "foreign"])
    assert code == "InvalidParameterException"
    assert said in text
    check_strategy([item(f"p{n}") for n in range(MOST_ITEMS)], SOME, SOME)
    check_strategy([item("FARGATE", weight=1000, base=100_000), item("FARGATE_SPOT", weight=0)], SOME, SOME)


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ecs = world.ecs
        ecs.create_capacity_provider(
            ME, {"name": "own", "autoScalingGroupProvider": {"autoScalingGroupArn": "arn:asg"}}
        )
        providers = {"capacityProviders": ["FARGATE", "own"], "defaultCapacityProviderStrategy": []}
        ecs.put_cluster_capacity_providers(ME, providers)
        ecs.register_task_definition(ME, definition())
        strategy = [{"capacityProvider": "FARGATE", "weight": 1}]
        asked = {"taskDefinition": "f", "networkConfiguration": NETWORK, "capacityProviderStrategy": strategy}
        arn = ecs.run_task(ME, asked)["tasks"][0]["taskArn"]
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        fewer = {"capacityProviders": ["own"], "defaultCapacityProviderStrategy": []}
        assert refusal(ecs.put_cluster_capacity_providers, ME, fewer) == (
            "ResourceInUseException",
            "The capacity provider FARGATE is in use and cannot be removed.",
        )
        assert refusal(ecs.delete_cluster, ME, {"cluster": "default"}) == (
            "ClusterContainsTasksException",
            "The Cluster cannot be deleted while Tasks are active.",
        )
        ecs.create_service(ME, {"serviceName": "s", "desiredCount": 1, **asked})
        assert refusal(ecs.delete_cluster, ME, {"cluster": "default"})[0] == "ClusterContainsServicesException"
        ecs.stop_task(ME, {"task": arn})
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert refusal(ecs.put_cluster_capacity_providers, ME, fewer)[0] == "ResourceInUseException"
        ecs.delete_service(ME, {"service": "s", "force": True})
        await until(lambda: world.service["status"] == "INACTIVE")
        ecs.put_cluster_capacity_providers(ME, fewer)
        assert ecs.delete_cluster(ME, {"cluster": "default"})["cluster"]["status"] == "INACTIVE"

    played(tmp_path, scenario)


def test_a_service_between_two_states(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.runner.deaf = True
        world.serve()
        await until(lambda: world.service["runningCount"] == 1)
        request = {"serviceName": "s", "taskDefinition": "f", "desiredCount": 2, "networkConfiguration": NETWORK}
        text = refusal(world.ecs.create_service, ME, request)
        assert text == ("InvalidParameterException", "Creation of service was not idempotent.")
        other = {"awsvpcConfiguration": {"securityGroups": ["g"]}}
        wrong = {"service": "s", "networkConfiguration": other}
        assert refusal(world.ecs.update_service, ME, wrong)[1] == "subnets can not be empty."
        world.ecs.delete_service(ME, {"service": "s", "force": True})
        assert world.service["status"] == "DRAINING"
        text = refusal(world.ecs.create_service, ME, request)
        assert text == ("InvalidParameterException", "Unable to Start a service that is still Draining.")
        for container in list(world.runner.running):
            container.end(0)
        await until(lambda: world.service["status"] == "INACTIVE")
        assert world.ecs.create_service(ME, request)["service"]["status"] == "ACTIVE"

    played(tmp_path, scenario)
