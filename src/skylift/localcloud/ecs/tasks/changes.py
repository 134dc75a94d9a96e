"""The one place that changes an ECS task's state: it saves the change, makes the event, and tells the
listeners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skylift.localcloud.ecs.model.lifecycle import ECS_TASK, TaskState
from skylift.localcloud.ecs.model.store import EcsService, EcsStore, EcsTask
from skylift.localcloud.events import Events
from skylift.localcloud.ports import Change


class TaskListener(Protocol):
    """Is told of changes of ECS tasks: the service scheduler, Batch."""

    def task_changed(self, task: EcsTask) -> None:
        """An ECS task has changed. Must not block."""
        ...


class TaskChanges:
    """Saves changes and reports them."""

    def __init__(self, store: EcsStore, events: Events, on_change: Change) -> None:
        self._store = store
        self._events = events
        self._on_change = on_change
        self._listeners: list[TaskListener] = []

    def listen(self, listener: TaskListener) -> None:
        """From now on, reports every change to the listener."""
        self._listeners.append(listener)

    def accept(self, tasks: Sequence[EcsTask]) -> None:
        """New ECS tasks: when this returns, they are on disk. Raises ``Unavailable``: the disk cannot take them."""
        self._store.save(*tasks, events=[text for task in tasks for text in self._events.of_task(task.document)])
        for task in tasks:
            self._tell(task)

    def move(self, task: EcsTask, state: TaskState, **members: object) -> None:
        """Sets the ECS task's next state and the members that change with it; saves it soon (a restart would find it
        out again), and reports it."""
        task.document["lastStatus"] = ECS_TASK.move(task.state, state)
        task.document |= members
        task.document["version"] += 1
        self._store.soon(task, self._events.of_task(task.document))
        self._tell(task)

    def changed(self, task: EcsTask) -> None:
        """Saves and reports a change that is not a new state."""
        task.document["version"] += 1
        self._store.keep(task, events=self._events.of_task(task.document))
        self._tell(task)

    def service_changed(self, service: EcsService) -> None:
        """Reports a service that has changed (it is already saved)."""
        self._on_change("service", service.document)

    def _tell(self, task: EcsTask) -> None:
        self._on_change("ecs-task", task.document)
        for listener in self._listeners:
            listener.task_changed(task)
