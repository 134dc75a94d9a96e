"""Containers' health with real programs: checks run inside, dependsOn waits for them, services replace unhealthy ECS
tasks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.local.ecs_cloud import IMAGE, NETWORK, Cloud, definition, described, run, until, wait_for

from skylift.cli.shell import talk

pytestmark = pytest.mark.local

QUICK = {"interval": 5, "timeout": 2, "retries": 1}


def test_a_check_runs_inside_and_others_wait_for_it(ecs: Any) -> None:
    """It sees the container's variables and working folder; the other container begins only then."""
    check = {**QUICK, "command": ["CMD-SHELL", 'test "$COLOUR" = blue && test -e ready']}
    request = definition(
        "sh",
        "-c",
        "touch ready; exec sleep 300",
        environment=[{"name": "COLOUR", "value": "blue"}],
        healthCheck=check,
    )
    needs = [{"containerName": "main", "condition": "HEALTHY"}]
    second = {"name": "second", "image": IMAGE, "command": ["sleep", "300"], "dependsOn": needs}
    request["containerDefinitions"].append(second)
    sick = definition("sleep", "300", healthCheck={**QUICK, "command": ["CMD", "false"]})
    arn, other = run(ecs, request), run(ecs, sick)
    wait_for(lambda: [c["lastStatus"] for c in described(ecs, arn)["containers"]] == ["RUNNING", "PENDING"])
    shown = until(ecs, arn, "RUNNING")
    assert shown["healthStatus"] == "HEALTHY"
    assert [container["healthStatus"] for container in shown["containers"]] == ["HEALTHY", "UNKNOWN"]
    assert [container["lastStatus"] for container in shown["containers"]] == ["RUNNING", "RUNNING"]
    wait_for(lambda: described(ecs, other)["healthStatus"] == "UNHEALTHY")
    assert described(ecs, other)["lastStatus"] == "RUNNING"  # nobody replaces it: it belongs to no service
    for task in (arn, other):
        ecs.stop_task(task=task)


def test_a_dependency_that_fails_stops_the_ecs_task(ecs: Any) -> None:
    request = definition("sleep", "300", dependsOn=[{"containerName": "first", "condition": "SUCCESS"}])
    first = {"name": "first", "image": IMAGE, "command": ["sh", "-c", "exit 4"], "essential": False}
    request["containerDefinitions"].append(first)
    shown = until(ecs, run(ecs, request), "STOPPED")
    assert shown["stopCode"] == "TaskFailedToStart"
    assert shown["stoppedReason"] == "Container main depends on first, which exited with 4"
    assert {c["name"]: c.get("exitCode") for c in shown["containers"]} == {"main": None, "first": 4}


def test_cloud_map_knows_a_services_tasks_and_their_health(cloud: Cloud, ecs: Any) -> None:
    names = cloud.client("servicediscovery")
    operation = names.create_private_dns_namespace(Name="shop", Vpc="vpc-1")["OperationId"]
    namespace = names.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
    records = {"NamespaceId": namespace, "DnsRecords": [{"Type": "SRV", "TTL": 10}]}  # as Terraform says it
    registry = names.create_service(Name="stock", DnsConfig=records, HealthCheckCustomConfig={"FailureThreshold": 1})[
        "Service"
    ]
    check = {**QUICK, "command": ["CMD-SHELL", "test -e ready"]}
    ports = [{"containerPort": 8080}]
    ecs.register_task_definition(
        **{**definition("sleep", "300", healthCheck=check, portMappings=ports), "family": "stock"}
    )
    known = {"registryArn": registry["Arn"], "containerName": "main", "containerPort": 8080}
    ecs.create_service(
        serviceName="stock",
        taskDefinition="stock",
        desiredCount=1,
        networkConfiguration=NETWORK,
        serviceRegistries=[known],
        healthCheckGracePeriodSeconds=600,
        enableExecuteCommand=True,
    )

    def found(health: str) -> list[dict[str, Any]]:
        asked = {"NamespaceName": "shop", "ServiceName": "stock", "HealthStatus": health}
        return list(names.discover_instances(**asked)["Instances"])

    wait_for(lambda: found("ALL"))
    (task,) = ecs.list_tasks(serviceName="stock")["taskArns"]
    (instance,) = found("UNHEALTHY")
    address = described(ecs, task)["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert instance["InstanceId"] == task.rpartition("/")[2]
    expected = {"AWS_INSTANCE_IPV4": address, "AWS_INSTANCE_PORT": "8080", "ECS_SERVICE_NAME": "stock"}
    assert expected.items() <= instance["Attributes"].items()
    assert found("HEALTHY") == []
    with pytest.raises(names.exceptions.ResourceInUse):
        names.delete_service(Id=registry["Id"])
    in_shell(ecs, task, "touch ready")
    wait_for(lambda: found("HEALTHY"))
    ecs.update_service(service="stock", desiredCount=0)
    wait_for(lambda: not found("ALL"))
    names.delete_service(Id=registry["Id"])
    ecs.delete_service(service="stock", force=True)


def test_a_service_replaces_what_is_sick_and_the_waiters_agree(ecs: Any) -> None:
    check = {**QUICK, "command": ["CMD-SHELL", "test ! -e sick"]}
    request = {**definition("sleep", "300", healthCheck=check), "family": "patient"}
    arn = ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"]
    ecs.create_service(
        serviceName="patient",
        taskDefinition=arn,
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration=NETWORK,
        enableExecuteCommand=True,
    )
    quick = {"Delay": 1, "MaxAttempts": 60}
    ecs.get_waiter("services_stable").wait(services=["patient"], WaiterConfig=quick)
    (task,) = ecs.list_tasks(serviceName="patient")["taskArns"]
    ecs.get_waiter("tasks_running").wait(tasks=[task], WaiterConfig=quick)
    wait_for(lambda: service(ecs)["deployments"][0]["rolloutState"] == "COMPLETED")
    assert described(ecs, task)["healthStatus"] == "HEALTHY"
    in_shell(ecs, task, "touch sick")
    ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig=quick)
    assert described(ecs, task)["stoppedReason"] == "Task failed container health checks"
    assert described(ecs, task)["stopCode"] == "ServiceSchedulerInitiated"
    wait_for(lambda: service(ecs)["runningCount"] == 1)
    assert any("is unhealthy: Task failed container health checks" in e["message"] for e in service(ecs)["events"])
    ecs.delete_service(service="patient", force=True)
    ecs.get_waiter("services_inactive").wait(services=["patient"], WaiterConfig=quick)


def service(ecs: Any) -> dict[str, Any]:
    return dict(ecs.describe_services(services=["patient"])["services"][0])


def in_shell(ecs: Any, task: str, command: str) -> None:
    """Somebody changes something, from a shell in its container."""
    session = ecs.execute_command(task=task, command=command, interactive=True)["session"]
    assert talk(session["streamUrl"], session["tokenValue"]) == 0
