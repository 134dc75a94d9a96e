"""ECS's operations on ECS tasks: RunTask, StopTask, DescribeTasks, ListTasks."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from typing import Any

from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.checks import check_run
from skylift.localcloud.ecs.model.lifecycle import StopCode
from skylift.localcloud.ecs.model.shapes import digest, ecs_arn, invalid, last_word, page, shown
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.tasks.make import TaskRequest, task_tags
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller


class TaskOperations(EcsOperations):
    """What the executors call."""

    def run_task(self, caller: Caller, request: Request) -> Document:
        """Accepts 1 to 10 ECS tasks. The same ``clientToken`` with the same parameters gives the same ECS tasks again.

        Raises:
            AwsError: ``ConflictException`` with ``resourceIds`` for a token that came with other parameters.
        """
        cluster = self.cluster(request)
        request = self.with_strategy(request, cluster)
        token = request.get("clientToken", "")
        fingerprint = digest({key: value for key, value in request.items() if key != "clientToken"}) if token else ""
        if token and (known := self._known(cluster["clusterArn"], token)):
            if any(task.digest != fingerprint for task in known):
                raise AwsError(
                    "ConflictException",
                    "The clientToken was used before with different parameters.",
                    members={"resourceIds": [task.document["taskArn"] for task in known]},
                )
            return {"tasks": [shown(task.document) for task in known], "failures": []}
        definition = self.runnable_definition(request["taskDefinition"])
        check_run(request, definition)
        tags = task_tags(request, definition, cluster["clusterName"])
        group = request.get("group") or f"family:{definition['family']}"
        tasks = self.maker.make(
            TaskRequest(definition, cluster["clusterArn"], request, group, tags=tags), request.get("count", 1)
        )
        for task in tasks:
            task.client_token, task.digest = token, fingerprint
        self.engine.launch(tasks)
        return {"tasks": [shown(task.document) for task in tasks], "failures": []}

    def stop_task(self, caller: Caller, request: Request) -> Document:
        """Asks an ECS task to end: SIGTERM, and SIGKILL after ``stopTimeout``. An ended one is returned unchanged."""
        cluster = self.cluster(request)
        task = self._find(cluster["clusterArn"], request["task"])
        if task is None:
            raise invalid("The referenced task was not found.")
        self.engine.stop(task, StopCode.USER, request.get("reason", ""))
        return {"task": shown(task.document)}

    def describe_tasks(self, caller: Caller, request: Request) -> Document:
        """Up to 100 ECS tasks; unknown ones are failures with reason MISSING. Tags only with ``include=[TAGS]``."""
        cluster = self.cluster(request)
        names = request["tasks"]
        if not 1 <= len(names) <= 100:
            raise invalid("Tasks cannot be empty." if not names else "Tasks can not be more than 100.")
        hidden = () if "TAGS" in request.get("include", ()) else ("tags",)
        tasks, failures = [], []
        for name in dict.fromkeys(names):
            task = self._find(cluster["clusterArn"], name)
            if task is None:
                arn = ecs_arn(self.cloud, "task", cluster["clusterName"], last_word(name))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                tasks.append(shown(task.document, *hidden))
        return {"tasks": tasks, "failures": failures}

    def list_tasks(self, caller: Caller, request: Request) -> Document:
        """ARNs by filters. ``startedBy`` must be the only filter; ``desiredStatus`` is RUNNING by default.

        AWS promises no order. Here, what ends comes with the newest first, so that who wants those need not read all.
        """
        cluster = self.cluster(request)
        if "containerInstance" in request:  # as on Fargate, there are none
            raise invalid("The referenced container instance was not found.")
        filters = {"family", "serviceName", "launchType"} & request.keys()
        if "startedBy" in request and filters:
            raise invalid("startedBy cannot be combined with other filters.")
        if request.get("serviceName") and (
            (cluster["clusterArn"], last_word(request["serviceName"])) not in self.store.services
        ):
            raise AwsError("ServiceNotFoundException", "Service not found.")
        # Ended ECS tasks have the desired status STOPPED, so for anything else we need not search the history.
        ended = request.get("desiredStatus") == "STOPPED"
        tasks = self.tasks_in(cluster["clusterArn"], stopped=ended)
        matching = [task.document for task in tasks if _matches(task, request)]
        if ended:
            matching.sort(key=lambda document: document["createdAt"], reverse=True)
        found = [document["taskArn"] for document in matching]
        arns, more = page(found, request)
        return {"taskArns": arns, **more}

    def _known(self, cluster_arn: str, token: str) -> list[EcsTask]:
        return [self.store.tasks[name] for name in self.store.by_token.get((cluster_arn, token), ())]

    def _find(self, cluster_arn: str, reference: str) -> EcsTask | None:
        task = self.store.tasks.get(last_word(reference))
        return task if task is not None and task.document["clusterArn"] == cluster_arn else None


def _matches(task: EcsTask, request: Request) -> bool:
    document = task.document
    wanted: dict[str, Any] = {"desiredStatus": request.get("desiredStatus") or "RUNNING"}
    if "startedBy" in request:
        wanted["startedBy"] = request["startedBy"]
    if "launchType" in request:
        wanted["launchType"] = request["launchType"]
    if "serviceName" in request:
        wanted["group"] = f"service:{last_word(request['serviceName'])}"
    if "family" in request and last_word(document["taskDefinitionArn"]).partition(":")[0] != request["family"]:
        return False
    return all(document.get(key) == value for key, value in wanted.items())
