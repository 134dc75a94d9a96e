"""boto3's own waiters for ECS, on ECS tasks and services that really change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.local.ecs_cloud import NETWORK, definition, described, run
from tests.local.upstream_cloud import upstream_cloud

pytestmark = [pytest.mark.local, pytest.mark.long]
OFTEN = {"Delay": 1, "MaxAttempts": 40}
SLEEPER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture(scope="module")
def ecs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with upstream_cloud(tmp_path_factory.mktemp("waiters")) as cloud:
        yield cloud.client()


def wait(ecs: Any, name: str, **what: Any) -> None:
    ecs.get_waiter(name).wait(**what, WaiterConfig=OFTEN)


def test_tasks_running_then_stopped(ecs: Any) -> None:
    arns = [run(ecs, definition(*SLEEPER)), run(ecs, definition(*SLEEPER))]
    wait(ecs, "tasks_running", tasks=arns)
    assert {described(ecs, arn)["lastStatus"] for arn in arns} == {"RUNNING"}
    for arn in arns:
        ecs.stop_task(task=arn)
    wait(ecs, "tasks_stopped", tasks=arns)
    assert {described(ecs, arn)["lastStatus"] for arn in arns} == {"STOPPED"}


def test_tasks_running_gives_up_when_it_cannot_be(ecs: Any) -> None:
    over = run(ecs, definition("true"))
    wait(ecs, "tasks_stopped", tasks=[over])
    with pytest.raises(WaiterError, match="terminal failure state"):
        wait(ecs, "tasks_running", tasks=[over])
    with pytest.raises(WaiterError, match="terminal failure state"):
        wait(ecs, "tasks_running", tasks=["0" * 32])


def test_services_stable_then_inactive(ecs: Any) -> None:
    ecs.register_task_definition(**definition(*SLEEPER) | {"family": "waited"})
    ecs.create_service(
        serviceName="waited",
        taskDefinition="waited",
        desiredCount=2,
        launchType="FARGATE",
        networkConfiguration=NETWORK,
    )
    wait(ecs, "services_stable", services=["waited"])
    shown = ecs.describe_services(services=["waited"])["services"][0]
    assert (shown["runningCount"], len(shown["deployments"])) == (2, 1)
    ecs.update_service(service="waited", desiredCount=1, forceNewDeployment=True)
    wait(ecs, "services_stable", services=["waited"])
    shown = ecs.describe_services(services=["waited"])["services"][0]
    assert (shown["runningCount"], len(shown["deployments"])) == (1, 1)
    ecs.delete_service(service="waited", force=True)
    wait(ecs, "services_inactive", services=["waited"])
    assert ecs.describe_services(services=["waited"])["services"][0]["status"] == "INACTIVE"
    with pytest.raises(WaiterError, match="terminal failure state"):
        wait(ecs, "services_stable", services=["nobody"])
