"""In which order the containers of an ECS task start: ``dependsOn`` as a pure decision.

Source: API reference, ``ContainerDependency`` and ``startTimeout`` (how long others wait for this container; by default
three minutes, as on Fargate: "Task definition parameters for Fargate", Container timeouts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skylift.localcloud.ecs.model.health import HEALTHY, UNHEALTHY
from skylift.localcloud.ecs.tasks.launch import Wanted

START_SECONDS = 180.0


class DependencyFailed(Exception):
    """A container that another one waits for will not reach the required state; the text says so."""


@dataclass(frozen=True)
class ContainerProgress:
    """How far a container is.

    Attributes:
        age: seconds since its start.
        ended: whether its process has ended.
        code: its exit code then, if known.
        health: its health status.
    """

    age: float
    ended: bool
    code: int | None
    health: str


def may_start(wanted: Wanted, others: Mapping[str, Wanted], stages: Mapping[str, ContainerProgress]) -> bool:
    """Whether a container's dependencies are met. ``stages`` contains those that were started.

    Raises:
        DependencyFailed: one of them can no longer be met.
    """
    return all(
        _met(wanted.name, others[need["containerName"]], need["condition"], stages.get(need["containerName"]))
        for need in wanted.definition.get("dependsOn", ())
    )


def patience(other: Wanted) -> float:
    """How many seconds others wait for a container."""
    return float(other.definition.get("startTimeout", START_SECONDS))


def _met(name: str, other: Wanted, condition: str, stage: ContainerProgress | None) -> bool:
    if stage is None:
        return False
    if condition == "START":
        return True
    if condition == "HEALTHY":
        if stage.health == HEALTHY:
            return True
        if stage.health == UNHEALTHY or stage.ended:
            raise DependencyFailed(f"Container {name} depends on {other.name}, which did not become HEALTHY")
    elif stage.ended:
        if condition == "SUCCESS" and stage.code != 0:
            raise DependencyFailed(f"Container {name} depends on {other.name}, which exited with {stage.code}")
        return True
    if stage.age >= patience(other):
        raise DependencyFailed(
            f"Container {name} depends on {other.name}, which was not {condition} within {patience(other):g} seconds"
        )
    return False
