"""ECS's task protection: an ECS task of a service asks not to be ended by scaling in or by a deployment.

Source: API reference, UpdateTaskProtection and GetTaskProtection; "API failure reasons".
"""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from skylift.core.errors import Unavailable
from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.shapes import ecs_arn, invalid, last_word, shown
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

DEFAULT_MINUTES = 120
MOST_MINUTES = 2880
_NOT_VALID = "TASK_NOT_VALID"


class ProtectionOperations(EcsOperations):
    """UpdateTaskProtection, GetTaskProtection."""

    def update_task_protection(self, caller: Caller, request: Request) -> Document:
        """Protects up to 10 ECS tasks of services for 1 to 2,880 minutes, or removes the protection."""
        minutes = request.get("expiresInMinutes", DEFAULT_MINUTES)
        if not 1 <= len(request["tasks"]) <= 10:
            raise invalid("Tasks must be 1 to 10.")
        if not 1 <= minutes <= MOST_MINUTES:
            raise invalid(f"expiresInMinutes must be between 1 and {MOST_MINUTES}.")
        tasks, failures = self._valid(request, request["tasks"])
        before = [task.protected_until for task in tasks]
        for task in tasks:
            task.protected_until = self.clock() + minutes * 60 if request["protectionEnabled"] else 0.0
        try:
            self.store.save(*tasks)
        except Unavailable:
            for task, until in zip(tasks, before, strict=True):
                task.protected_until = until
            raise
        for task in tasks:
            self.scheduler.ring((task.document["clusterArn"], str(task.document["group"]).removeprefix("service:")))
        return {"protectedTasks": [self._protected(task) for task in tasks], "failures": failures}

    def get_task_protection(self, caller: Caller, request: Request) -> Document:
        """Up to 100 ECS tasks; without names, all protected ones of the cluster."""
        cluster = self.cluster(request)
        names = request.get("tasks")
        if names is None:
            own = [task for task in self.store.alive.values() if task.document["clusterArn"] == cluster["clusterArn"]]
            now = self.clock()
            return {
                "protectedTasks": [self._protected(task) for task in own if task.protected_until > now],
                "failures": [],
            }
        if len(names) > 100:
            raise invalid("Tasks can not be more than 100.")
        tasks, failures = self._valid(request, names)
        return {"protectedTasks": [self._protected(task) for task in tasks], "failures": failures}

    def _valid(self, request: Request, names: list[str]) -> tuple[list[EcsTask], list[Document]]:
        cluster = self.cluster(request)
        tasks, failures = [], []
        for name in dict.fromkeys(names):
            task = self.store.tasks.get(last_word(name))
            arn = ecs_arn(self.cloud, "task", cluster["clusterName"], last_word(name))
            if task is None or task.document["clusterArn"] != cluster["clusterArn"]:
                failures.append({"arn": arn, "reason": "MISSING"})
            elif not task.deployment or task.stopped:
                detail = "The task is not part of a service, or it is not running."
                failures.append({"arn": arn, "reason": _NOT_VALID, "detail": detail})
            else:
                tasks.append(task)
        return tasks, failures

    def _protected(self, task: EcsTask) -> Document:
        on = task.protected_until > self.clock()
        expires = {"expirationDate": task.protected_until} if on else {}
        return shown({"taskArn": task.document["taskArn"], "protectionEnabled": on, **expires})
