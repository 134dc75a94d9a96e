"""What seldom happens to ECS tasks, services and clusters: Spot taken back, kills, deleted target groups, tokens used
twice, what is inactive."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import GROUP, ME, NETWORK, World, definition, played, until

from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit
RUN: dict[str, Any] = {"taskDefinition": "f", "networkConfiguration": NETWORK}


def refusal(call: Any, request: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(AwsError) as error:
        call(ME, request)
    return error.value.code, error.value.message


def test_spot_capacity_that_is_taken_back_stops_the_task_with_its_reason(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.runner.deaf = True
        arn = world.run(stopTimeout=100)
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        (container,) = world.runner.running
        task = world.ecs.store.tasks[arn.rpartition("/")[2]]
        world.ecs.engine.reclaim_spot(task, 0.05)
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        stopped = world.task(arn)
        assert (stopped["stopCode"], stopped["stoppedReason"]) == (
            "SpotInterruption",
            "Your Spot Task was interrupted.",
        )
        assert container.signals == [signal.SIGTERM, signal.SIGKILL], "after the warning, not after its stopTimeout"
        world.ecs.engine.reclaim_spot(task, 0.05)
        assert world.task(arn) == stopped, "once is enough"

    played(tmp_path, scenario)


def test_containers_are_killed_by_name_or_all(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        wanted = definition()
        wanted["containerDefinitions"].append({"name": "side", "image": "i", "command": ["x"], "essential": False})
        world.ecs.register_task_definition(ME, wanted)
        arn = world.ecs.run_task(ME, RUN)["tasks"][0]["taskArn"]
        await until(lambda: len(world.runner.running) == 2)
        task = world.ecs.store.tasks[arn.rpartition("/")[2]]
        await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        assert world.ecs.engine.kill(task, "none") == 0
        assert world.ecs.engine.kill(task, "side") == 1
        await until(lambda: len(world.runner.running) == 1)
        assert world.task(arn)["desiredStatus"] == "RUNNING"
        assert world.ecs.engine.kill(task) == 1
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert {one["name"]: one["exitCode"] for one in world.task(arn)["containers"]} == {"c": 137, "side": 137}
        assert world.ecs.engine.kill(task) == 0

    played(tmp_path, scenario)


def test_a_token_that_was_used_for_something_else_is_a_conflict(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.ecs.register_task_definition(ME, definition())
        first = world.ecs.run_task(ME, {**RUN, "clientToken": "t"})["tasks"]
        assert world.ecs.run_task(ME, {**RUN, "clientToken": "t"})["tasks"][0]["taskArn"] == first[0]["taskArn"]
        with pytest.raises(AwsError) as error:
            world.ecs.run_task(ME, {**RUN, "clientToken": "t", "count": 2})
        assert (error.value.code, error.value.message) == (
            "ConflictException",
            "The clientToken was used before with different parameters.",
        )
        assert error.value.members == {"resourceIds": [first[0]["taskArn"]]}
        assert len(world.ecs.store.tasks) == 1
        assert world.ecs.run_task(ME, RUN)["tasks"][0]["taskArn"] != first[0]["taskArn"]

    played(tmp_path, scenario)


def test_what_is_inactive_is_used_by_nothing_new(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ecs = world.ecs
        world.serve()
        ecs.register_task_definition(ME, {**definition(), "family": "g"})
        ecs.deregister_task_definition(ME, {"taskDefinition": "g:1"})
        assert refusal(ecs.run_task, {**RUN, "taskDefinition": "g:1"}) == (
            "ClientException",
            "TaskDefinition is inactive",
        )
        assert refusal(ecs.run_task, {**RUN, "taskDefinition": "g"}) == ("ClientException", "TaskDefinition not found.")
        ecs.create_cluster(ME, {"clusterName": "gone"})
        ecs.delete_cluster(ME, {"cluster": "gone"})
        assert refusal(ecs.run_task, {**RUN, "cluster": "gone"}) == (
            "ClusterNotFoundException",
            "The referenced cluster was inactive.",
        )
        ecs.delete_service(ME, {"service": "s", "force": True})
        assert refusal(ecs.update_service, {"service": "s", "desiredCount": 2}) == (
            "ServiceNotActiveException",
            "Service was not ACTIVE.",
        )

    played(tmp_path, scenario)


def test_a_clusters_default_strategy_is_for_those_who_name_none(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ecs = world.ecs
        strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        ecs.put_cluster_capacity_providers(
            ME, {"capacityProviders": ["FARGATE_SPOT", "FARGATE"], "defaultCapacityProviderStrategy": strategy}
        )
        ecs.register_task_definition(ME, definition())
        (task,) = ecs.run_task(ME, RUN)["tasks"]
        assert (task.get("capacityProviderName"), task.get("launchType")) == ("FARGATE_SPOT", "FARGATE")
        (task,) = ecs.run_task(ME, {**RUN, "launchType": "FARGATE"})["tasks"]
        assert "capacityProviderName" not in task
        own = [{"capacityProvider": "FARGATE", "weight": 1}]
        (task,) = ecs.run_task(ME, {**RUN, "capacityProviderStrategy": own})["tasks"]
        assert task["capacityProviderName"] == "FARGATE"

    played(tmp_path, scenario)


def test_an_update_changes_what_it_names_of_the_deployment_configuration(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.serve(deploymentConfiguration={"minimumHealthyPercent": 50, "maximumPercent": 150})
        world.ecs.update_service(ME, {"service": "s", "deploymentConfiguration": {"maximumPercent": 120}})
        found = world.service["deploymentConfiguration"]
        assert (found["minimumHealthyPercent"], found["maximumPercent"]) == (50, 120)

    played(tmp_path, scenario)


def test_a_classic_load_balancer_is_refused(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        balancers = [{"loadBalancerName": "old", "containerName": "c", "containerPort": 80}]
        with pytest.raises(AwsError, match="Classic load balancers are not supported"):
            world.serve(loadBalancers=balancers)

    played(tmp_path, scenario)


def test_a_target_group_that_was_deleted_holds_nobody_up(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async def gone(*_: Any) -> None:
            raise AwsError("TargetGroupNotFound", "no such group")

        def nobody(*_: Any) -> str:
            raise AwsError("TargetGroupNotFound", "no such group")

        world.outside.register = gone  # type: ignore[method-assign]
        world.outside.health = nobody  # type: ignore[method-assign]
        world.serve(loadBalancers=[{"targetGroupArn": GROUP, "containerName": "c", "containerPort": 80}])
        await until(lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        told = [event["message"] for event in world.service["events"]]
        assert f"(service s) was unable to have 1 targets registered in {GROUP}: no such group" in told

    played(tmp_path, scenario)


def test_a_service_that_the_disk_cannot_take_waits_and_says_so(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.serve()
        world.ecs.store._disk.execute("PRAGMA query_only = 1")
        begin = "(service s) was unable to place a task. Reason: "
        await until(lambda: any(event["message"].startswith(begin) for event in world.service["events"]))
        assert world.service["runningCount"] == 0
        world.ecs.store._disk.execute("PRAGMA query_only = 0")
        world.ecs.scheduler.ring(next(iter(world.ecs.store.services)))
        await until(lambda: world.service["runningCount"] == 1)

    played(tmp_path, scenario)


def test_a_capacity_provider_that_a_service_uses_stays(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ecs = world.ecs
        ecs.create_capacity_provider(
            ME, {"name": "own", "autoScalingGroupProvider": {"autoScalingGroupArn": "arn:asg"}}
        )
        ecs.put_cluster_capacity_providers(ME, {"capacityProviders": ["own"], "defaultCapacityProviderStrategy": []})
        world.serve(capacityProviderStrategy=[{"capacityProvider": "own", "weight": 1}])
        for cluster in ecs.store.clusters.values():
            cluster["capacityProviders"] = []
        assert refusal(ecs.delete_capacity_provider, {"capacityProvider": "own"}) == (
            "ClientException",
            "The capacity provider cannot be deleted because it is used by a service.",
        )
        ecs.delete_service(ME, {"service": "s", "force": True})
        await until(lambda: world.service["status"] == "INACTIVE")
        assert ecs.delete_capacity_provider(ME, {"capacityProvider": "own"})["capacityProvider"]["status"] == "INACTIVE"

    played(tmp_path, scenario)
