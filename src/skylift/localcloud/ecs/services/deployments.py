"""A service's deployments: how one begins, completes, fails, and is rolled back.

Source: "How the Amazon ECS deployment circuit breaker detects failures" and the API reference
(``DeploymentCircuitBreaker``, ``ThresholdConfiguration``): by default a share of the desired count, at least 3 and at
most 200 failed ECS tasks. A failed deployment starts nothing more. With rollback, the service returns to its last
completed deployment.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any

from skylift.localcloud.ecs.model.store import EcsService
from skylift.localcloud.ecs.tasks.balancing import add_event
from skylift.localcloud.ports import Document

LEAST_FAILURES, MOST_FAILURES = 3, 200
_OWN = (
    "launchType",
    "capacityProviderStrategy",
    "platformVersion",
    "platformFamily",
    "networkConfiguration",
)
_REMEMBERED = ("taskDefinition", "loadBalancers", *_OWN)


def begin(service: EcsService, now: float, reason: str = "") -> Document:
    """A new PRIMARY deployment; the previous one becomes ACTIVE until its ECS tasks are gone."""
    document = service.document
    for deployment in document["deployments"]:
        deployment["status"] = "ACTIVE"
    ident = f"ecs-svc/{secrets.randbelow(9 * 10**18) + 10**18}"
    deployment = {
        "id": ident,
        "status": "PRIMARY",
        "taskDefinition": document["taskDefinition"],
        "desiredCount": document["desiredCount"],
        "pendingCount": 0,
        "runningCount": 0,
        "failedTasks": 0,
        "createdAt": now,
        "updatedAt": now,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": reason or f"ECS deployment {ident} in progress.",
        **{key: document[key] for key in _OWN if key in document},
    }
    document["deployments"].insert(0, deployment)
    add_event(service, now, f"(deployment {ident}) deployment started.")
    return deployment


def complete(service: EcsService, now: float) -> None:
    """All ECS tasks of the PRIMARY deployment run, and no other deployment has any."""
    document = service.document
    primary = document["deployments"][0]
    reason = f"ECS deployment {primary['id']} completed."
    primary |= {"rolloutState": "COMPLETED", "rolloutStateReason": reason, "updatedAt": now}
    service.completed = {"id": primary["id"], **{key: document[key] for key in _REMEMBERED if key in document}}
    add_event(service, now, f"(deployment {primary['id']}) deployment completed.")
    add_event(service, now, "has reached a steady state.")


def has_failed(service: EcsService) -> bool:
    """Whether the circuit breaker is on and has seen too many failures in the PRIMARY deployment."""
    document = service.document
    breaker = document["deploymentConfiguration"].get("deploymentCircuitBreaker") or {}
    primary = document["deployments"][0]
    if not breaker.get("enable") or primary["rolloutState"] != "IN_PROGRESS":
        return False
    return bool(primary["failedTasks"] >= threshold(breaker, document["desiredCount"]))


def threshold(breaker: Mapping[str, Any], desired: int) -> int:
    """How many failed ECS tasks are too many."""
    limits = breaker.get("thresholdConfiguration") or {"type": "BOUNDED_PERCENT", "value": 50}
    if limits["type"] == "COUNT":
        return max(1, int(limits["value"]))
    share = math.ceil(desired * int(limits["value"]) / 100)
    return max(1, share) if limits["type"] == "UNBOUNDED_PERCENT" else min(MOST_FAILURES, max(LEAST_FAILURES, share))


def fail(service: EcsService, now: float) -> Document | None:
    """The PRIMARY deployment becomes FAILED; returns the one that replaces it, if it is to be and can be rolled
    back."""
    document = service.document
    primary = document["deployments"][0]
    reason = "ECS deployment circuit breaker: tasks failed to start."
    primary |= {"rolloutState": "FAILED", "rolloutStateReason": reason, "updatedAt": now}
    add_event(service, now, f"(deployment {primary['id']}) deployment failed: tasks failed to start.")
    breaker = document["deploymentConfiguration"]["deploymentCircuitBreaker"]
    if not breaker.get("rollback") or service.completed is None:
        return None
    back = service.completed
    for key in _REMEMBERED:
        document.pop(key, None)
    document |= {key: value for key, value in back.items() if key != "id"}
    add_event(service, now, f"rolling back to deployment {back['id']}.")
    service.failures, service.not_before = 0, 0.0
    return begin(service, now, f"ECS deployment circuit breaker: rolling back to deploymentId {back['id']}.")
