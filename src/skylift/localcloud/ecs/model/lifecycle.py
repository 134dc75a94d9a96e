"""The lifecycles of ECS's objects, as tables.

Source of the ECS task's states: "Amazon ECS task lifecycle" in the developer guide. ECS tasks pass through
``ACTIVATING`` and ``DEACTIVATING`` if a load balancer must add or remove them.
"""

from __future__ import annotations

from enum import StrEnum

from skylift.core.lifecycle import Lifecycle


class TaskState(StrEnum):
    """``lastStatus`` of an ECS task."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


ECS_TASK: Lifecycle[TaskState] = Lifecycle(
    "ECS task",
    {
        # Stopped before anything was started: there is nothing to signal.
        TaskState.PROVISIONING: frozenset({TaskState.PENDING, TaskState.DEPROVISIONING}),
        TaskState.PENDING: frozenset(
            {TaskState.ACTIVATING, TaskState.RUNNING, TaskState.STOPPING, TaskState.DEPROVISIONING}
        ),
        TaskState.ACTIVATING: frozenset({TaskState.RUNNING, TaskState.DEACTIVATING}),
        TaskState.RUNNING: frozenset({TaskState.DEACTIVATING, TaskState.STOPPING, TaskState.DEPROVISIONING}),
        TaskState.DEACTIVATING: frozenset({TaskState.STOPPING, TaskState.DEPROVISIONING}),
        TaskState.STOPPING: frozenset({TaskState.DEPROVISIONING}),
        TaskState.DEPROVISIONING: frozenset({TaskState.STOPPED}),
        TaskState.STOPPED: frozenset(),
    },
)

STARTING = frozenset({TaskState.PROVISIONING, TaskState.PENDING, TaskState.ACTIVATING})
"""States that a cluster and a service count as pending."""


class ServiceState(StrEnum):
    """``status`` of a service."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    INACTIVE = "INACTIVE"


SERVICE: Lifecycle[ServiceState] = Lifecycle(
    "ECS service",
    {
        # A service without running ECS tasks has nothing to drain.
        ServiceState.ACTIVE: frozenset({ServiceState.DRAINING, ServiceState.INACTIVE}),
        ServiceState.DRAINING: frozenset({ServiceState.INACTIVE}),
        ServiceState.INACTIVE: frozenset(),
    },
)


class StopCode(StrEnum):
    """``stopCode`` of an ECS task: who or what ended it."""

    FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_EXITED = "EssentialContainerExited"
    USER = "UserInitiated"
    SERVICE = "ServiceSchedulerInitiated"
    TERMINATION = "TerminationNotice"
    SPOT = "SpotInterruption"
    INFRASTRUCTURE = "InfrastructureHealth"
