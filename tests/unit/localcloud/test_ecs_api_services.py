"""ECS's operations on services, case by case; and that every operation of ECS that is served has its cases.

Sources of rules that botocore's model does not hold: API reference of each operation; texts from AWS's answers where
they are known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel
from tests.unit.ecs_table import BASE, GROUP, NETWORK, Case, play
from tests.unit.localcloud.test_ecs_api_clusters import CASES as CLUSTER_CASES
from tests.unit.localcloud.test_ecs_api_tasks import CASES as TASK_CASES

from skylift.localcloud.ecs.api.provider import EcsProvider

pytestmark = pytest.mark.unit

INVALID, CLIENT = "InvalidParameterException", "ClientException"
NONE, DEAD = "ServiceNotFoundException", "ServiceNotActiveException"
NEW = {"serviceName": "n", "taskDefinition": "f", "desiredCount": 1, "networkConfiguration": NETWORK}


def made(name: str, /, code: str = "", text: str = "", shows: dict[str, Any] | None = None, **members: Any) -> Case:
    return Case(name, "create_service", {**NEW, **members}, code, text, shows or {})


def updated(name: str, /, code: str = "", text: str = "", shows: dict[str, Any] | None = None, **members: Any) -> Case:
    return Case(name, "update_service", {"service": "s", **members}, code, text, shows or {})


def balancer(**members: Any) -> list[dict[str, Any]]:
    return [{"targetGroupArn": GROUP, "containerName": "c", "containerPort": 80, **members}]


CASES = [
    made(
        "accepted",
        shows={
            "service.status": "ACTIVE",
            "service.serviceArn": f"{BASE}:service/default/n",
            "service.launchType": "FARGATE",
            "service.deployments.0.rolloutState": "IN_PROGRESS",
            "service.deploymentConfiguration.maximumPercent": 200,
            "service.deploymentConfiguration.deploymentCircuitBreaker": {"enable": False, "rollback": False},
        },
    ),
    made(
        "circuit breaker",
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        shows={"service.deploymentConfiguration.deploymentCircuitBreaker.enable": True},
    ),
    made(
        "strategy",
        capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        shows={"service.capacityProviderStrategy.0.capacityProvider": "FARGATE_SPOT"},
    ),
    made("load balancer", loadBalancers=balancer()),
    made("the same again", serviceName="s", shows={"service.serviceName": "s"}),
    made("other parameters", INVALID, "not idempotent", serviceName="s", desiredCount=2),
    made("bad name", INVALID, "Service name", serviceName="a b"),
    made("unknown definition", CLIENT, "TaskDefinition not found.", taskDefinition="x"),
    made("unknown cluster", "ClusterNotFoundException", "Cluster not found.", cluster="x"),
    made("no network", INVALID, "Network Configuration must be provided", networkConfiguration={}),
    made("daemon", INVALID, "DAEMON is not supported on Fargate", schedulingStrategy="DAEMON"),
    made(
        "other controller",
        INVALID,
        "skylift's local cloud serves the deployment controller ECS only",
        deploymentController={"type": "CODE_DEPLOY"},
    ),
    made("negative", INVALID, "negative", desiredCount=-1),
    made("no room", INVALID, "will block deployments", deploymentConfiguration={"maximumPercent": 100}),
    made("odd percent", INVALID, "not be more than 100", deploymentConfiguration={"minimumHealthyPercent": 101}),
    made("small percent", INVALID, "at least 100", deploymentConfiguration={"maximumPercent": 50}),
    made(
        "blue and green",
        INVALID,
        "BLUE_GREEN is not supported by skylift's local cloud",
        deploymentConfiguration={"strategy": "BLUE_GREEN"},
    ),
    made("grace", INVALID, "healthCheckGracePeriodSeconds", healthCheckGracePeriodSeconds=-1),
    made("unknown registry", INVALID, "registry x was not found", serviceRegistries=[{"registryArn": "x"}]),
    made(
        "connect",
        INVALID,
        "Service Connect is not supported by skylift's local cloud",
        serviceConnectConfiguration={"enabled": True},
    ),
    made(
        "unknown container", INVALID, "does not exist in the task definition", loadBalancers=balancer(containerName="x")
    ),
    made("unknown port", INVALID, "did not have a container port 81", loadBalancers=balancer(containerPort=81)),
    made(
        "foreign provider",
        INVALID,
        "not associated",
        cluster="bare",
        capacityProviderStrategy=[{"capacityProvider": "own"}],
    ),
    made(
        "type and strategy",
        INVALID,
        "Specifying both a launch type",
        launchType="FARGATE",
        capacityProviderStrategy=[{"capacityProvider": "FARGATE"}],
    ),
    updated("count", desiredCount=3, shows={"service.desiredCount": 3, "service.deployments.#": 1}),
    updated(
        "forced", forceNewDeployment=True, shows={"service.deployments.#": 2, "service.deployments.1.status": "ACTIVE"}
    ),
    updated(
        "strategy",
        capacityProviderStrategy=[{"capacityProvider": "own", "weight": 1}],
        shows={"service.capacityProviderStrategy.0.capacityProvider": "own", "service.deployments.#": 2},
    ),
    updated("unknown", NONE, "Service not found.", service="x"),
    updated("unknown definition", CLIENT, "TaskDefinition not found.", taskDefinition="x"),
    updated("unknown provider", INVALID, "was not found", capacityProviderStrategy=[{"capacityProvider": "x"}]),
    updated("negative", INVALID, "negative", desiredCount=-1),
    Case("described", "describe_services", {"services": ["s"]}, shows={"services.0.runningCount": 1, "failures": []}),
    Case(
        "missing",
        "describe_services",
        {"services": ["x"]},
        shows={"failures.0": {"arn": f"{BASE}:service/default/x", "reason": "MISSING"}},
    ),
    Case("none", "describe_services", {"services": []}, INVALID, "cannot be empty"),
    Case("eleven", "describe_services", {"services": [str(n) for n in range(11)]}, INVALID, "more than 10"),
    Case("listed", "list_services", {}, shows={"serviceArns": [f"{BASE}:service/default/s"]}),
    Case("by type", "list_services", {"launchType": "EXTERNAL"}, shows={"serviceArns": []}),
    Case("daemons", "list_services", {"schedulingStrategy": "DAEMON"}, shows={"serviceArns": []}),
    Case("bad page", "list_services", {"nextToken": "x"}, INVALID, "token"),
    Case("no namespace", "list_services_by_namespace", {"namespace": "x"}, "NamespaceNotFoundException", "namespace"),
    Case(
        "deleted",
        "delete_service",
        {"service": "s", "force": True},
        shows={"service.status": "DRAINING", "service.desiredCount": 0},
    ),
    Case("above zero", "delete_service", {"service": "s"}, INVALID, "while it is scaled above 0"),
    Case("unknown", "delete_service", {"service": "x"}, NONE, "Service not found."),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation}: {case.name}")
def test_case(tmp_path: Path, case: Case) -> None:
    play(tmp_path, case)


NOT_SERVED = {
    "agents talk so to ECS, and there are none": {
        "DiscoverPollEndpoint",
        "SubmitAttachmentStateChanges",
        "SubmitContainerStateChange",
        "SubmitTaskStateChange",
        "UpdateContainerAgent",
    },
    "task sets belong to other deployment controllers": {
        "DeleteTaskSet",
        "UpdateServicePrimaryTaskSet",
        "UpdateTaskSet",
    },
    "histories of deployments": {
        "ContinueServiceDeployment",
        "DescribeServiceDeployments",
        "DescribeServiceRevisions",
        "ListServiceDeployments",
        "StopServiceDeployment",
    },
    "daemons and express services": {
        "CreateDaemon",
        "CreateExpressGatewayService",
        "DeleteDaemon",
        "DeleteDaemonTaskDefinition",
        "DeleteExpressGatewayService",
        "DescribeDaemon",
        "DescribeDaemonDeployments",
        "DescribeDaemonRevisions",
        "DescribeDaemonTaskDefinition",
        "DescribeExpressGatewayService",
        "ListDaemonDeployments",
        "ListDaemonTaskDefinitions",
        "ListDaemons",
        "RegisterDaemonTaskDefinition",
        "UpdateDaemon",
        "UpdateExpressGatewayService",
    },
}
CANNOT_REFUSE = {"delete_account_setting"}
"""Beyond what the model refuses."""
ALWAYS_REFUSED = {
    "create_task_set",
    "delete_attributes",
    "deregister_container_instance",
    "execute_command",  # accepted where it is enabled: tests/local/localcloud/test_ecs_exec.py
    "list_services_by_namespace",
    "put_attributes",
    "register_container_instance",
}


def test_every_operation_has_its_cases() -> None:
    model = ServiceModel(Loader().load_service_model("ecs", "service-2"), "ecs")
    left_out = set().union(*NOT_SERVED.values())
    served = {xform_name(name) for name in set(model.operation_names) - left_out}
    assert {name for name in map(xform_name, model.operation_names) if hasattr(EcsProvider, name)} == served
    cases = [*CASES, *CLUSTER_CASES, *TASK_CASES]
    assert {case.operation for case in cases if not case.code} == served - ALWAYS_REFUSED
    assert {case.operation for case in cases if case.code} == served - CANNOT_REFUSE
