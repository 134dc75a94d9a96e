"""Tables of ECS calls: what is asked, and what must come of it. Each case has a furnished ECS of its own, on the
runner's fake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import GROUP, ME, NETWORK, World, definition, played, until
from tests.unit.refusals import says_whose

from skylift.wire.errors import AwsError

__all__ = ["GROUP", "NETWORK", "Case", "definition", "play"]
BASE = "arn:aws:ecs:us-east-1:000000000000"


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        name: what it shows.
        operation: snake_case.
        request: as boto3's; ``$task`` stands for the ARN of a running ECS task, ``$member`` for one of the service
            ``s``.
        code: AWS's exception; empty: it is accepted.
        text: part of the message, or (accepted) nothing.
        shows: members of the answer, by dotted path (numbers index lists), and their values.
    """

    name: str
    operation: str
    request: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    text: str = ""
    shows: Mapping[str, Any] = field(default_factory=dict)


def play(folder: Path, case: Case) -> None:
    async def scenario(world: World) -> None:
        names = await furnish(world)
        request = filled(dict(case.request), names)
        operation = getattr(world.ecs, case.operation)
        if case.code:
            with pytest.raises(AwsError) as caught:
                operation(ME, request)
            assert caught.value.code == case.code
            assert says_whose(case.text, caught.value.message), caught.value.message
            return
        answer = operation(ME, request)
        for path, value in case.shows.items():
            assert found(answer, path) == filled(value, names), (path, answer)

    played(folder, scenario)


async def furnish(world: World) -> dict[str, str]:
    """Cluster ``default`` with providers FARGATE, FARGATE_SPOT and own; ``bare`` without; definition ``f:1``; a service
    ``s``."""
    ecs = world.ecs
    ecs.create_capacity_provider(ME, {"name": "own", "autoScalingGroupProvider": {"autoScalingGroupArn": "arn:asg"}})
    ecs.create_capacity_provider(ME, {"name": "idle", "autoScalingGroupProvider": {"autoScalingGroupArn": "arn:asg"}})
    providers = ["FARGATE", "FARGATE_SPOT", "own"]
    ecs.put_cluster_capacity_providers(ME, {"capacityProviders": providers, "defaultCapacityProviderStrategy": []})
    ecs.create_cluster(ME, {"clusterName": "bare"})
    running = world.run(portMappings=[{"containerPort": 80}])
    request = {"serviceName": "s", "taskDefinition": "f", "desiredCount": 1, "networkConfiguration": NETWORK}
    ecs.create_service(ME, request)
    await until(lambda: world.service["runningCount"] == 1 and world.task(running)["lastStatus"] == "RUNNING")
    member = ecs.list_tasks(ME, {"serviceName": "s"})["taskArns"][0]
    return {"$task": running, "$member": member, "$id": running.rsplit("/", 1)[-1]}


def filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, Mapping):
        return {key: filled(item, names) for key, item in value.items()}
    return value


def found(answer: Any, path: str) -> Any:
    for step in path.split("."):
        answer = len(answer) if step == "#" else answer[int(step)] if step.lstrip("-").isdecimal() else answer[step]
    return answer
