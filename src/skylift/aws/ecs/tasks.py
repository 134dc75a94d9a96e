"""ECS tasks, typed: run, describe many at once, stop, list. Raises ``SkyliftError`` (see ``aws/errors.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from skylift.aws.errors import Throttled as Throttled
from skylift.aws.errors import calling, code_of, translate
from skylift.core.errors import Refused, SkyliftError, Unavailable

MOST_PER_DESCRIBE = 100
"""DescribeTasks takes at most 100 tasks a call (botocore model ``ecs/2014-11-13``)."""


class NoCapacity(Unavailable):
    """There is no capacity for the task now: wait, do not fail."""


class NoCluster(Refused):
    """The cluster does not exist."""


CAPACITY = (
    "RESOURCE:",
    "AGENT",
    "EMPTY CAPACITY PROVIDER",
    "NO ACTIVE INSTANCES",
    "No Container Instances were found",
    "Capacity is unavailable",
    "PROVISIONING",
    "InsufficientCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientFreeAddressesInSubnet",
    "Insufficient capacity",
)
"""Lack of capacity, in ``failures[].reason``, in the text of an error (EC2's own stand in ECS's of several codes), or
as the reason of a stop. From ECS's pages "API failures messages" and "Stopped tasks error messages", EC2's page "Error
codes", and re:Post "ecs-fargate-runtask-capacity". An EC2 cluster without instances is one that may be scaling from
zero."""

NOT_CAPACITY = ("AccessDeniedException", "ClusterNotFoundException", "ConflictException")
"""Codes whose text, with names of the user's in it, is not searched for those words."""

OURS = "AIRFLOW_IS_EXECUTOR_CONTAINER"
"""The variable of the container in which Airflow runs; the amazon provider's executor sets it, too."""


@dataclass(frozen=True)
class EcsContainer:
    """One container of an ECS task as DescribeTasks shows it."""

    name: str
    status: str
    exit_code: int | None
    reason: str


@dataclass(frozen=True)
class DescribedTask:
    """An ECS task as DescribeTasks and its events show it, the fields that we read.

    Attributes:
        version: grows with every change; 0 if ECS shows none.
        airflow: the container in which an executor's overrides let Airflow run; "" if they name none.
    """

    arn: str
    last_status: str
    desired_status: str
    stop_code: str
    stopped_reason: str
    started: bool
    started_by: str
    containers: tuple[EcsContainer, ...]
    version: int = 0
    airflow: str = ""

    @property
    def lacked_capacity(self) -> bool:
        """Whether it failed to start because there was nowhere to put it."""
        return self.stop_code == "TaskFailedToStart" and lacks_capacity(self.stopped_reason)

    def container(self, name: str) -> EcsContainer | None:
        """The container of that name; ``None`` if ECS shows none (a task that failed to start shows no container)."""
        return next((one for one in self.containers if one.name == name), None)


class EcsTasks:
    """The calls on ECS tasks of one cluster.

    Args:
        client: boto3's ``ecs`` client (``skylift.aws.clients.client``).
        cluster: name or ARN; "" is the account's default cluster.
    """

    def __init__(self, client: Any, cluster: str = "") -> None:
        self._client = client
        self._where = {"cluster": cluster} if cluster else {}

    def run(self, request: Mapping[str, Any]) -> str:
        """Runs one task; its ARN. ``request`` is RunTask's own, without ``count``.

        With a ``clientToken`` it may be repeated: the same request gives the same task, and another request with the
        same token is answered with the first task's ARN (ConflictException.resourceIds).

        Raises:
            Throttled, NoCapacity, Unavailable: the same will work later.
            Refused: it will not work like this.
        """
        try:
            answer = self._client.run_task(**{**self._where, **request, "count": 1})
        except (BotoCoreError, ClientError) as error:
            if code_of(error) != "ConflictException":
                raise _classified(error, "ecs RunTask") from error
            existing = _existing_task(error) or self._started_last(request)
            if existing:
                return existing
            # Another request with this token was refused a moment ago, and ECS does not know yet that it came to
            # nothing.
            raise Unavailable(f"ecs RunTask: {error}") from error
        tasks = answer.get("tasks") or []
        if tasks:
            return str(tasks[0]["taskArn"])
        raise _no_task(answer.get("failures") or [])

    def describe(self, arns: Sequence[str]) -> dict[str, DescribedTask]:
        """The tasks by ARN, at most 100; one that ECS does not know (MISSING) is not in the answer.

        Raises:
            Throttled, Unavailable, Refused: as above.
        """
        clusters: dict[str, list[str]] = {}
        for arn in arns:
            clusters.setdefault(self._cluster_of(arn), []).append(arn)
        return {task.arn: task for cluster, own in clusters.items() for task in self._described(cluster, own)}

    def _described(self, cluster: str, arns: list[str]) -> list[DescribedTask]:
        try:
            answer = self._client.describe_tasks(**_where(cluster), tasks=arns)
        except (BotoCoreError, ClientError) as error:
            if code_of(error) == "ClusterNotFoundException":
                # A deleted cluster took its tasks along; what runs in others is still to be seen.
                return []
            raise _classified(error, "ecs DescribeTasks") from error
        return [task_of(task) for task in answer.get("tasks") or []]

    def _cluster_of(self, arn: str) -> str:
        """The cluster in a task's ARN, where it has one (``task/cluster/id``); else ours."""
        parts = arn.rpartition(":")[2].split("/")
        own = self._where.get("cluster", "")
        return parts[1] if len(parts) == 3 and parts[1] != own.rpartition("/")[2] else own

    def _started_last(self, request: Mapping[str, Any]) -> str:
        found = self.started_by(str(request.get("startedBy", "")), str(request.get("cluster", "")))
        return next(iter(found[::-1]), "")

    def stop(self, arn: str, why: str) -> None:
        """Asks ECS to stop the task. One that is not known any more is fine."""
        try:
            self._client.stop_task(**_where(self._cluster_of(arn)), task=arn, reason=why[:1024])
        except ClientError as error:
            if code_of(error) != "InvalidParameterException" or "not found" not in str(error):
                raise _classified(error, "ecs StopTask") from error
        except BotoCoreError as error:
            raise _classified(error, "ecs StopTask") from error

    def has_default_strategy(self, cluster: str = "") -> bool:
        """Whether the cluster has a default capacity provider strategy; without one, ECS's own default is EC2.

        Raises:
            NoCluster: there is no such cluster.
            Refused: we may not look.
            Throttled, Unavailable: as above.
        """
        with classified("ecs DescribeClusters"):
            answer = self._client.describe_clusters(clusters=[cluster] if cluster else [*self._where.values()])
        clusters = answer.get("clusters") or []
        if not clusters or clusters[0].get("status") == "INACTIVE":
            raise NoCluster(
                f"ECS cluster {cluster or self._where.get('cluster', 'default')!r} does not exist: create it, or set "
                "another"
            )
        return bool(clusters[0].get("defaultCapacityProviderStrategy"))

    def started_by(self, started_by: str, cluster: str = "") -> list[str]:
        """ARNs of all tasks with this ``startedBy``: stopped ones (for about an hour) first, then the others.

        Args:
            cluster: where to look; "" is our own.
        """
        # In this order of asking a task that stops in between is seen twice; in the other, never.
        where = _where(cluster) or self._where
        alive = self._listed(where, started_by, "RUNNING")
        stopped = [arn for arn in self._listed(where, started_by, "STOPPED") if arn not in alive]
        return stopped + alive

    def alive(self, cluster: str = "") -> dict[str, list[str]]:
        """ARNs of all tasks of a cluster that are not told to stop, by their ``startedBy``: two calls for a hundred
        tasks.

        Args:
            cluster: where to look; "" is our own.
        """
        where = _where(cluster) or self._where
        found: dict[str, list[str]] = {}
        with classified("ecs ListTasks"):
            pages = self._client.get_paginator("list_tasks").paginate(**where)
            arns = [arn for page in pages for arn in page.get("taskArns") or []]
        for start in range(0, len(arns), MOST_PER_DESCRIBE):
            for task in self.describe(arns[start : start + MOST_PER_DESCRIBE]).values():
                found.setdefault(task.started_by, []).append(task.arn)
        return found

    def _listed(self, where: Mapping[str, str], started_by: str, status: str) -> list[str]:
        with classified("ecs ListTasks"):
            # ECS allows no other filter beside startedBy; the status is not one of them.
            pages = self._client.get_paginator("list_tasks").paginate(
                **where, startedBy=started_by, desiredStatus=status
            )
            return [arn for page in pages for arn in page.get("taskArns") or []]


def _where(cluster: str) -> dict[str, str]:
    return {"cluster": cluster} if cluster else {}


def lacks_capacity(text: str) -> bool:
    """Whether ECS's words tell of a lack of capacity."""
    return any(word in text for word in CAPACITY)


def classified(doing: str) -> AbstractContextManager[None]:
    """Around one ECS call: as ``calling``, and lack of capacity has its own name."""
    return calling(doing, _classified)


def _classified(error: Exception, doing: str) -> SkyliftError:
    translated = translate(error, doing)
    if isinstance(translated, Throttled) or not isinstance(error, ClientError) or code_of(error) in NOT_CAPACITY:
        return translated
    return NoCapacity(str(translated)) if lacks_capacity(_message(error)) else translated


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def _existing_task(error: Exception) -> str:
    found = error.response.get("resourceIds") if isinstance(error, ClientError) else None
    return str(next(iter(found or []), ""))


def _no_task(failures: Sequence[Mapping[str, Any]]) -> SkyliftError:
    reasons = [" ".join(filter(None, (one.get("reason", ""), one.get("detail", "")))) for one in failures]
    text = "ecs RunTask started nothing: " + ("; ".join(reasons) or "ECS gave no reason")
    if any("Rate exceeded" in reason or "Throttling" in reason for reason in reasons):
        return Throttled(text)
    if not reasons or any(lacks_capacity(reason) for reason in reasons):
        return NoCapacity(text)
    return Refused(text)


def task_of(answer: Mapping[str, Any]) -> DescribedTask:
    """The ECS task of a document: of DescribeTasks, or of an event's ``detail``."""
    return DescribedTask(
        arn=answer["taskArn"],
        last_status=answer.get("lastStatus", ""),
        desired_status=answer.get("desiredStatus", ""),
        stop_code=answer.get("stopCode", ""),
        stopped_reason=answer.get("stoppedReason", ""),
        started=answer.get("startedAt") is not None,
        started_by=answer.get("startedBy", ""),
        version=int(answer.get("version") or 0),
        airflow=_container_of_airflow(answer.get("overrides") or {}),
        containers=tuple(
            EcsContainer(
                name=one.get("name", ""),
                status=one.get("lastStatus", ""),
                exit_code=one.get("exitCode"),
                reason=one.get("reason", ""),
            )
            for one in answer.get("containers") or []
        ),
    )


def _container_of_airflow(overrides: Mapping[str, Any]) -> str:
    for one in overrides.get("containerOverrides") or []:
        if any(pair.get("name") == OURS for pair in one.get("environment") or []):
            return str(one.get("name", ""))
    return ""
