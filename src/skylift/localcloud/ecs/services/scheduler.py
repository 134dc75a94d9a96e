"""Keeps services as they should be: starts and stops their ECS tasks, and updates their deployments.

It has no loop of its own. A change of an ECS task or of the service calls ``ring``, and one timer per service waits for
a back-off to end.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from skylift.core.errors import Unavailable
from skylift.localcloud.ecs.model.health import UNHEALTHY
from skylift.localcloud.ecs.model.lifecycle import SERVICE, STARTING, ServiceState, StopCode, TaskState
from skylift.localcloud.ecs.model.shapes import last_word
from skylift.localcloud.ecs.model.store import EcsService, EcsTask
from skylift.localcloud.ecs.services.deployments import complete, fail, has_failed
from skylift.localcloud.ecs.services.rolling import YOUNG_SECONDS, Decision, Member, ServiceSpec, decide, delay_after
from skylift.localcloud.ecs.tasks.balancing import add_event
from skylift.localcloud.ecs.tasks.changes import TaskListener
from skylift.localcloud.ecs.tasks.engine import Engine
from skylift.localcloud.ecs.tasks.make import TaskMaker, TaskRequest, task_tags
from skylift.localcloud.ports import Capacity, Document

_OWN_FAULT = frozenset({StopCode.FAILED_TO_START, StopCode.ESSENTIAL_EXITED, StopCode.INFRASTRUCTURE})
_UNSTEADY_FAILURES = 3
_STUCK = (
    "was unable to stop or start tasks during a deployment because of the service deployment configuration. "
    "Update the minimumHealthyPercent or maximumPercent value and try again."
)
_NO_ROOM = "Capacity is unavailable at this time. Please try again later or in a different availability zone."
_UNPLACED_SECONDS = 5.0
"""After how long a service tries again to place an ECS task."""
_HEALTH_SECONDS = 0.5
"""How often a service checks its targets' health until it is steady."""
_SICK_SECONDS = 5.0
"""How often it checks afterwards."""
Key = tuple[str, str]


class ServiceScheduler(TaskListener):
    """The service scheduler."""

    def __init__(self, engine: Engine, maker: TaskMaker, capacity: Capacity) -> None:
        self._engine = engine
        self._maker = maker
        self._capacity = capacity
        self._store = engine.store
        self._rung: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._events = engine.events
        self._told: list[str] = []
        engine.changes.listen(self)

    def start(self) -> None:
        """Checks every service once; call it after the engine has started."""
        for key in self._store.services:
            self.ring(key)

    def close(self) -> None:
        """Stops checking."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def ring(self, key: Key) -> None:
        """Checks a service soon; many calls lead to one check."""
        if key not in self._rung and not self._engine.closing:
            self._rung.add(key)
            asyncio.get_running_loop().call_soon(self._look, key)

    def tasks_of(self, service: EcsService) -> list[EcsTask]:
        """Its ECS tasks that have not ended."""
        cluster, name = service.key
        group = f"service:{name}"
        return [
            task
            for task in self._store.alive.values()
            if task.deployment and task.document["group"] == group and task.document["clusterArn"] == cluster
        ]

    def task_changed(self, task: EcsTask) -> None:
        """A service's ECS task has changed: the service is checked soon."""
        if not task.deployment:
            return
        key = (task.document["clusterArn"], str(task.document["group"]).removeprefix("service:"))
        service = self._store.services.get(key)
        if service is None:
            return
        if not task.wanted and not task.judged:
            task.judged = True
            self._note_end(service, task)
        self.ring(key)

    def _note_end(self, service: EcsService, task: EcsTask) -> None:
        """An early end slows the next start down; a long life resets all earlier ones."""
        document = task.document
        if document.get("stopCode") not in _OWN_FAULT:
            return
        now = self._engine.clock()
        lived = now - document.get("startedAt", now)
        if lived >= YOUNG_SECONDS:
            service.failures = 0
            return
        self._note_failure(service, task, now)

    def _note_failure(self, service: EcsService, task: EcsTask, now: float) -> None:
        service.failures += 1
        service.not_before = now + delay_after(service.failures)
        for deployment in service.document["deployments"]:
            if deployment["id"] == task.deployment:
                deployment["failedTasks"] += 1
        if service.failures == _UNSTEADY_FAILURES:
            add_event(service, now, "is unable to consistently start tasks successfully.")
            self._told += self._events.of_service(service.document, "SERVICE_TASK_START_IMPAIRED", "WARN")

    def _look(self, key: Key) -> None:
        self._rung.discard(key)
        service = self._store.services.get(key)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if service is None or self._engine.closing or service.document["status"] == ServiceState.INACTIVE:
            return
        now = self._engine.clock()
        before = _summary(service.document)
        self._judge(service, now)
        tasks = self.tasks_of(service)
        members = [
            Member(
                task.id, task.deployment, self._engine.healthy(task), task.document["createdAt"], task.protected_until
            )
            for task in tasks
            if task.wanted
        ]
        decision = decide(_spec(service), members, now, service.not_before)
        self._look_again(key, service, tasks, decision)
        self._act(service, decision, now)
        self._count(service, decision, now)
        if self._told or _summary(service.document) != before:
            texts, self._told = self._told, []
            self._store.keep(service, events=texts)
            self._engine.changes.service_changed(service)

    def _judge(self, service: EcsService, now: float) -> None:
        """Ends unhealthy ECS tasks after their grace period, and a deployment that has failed too often."""
        grace = service.document.get("healthCheckGracePeriodSeconds") or 0
        for task in self.tasks_of(service):
            if not task.wanted or now - task.document.get("startedAt", now) < grace:
                continue
            if reason := self._engine.sickness(task):
                task.judged = True
                self._note_failure(service, task, now)
                add_event(service, now, f"(task {task.id}) is unhealthy: {reason}.")
                self._engine.stop(task, StopCode.SERVICE, reason)
        if has_failed(service):
            failed = service.document["deployments"][0]
            back = fail(service, now)
            self._told += self._events.of_deployment(service.document, failed, "SERVICE_DEPLOYMENT_FAILED")
            if back is not None:
                self._told += self._events.of_deployment(service.document, back, "SERVICE_DEPLOYMENT_IN_PROGRESS")

    def _look_again(self, key: Key, service: EcsService, tasks: list[EcsTask], decision: Decision) -> None:
        """Sets a timer for what no change reports: the end of a back-off, a target that becomes healthy or
        unhealthy."""
        waits = [] if decision.wait is None else [decision.wait]
        if service.document["loadBalancers"] and any(task.registered for task in tasks):
            waits.append(_SICK_SECONDS if decision.steady else _HEALTH_SECONDS)
        if any(task.document["healthStatus"] == UNHEALTHY for task in tasks):  # in its grace period
            waits.append(_HEALTH_SECONDS)
        if waits:
            self._timers[key] = asyncio.get_running_loop().call_later(min(waits), self.ring, key)

    def _act(self, service: EcsService, decision: Decision, now: float) -> None:
        primary = service.document["deployments"][0]
        for name in decision.stop:
            task = self._store.tasks[name]
            self._engine.stop(task, StopCode.SERVICE, f"Scaling activity initiated by (deployment {primary['id']})")
        if decision.stop:
            names = " ".join(f"(task {name})" for name in decision.stop)
            add_event(service, now, f"has stopped {len(decision.stop)} running tasks: {names}.")
        if decision.stuck and _STUCK not in service.document["events"][0]["message"]:
            add_event(service, now, _STUCK)
        if decision.start and not self._capacity.has_room("ecs", last_word(service.document["clusterArn"])):
            self._note_unplaced(service, now, _NO_ROOM, "RESOURCE:FARGATE")
        elif decision.start:
            tasks = self._maker.make(self._order(service, primary), decision.start)
            try:
                self._engine.launch(tasks)
            except Unavailable as error:  # a full disk: the machine's owner can act, the service waits
                self._note_unplaced(service, now, str(error), "RESOURCE:DISK")
                return
            names = " ".join(f"(task {task.id})" for task in tasks)
            add_event(service, now, f"has started {len(tasks)} tasks: {names}.")

    def _note_unplaced(self, service: EcsService, now: float, why: str, reason: str) -> None:
        add_event(service, now, f"was unable to place a task. Reason: {why}")
        self._told += self._events.of_service(service.document, "SERVICE_TASK_PLACEMENT_FAILURE", "ERROR", reason)
        self._timers[service.key] = asyncio.get_running_loop().call_later(_UNPLACED_SECONDS, self.ring, service.key)

    def _order(self, service: EcsService, deployment: Document) -> TaskRequest:
        document = service.document
        definition = self._store.definitions[deployment["taskDefinition"]]
        request = {name: document.get(name) for name in ("propagateTags", "enableECSManagedTags")}
        cluster, name = last_word(document["clusterArn"]), document["serviceName"]
        tags = task_tags(request, definition, cluster, name, document["tags"])
        placed = Counter(
            str(task.document.get("capacityProviderName"))
            for task in self.tasks_of(service)
            if task.deployment == deployment["id"] and task.wanted
        )
        request = {**document, "overrides": {}}
        return TaskRequest(
            definition, document["clusterArn"], request, f"service:{name}", deployment["id"], tags, placed
        )

    def _count(self, service: EcsService, decision: Decision, now: float) -> None:
        """Updates the counts, the deployments and the status."""
        document, tasks = service.document, self.tasks_of(service)
        alive = {task.deployment for task in tasks}
        primary, *others = document["deployments"]
        document["deployments"] = [primary, *(item for item in others if item["id"] in alive)]
        for deployment in document["deployments"]:
            own = [task for task in tasks if task.deployment == deployment["id"]]
            counts = {"runningCount": _running(own), "pendingCount": _pending(own)}
            if any(deployment[name] != value for name, value in counts.items()):
                deployment |= {**counts, "updatedAt": now}
        document |= {"runningCount": _running(tasks), "pendingCount": _pending(tasks)}
        if document["status"] == ServiceState.DRAINING:
            if not tasks:
                document |= {"status": SERVICE.move(ServiceState.DRAINING, ServiceState.INACTIVE), "deployments": []}
        elif decision.steady and len(document["deployments"]) == 1 and primary["rolloutState"] == "IN_PROGRESS":
            complete(service, now)
            self._told += self._events.of_deployment(document, primary, "SERVICE_DEPLOYMENT_COMPLETED")
            self._told += self._events.of_service(document, "SERVICE_STEADY_STATE")


def _spec(service: EcsService) -> ServiceSpec:
    document = service.document
    configuration, primary = document["deploymentConfiguration"], document["deployments"][0]
    return ServiceSpec(
        document["desiredCount"],
        configuration["minimumHealthyPercent"],
        configuration["maximumPercent"],
        primary["id"],
        primary["rolloutState"] == "FAILED",
    )


def _running(tasks: list[EcsTask]) -> int:
    return sum(task.state is TaskState.RUNNING for task in tasks)


def _pending(tasks: list[EcsTask]) -> int:
    return sum(task.state in STARTING and task.wanted for task in tasks)


def _summary(document: Document) -> tuple[object, ...]:
    """The part of a service that changes by itself."""
    deployments = tuple(tuple(sorted((k, str(v)) for k, v in item.items())) for item in document["deployments"])
    newest = document["events"][0]["id"] if document["events"] else ""
    return document["status"], document["runningCount"], document["pendingCount"], deployments, newest
