"""What ECS says about one ECS task for people who ask why it ended: limits, reasons, where its output went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from skylift.aws.clients import is_aws
from skylift.aws.ecs.tasks import classified
from skylift.aws.output import Stream


@dataclass(frozen=True)
class EcsEnding:
    """An ECS task as DescribeTasks shows it, the fields that explain.

    Attributes:
        container: name of the container that this is about.
        definition: ARN of its task definition, with revision.
        started: whether its containers did start.
        since: when it came into its state, as ECS says it; "" if it does not.
        code: exit code of that container.
        reason: of that container.
        memory: MiB that this container, and all of them together, may have; 0 if nothing is said.
        on_aws: whether it is AWS itself that says so (there is a console), and no other endpoint.
    """

    arn: str
    cluster: str
    container: str
    definition: str
    status: str
    started: bool
    since: str
    stop_code: str
    stopped_reason: str
    code: int | None
    reason: str
    container_memory: int
    task_memory: int
    on_aws: bool


@dataclass(frozen=True)
class EcsOutput:
    """Where a container's output goes: the stream's name but for the ECS task's id, or which log driver has it."""

    driver: str
    group: str = ""
    region: str = ""
    prefix: str = ""

    def stream(self, task: str) -> Stream | None:
        """The log stream of the ECS task with this id; ``None`` if it is not known."""
        known = self.driver == "awslogs" and self.group and self.prefix
        return Stream(self.group, f"{self.prefix}/{task}", self.region) if known else None


class EcsEndings:
    """The calls. Every method raises ``Refused`` or ``Unavailable``.

    Args:
        client: boto3's ``ecs`` client.
        cluster: name or ARN; "" is the account's default cluster.
    """

    def __init__(self, client: Any, cluster: str = "") -> None:
        self._client = client
        self._cluster = cluster
        # A revision of a task definition never changes; an executor uses few.
        self.output = lru_cache(maxsize=256)(self._output)

    def describe(self, arn: str, container: str) -> EcsEnding | None:
        """One ECS task; ``None`` if ECS does not know it.

        Args:
            container: its name; when there is none of that name, the one whose command was overridden is meant.
        """
        # An ARN names its cluster, which need not be the one of the options (executor_config may say another).
        parts = arn.rpartition(":task/")[2].split("/")
        cluster = parts[0] if len(parts) == 2 else self._cluster
        with classified("ecs DescribeTasks"):
            answer = self._client.describe_tasks(tasks=[arn], **({"cluster": cluster} if cluster else {}))
        tasks = answer.get("tasks") or []
        return _ending(tasks[0], container, is_aws(self._client)) if tasks else None

    def _output(self, definition: str, container: str) -> EcsOutput:
        """Where a container's output goes (cached)."""
        with classified("ecs DescribeTaskDefinition"):
            answer = self._client.describe_task_definition(taskDefinition=definition)
        for one in answer["taskDefinition"]["containerDefinitions"]:
            if one["name"] == container:
                log = one.get("logConfiguration") or {}
                options = log.get("options") or {}
                prefix = options.get("awslogs-stream-prefix", "")
                return EcsOutput(
                    driver=log.get("logDriver", ""),
                    group=options.get("awslogs-group", ""),
                    region=options.get("awslogs-region", ""),
                    prefix=f"{prefix}/{container}" if prefix else "",
                )
        return EcsOutput(driver="")


def _ending(task: Mapping[str, Any], container: str, on_aws: bool) -> EcsEnding:
    containers: dict[str, Mapping[str, Any]] = {one.get("name", ""): one for one in task.get("containers") or []}
    if container not in containers:
        overrides = (task.get("overrides") or {}).get("containerOverrides") or []
        container = next((one.get("name", "") for one in overrides if one.get("command")), container)
    main = containers.get(container, {})
    moments = {"STOPPED": "stoppedAt", "RUNNING": "startedAt"}
    since = task.get(moments.get(task.get("lastStatus", ""), "createdAt"))
    return EcsEnding(
        arn=task["taskArn"],
        cluster=str(task.get("clusterArn", "")).rpartition("/")[2],
        container=container,
        definition=task.get("taskDefinitionArn", ""),
        status=task.get("lastStatus", ""),
        started=bool(task.get("startedAt")) or main.get("exitCode") is not None,
        since=since.isoformat(timespec="seconds") if since else "",
        stop_code=task.get("stopCode", ""),
        stopped_reason=task.get("stoppedReason", ""),
        code=main.get("exitCode"),
        reason=main.get("reason", ""),
        container_memory=int(main.get("memory") or 0),
        task_memory=int(task.get("memory") or 0),
        on_aws=on_aws,
    )
