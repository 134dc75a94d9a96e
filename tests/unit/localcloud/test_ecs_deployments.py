"""Services on the runner's fake: circuit breaker and rollback, sick ECS tasks, protection; and their pure rules."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import GROUP, ME, World, definition, played, until

from skylift.localcloud.ecs.model import health
from skylift.localcloud.ecs.model.health import HEALTHY, UNHEALTHY, UNKNOWN, HealthCheck, Pulse, after
from skylift.localcloud.ecs.model.strategy import choose
from skylift.localcloud.ecs.services.deployments import threshold
from skylift.localcloud.ecs.services.rolling import Member, ServiceSpec, decide
from skylift.localcloud.ecs.tasks.depends_on import ContainerProgress, DependencyFailed, may_start
from skylift.localcloud.ecs.tasks.launch import Wanted

pytestmark = pytest.mark.unit

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


@pytest.mark.parametrize(
    ("configuration", "desired", "most"),
    [
        (None, 1, 3),
        (None, 7, 4),
        (None, 1000, 200),
        ({"type": "COUNT", "value": 1}, 10, 1),
        ({"type": "UNBOUNDED_PERCENT", "value": 10}, 10, 1),
        ({"type": "BOUNDED_PERCENT", "value": 10}, 10, 3),
        ({"type": "UNBOUNDED_PERCENT", "value": 50}, 1000, 500),
    ],
)
def test_how_many_failures_break_the_circuit(configuration: dict[str, Any] | None, desired: int, most: int) -> None:
    assert threshold({"thresholdConfiguration": configuration} if configuration else {}, desired) == most


async def fail_until(world: World, condition: Any) -> None:
    """Lets time pass, so that back-offs end, until it is so."""
    for _ in range(200):
        if condition():
            return
        world.clock.advance(61)
        world.ecs.scheduler.ring(next(iter(world.ecs.store.services)))
        await asyncio.sleep(0.01)
    raise AssertionError(world.service)


def test_a_failed_deployment_is_rolled_back(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.serve(deploymentConfiguration=BREAKER)
        await until(lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        good = world.service["deployments"][0]["id"]
        world.runner.broken = "CannotStartContainerError: no"
        world.ecs.register_task_definition(ME, definition(command=["worse"]))
        world.ecs.update_service(ME, {"service": "s", "taskDefinition": "f:2"})
        bad = world.service["deployments"][0]["id"]
        await fail_until(world, lambda: world.service["taskDefinition"].endswith("f:1"))
        world.runner.broken = ""
        primary = world.service["deployments"][0]
        assert primary["rolloutStateReason"] == f"ECS deployment circuit breaker: rolling back to deploymentId {good}."
        await fail_until(world, lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        texts = [event["message"] for event in world.service["events"]]
        assert f"(service s) (deployment {bad}) deployment failed: tasks failed to start." in texts
        assert f"(service s) rolling back to deployment {good}." in texts
        assert world.service["runningCount"] == 1

    played(tmp_path, scenario)


def test_without_rollback_a_failed_deployment_starts_nothing_more(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.runner.broken = "CannotStartContainerError: no"
        world.serve(deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}})
        await fail_until(world, lambda: world.service["deployments"][0]["rolloutState"] == "FAILED")
        primary = world.service["deployments"][0]
        assert primary["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
        assert primary["failedTasks"] == 3
        tasks = len(world.ecs.store.tasks)
        world.clock.advance(1000)
        world.ecs.scheduler.ring(next(iter(world.ecs.store.services)))
        await asyncio.sleep(0.05)
        assert len(world.ecs.store.tasks) == tasks

    played(tmp_path, scenario)


def test_a_target_that_is_sick_is_replaced_after_the_grace_time(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        balancers = [{"targetGroupArn": GROUP, "containerName": "c", "containerPort": 80}]
        sick: set[str] = set()
        world.outside.health = lambda _group, address, _port: "unhealthy" if address in sick else "healthy"  # type: ignore[method-assign]
        world.serve(loadBalancers=balancers, healthCheckGracePeriodSeconds=60)
        await until(lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        (old,) = world.ecs.list_tasks(ME, {"serviceName": "s"})["taskArns"]
        sick.add(world.outside.targets[0][1])
        key = next(iter(world.ecs.store.services))
        world.ecs.scheduler.ring(key)
        await asyncio.sleep(0.02)
        assert world.task(old)["desiredStatus"] == "RUNNING"
        world.clock.advance(61)
        world.ecs.scheduler.ring(key)
        await until(lambda: world.task(old)["lastStatus"] == "STOPPED")
        assert world.task(old)["stoppedReason"] == f"Task failed ELB health checks in (target-group {GROUP})"
        await fail_until(world, lambda: world.service["runningCount"] == 1)

    played(tmp_path, scenario)


def test_one_that_is_being_stopped_does_not_keep_a_sick_one_alive(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        balancers = [{"targetGroupArn": GROUP, "containerName": "c", "containerPort": 80}]
        sick: set[str] = set()
        world.outside.health = lambda _group, address, _port: "unhealthy" if address in sick else "healthy"  # type: ignore[method-assign]
        world.runner.deaf = True
        world.serve(loadBalancers=balancers, desiredCount=2)
        await until(lambda: world.service["runningCount"] == 2 and len(world.outside.targets) == 2)
        (service,) = world.ecs.store.services.values()
        stopping, other = world.ecs.scheduler.tasks_of(service)
        world.ecs.stop_task(ME, {"task": stopping.id})
        await until(lambda: world.task(stopping.document["taskArn"])["desiredStatus"] == "STOPPED")
        sick |= {address for _, address, _ in world.outside.targets if address == other.address}
        assert sick
        world.clock.advance(61)
        world.ecs.scheduler.ring(service.key)
        await until(lambda: world.task(other.document["taskArn"])["desiredStatus"] == "STOPPED")
        assert world.task(stopping.document["taskArn"])["lastStatus"] != "STOPPED"
        world.runner.deaf = False
        for container in list(world.runner.running):
            container.end(0)

    played(tmp_path, scenario)


def test_the_protected_are_spared_until_it_ends(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.serve(desiredCount=2)
        await until(lambda: world.service["runningCount"] == 2)
        first, second = world.ecs.list_tasks(ME, {"serviceName": "s"})["taskArns"]
        both = {"tasks": [first, second], "protectionEnabled": True, "expiresInMinutes": 5}
        world.ecs.update_task_protection(ME, both)
        world.ecs.update_service(ME, {"service": "s", "desiredCount": 1})
        await asyncio.sleep(0.02)
        assert world.task(first)["desiredStatus"] == world.task(second)["desiredStatus"] == "RUNNING"
        await world.restart()
        world.ecs.update_task_protection(ME, {"tasks": [second], "protectionEnabled": False})
        await until(lambda: world.task(second)["lastStatus"] == "STOPPED")
        world.ecs.update_service(ME, {"service": "s", "forceNewDeployment": True})
        await until(lambda: len(world.runner.running) == 2)
        await asyncio.sleep(0.02)
        assert world.task(first)["desiredStatus"] == "RUNNING"
        world.clock.advance(301)
        assert world.ecs.get_task_protection(ME, {"tasks": [first]})["protectedTasks"][0]["protectionEnabled"] is False
        world.ecs.scheduler.ring(next(iter(world.ecs.store.services)))
        await until(lambda: world.task(first)["lastStatus"] == "STOPPED")

    played(tmp_path, scenario)


def test_a_protected_surplus_waits_for_its_end() -> None:
    members = [Member("a", "d", True, 1.0, 50.0), Member("b", "d", True, 2.0, 70.0)]
    decision = decide(ServiceSpec(1, 100, 200, "d"), members, 10.0, 0.0)
    assert (decision.stop, decision.wait) == ((), 40.0)


def test_managed_tags_of_a_service(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.serve(enableECSManagedTags=True, propagateTags="SERVICE", tags=[{"key": "a", "value": "b"}])
        await until(lambda: world.service["runningCount"] == 1)
        (arn,) = world.ecs.list_tasks(ME, {"serviceName": "s"})["taskArns"]
        tags = world.ecs.list_tags_for_resource(ME, {"resourceArn": arn})["tags"]
        assert {tag["key"]: tag["value"] for tag in tags} == {
            "a": "b",
            "aws:ecs:clusterName": "default",
            "aws:ecs:serviceName": "s",
        }

    played(tmp_path, scenario)


CHECK = HealthCheck(("true",), 5, 2, 2, 10)


def test_a_containers_pulse() -> None:
    young = after(CHECK, Pulse(), False, 9)
    assert young == Pulse(UNKNOWN, 0)
    assert after(CHECK, young, True, 9) == Pulse(HEALTHY, 0)
    once = after(CHECK, Pulse(HEALTHY), False, 9)  # a success has ended the start period
    assert once == Pulse(HEALTHY, 1)
    assert after(CHECK, once, False, 14) == Pulse(UNHEALTHY, 2)
    assert after(CHECK, Pulse(UNHEALTHY, 2), True, 20) == Pulse(HEALTHY, 0)


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [([], UNKNOWN), ([HEALTHY], HEALTHY), ([HEALTHY, UNKNOWN], UNKNOWN), ([HEALTHY, UNHEALTHY, UNKNOWN], UNHEALTHY)],
)
def test_an_ecs_tasks_health(statuses: list[str], whole: str) -> None:
    assert health.task_health(statuses) == whole


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["CMD-SHELL", "a b"], ("/bin/sh", "-c", "a b")),
        (["CMD", "a", "b"], ("a", "b")),
        (["a", "b"], ("/bin/sh", "-c", "a b")),
    ],
)
def test_a_health_checks_words(command: list[str], words: tuple[str, ...]) -> None:
    check = health.check_of({"healthCheck": {"command": command}})
    assert check is not None
    assert (check.words, check.interval, check.timeout, check.retries) == (words, 30, 5, 3)
    assert health.check_of({"healthCheck": {"command": ["NONE"]}}) is None


def needing(condition: str) -> Wanted:
    return Wanted({"name": "a", "dependsOn": [{"containerName": "b", "condition": condition}]}, {})


OTHER = {"b": Wanted({"name": "b", "startTimeout": 20}, {})}


@pytest.mark.parametrize(
    ("condition", "stage", "may"),
    [
        ("START", None, False),
        ("START", ContainerProgress(0, False, None, UNKNOWN), True),
        ("HEALTHY", ContainerProgress(19, False, None, UNKNOWN), False),
        ("HEALTHY", ContainerProgress(30, False, None, HEALTHY), True),
        ("COMPLETE", ContainerProgress(0, False, None, UNKNOWN), False),
        ("COMPLETE", ContainerProgress(0, True, 3, UNKNOWN), True),
        ("SUCCESS", ContainerProgress(0, True, 0, UNKNOWN), True),
    ],
)
def test_when_a_container_may_start(condition: str, stage: ContainerProgress | None, may: bool) -> None:
    assert may_start(needing(condition), OTHER, {"b": stage} if stage else {}) is may


@pytest.mark.parametrize(
    ("condition", "stage", "text"),
    [
        ("SUCCESS", ContainerProgress(0, True, 3, UNKNOWN), "exited with 3"),
        ("HEALTHY", ContainerProgress(0, False, None, UNHEALTHY), "did not become HEALTHY"),
        ("HEALTHY", ContainerProgress(0, True, 0, UNKNOWN), "did not become HEALTHY"),
        ("HEALTHY", ContainerProgress(20, False, None, UNKNOWN), "not HEALTHY within 20 seconds"),
        ("COMPLETE", ContainerProgress(21, False, None, UNKNOWN), "not COMPLETE within 20 seconds"),
    ],
)
def test_when_it_never_will(condition: str, stage: ContainerProgress, text: str) -> None:
    with pytest.raises(DependencyFailed, match=text):
        may_start(needing(condition), OTHER, {"b": stage})


def test_a_strategy_fills_the_base_and_then_divides_by_weight() -> None:
    items = [{"capacityProvider": "A", "base": 2, "weight": 1}, {"capacityProvider": "B", "weight": 3}]
    chosen = choose(items, {}, 10)
    assert chosen[:2] == ["A", "A"]
    assert (chosen.count("A"), chosen.count("B")) == (4, 6)
    assert choose(items, {"A": 2, "B": 0}, 4).count("B") == 3
    assert choose([{"capacityProvider": "A"}], {}, 2) == ["A", "A"]
