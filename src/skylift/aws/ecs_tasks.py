"""ECS tasks, typed: run, describe many at once, stop, list. Errors leave as the house's (see ``aws/errors.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from skylift.aws.errors import code_of, is_throttle, translate
from skylift.core.errors import Refused, SkyliftError, Unavailable

MOST_PER_DESCRIBE = 100
"""DescribeTasks takes at most 100 tasks a call (botocore model ``ecs/2014-11-13``)."""


class Throttled(Unavailable):
    """AWS asks us to slow down."""


class NoCapacity(Unavailable):
    """Nowhere to put the task now: waiting is the right answer, not failing."""


class NoCluster(Refused):
    """The cluster does not exist."""


CAPACITY = ("RESOURCE:", "AGENT", "Capacity is unavailable", "PROVISIONING", "InsufficientCapacity")
"""In ``failures[].reason`` or a ``ClientException``'s text: lack of capacity (ECS's api_failures_messages page)."""


@dataclass(frozen=True)
class EcsContainer:
    """One container of an ECS task as DescribeTasks shows it."""

    name: str
    status: str
    exit_code: int | None
    reason: str


@dataclass(frozen=True)
class EcsTask:
    """An ECS task as DescribeTasks shows it, the fields that we read."""

    arn: str
    last_status: str
    desired_status: str
    stop_code: str
    stopped_reason: str
    started: bool
    started_by: str
    containers: tuple[EcsContainer, ...]

    def container(self, name: str) -> EcsContainer | None:
        """The container of that name; ``None`` when ECS shows none (a task that failed to start shows no container)."""
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
            existing = _existing_task(error)
            if existing:
                return existing
            raise _classified(error, "ecs RunTask") from error
        tasks = answer.get("tasks") or []
        if tasks:
            return str(tasks[0]["taskArn"])
        raise _no_task(answer.get("failures") or [])

    def describe(self, arns: Sequence[str]) -> dict[str, EcsTask]:
        """The tasks by ARN, at most 100; one that ECS does not know (MISSING) is not in the answer.

        Raises:
            Throttled, Unavailable, Refused: as above.
        """
        if not arns:
            return {}
        with classified("ecs DescribeTasks"):
            answer = self._client.describe_tasks(**self._where, tasks=list(arns))
        return {task["taskArn"]: _task(task) for task in answer.get("tasks") or []}

    def stop(self, arn: str, why: str) -> None:
        """Asks ECS to stop the task. One that is not known any more is fine."""
        try:
            self._client.stop_task(**self._where, task=arn, reason=why[:1024])
        except ClientError as error:
            if code_of(error) != "InvalidParameterException" or "not found" not in str(error):
                raise _classified(error, "ecs StopTask") from error
        except BotoCoreError as error:
            raise _classified(error, "ecs StopTask") from error

    def has_default_strategy(self) -> bool:
        """Whether the cluster has a default capacity provider strategy; without one, ECS's own default is EC2.

        Raises:
            NoCluster: there is no such cluster.
            Refused: we may not look.
            Throttled, Unavailable: as above.
        """
        with classified("ecs DescribeClusters"):
            answer = self._client.describe_clusters(clusters=[*self._where.values()])
        clusters = answer.get("clusters") or []
        if not clusters or clusters[0].get("status") == "INACTIVE":
            raise NoCluster(
                f"ECS cluster {self._where.get('cluster', 'default')!r} does not exist: create it, or set another"
            )
        return bool(clusters[0].get("defaultCapacityProviderStrategy"))

    def started_by(self, started_by: str) -> list[str]:
        """ARNs of all tasks with this ``startedBy``: stopped ones (for about an hour) first, then the others."""
        # In this order of asking a task that stops in between is seen twice; in the other, never.
        alive = self._listed(started_by, "RUNNING")
        stopped = [arn for arn in self._listed(started_by, "STOPPED") if arn not in alive]
        return stopped + alive

    def _listed(self, started_by: str, status: str) -> list[str]:
        with classified("ecs ListTasks"):
            # ECS allows no other filter beside startedBy; the status is not one of them.
            pages = self._client.get_paginator("list_tasks").paginate(
                **self._where, startedBy=started_by, desiredStatus=status
            )
            return [arn for page in pages for arn in page.get("taskArns") or []]


@contextmanager
def classified(doing: str) -> Iterator[None]:
    """Around one ECS call: as ``calling``, and throttling and lack of capacity have their own names."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _classified(error, doing) from error


def _classified(error: Exception, doing: str) -> SkyliftError:
    if is_throttle(error):
        return Throttled(f"{doing}: {error}")
    if code_of(error) == "ClientException" and any(word in str(error) for word in CAPACITY):
        return NoCapacity(f"{doing}: {error}")
    return translate(error, doing)


def _existing_task(error: Exception) -> str:
    if isinstance(error, ClientError) and code_of(error) == "ConflictException":
        return str(next(iter(error.response.get("resourceIds") or []), ""))
    return ""


def _no_task(failures: Sequence[Mapping[str, Any]]) -> SkyliftError:
    reasons = [" ".join(filter(None, (one.get("reason", ""), one.get("detail", "")))) for one in failures]
    text = "ecs RunTask started nothing: " + ("; ".join(reasons) or "ECS gave no reason")
    if any("Rate exceeded" in reason or "Throttling" in reason for reason in reasons):
        return Throttled(text)
    if not reasons or any(word in reason for reason in reasons for word in CAPACITY):
        return NoCapacity(text)
    return Refused(text)


def _task(answer: Mapping[str, Any]) -> EcsTask:
    return EcsTask(
        arn=answer["taskArn"],
        last_status=answer.get("lastStatus", ""),
        desired_status=answer.get("desiredStatus", ""),
        stop_code=answer.get("stopCode", ""),
        stopped_reason=answer.get("stoppedReason", ""),
        started=answer.get("startedAt") is not None,
        started_by=answer.get("startedBy", ""),
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
