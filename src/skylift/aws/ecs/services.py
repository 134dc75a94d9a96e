"""ECS clusters, task definitions and services, typed: create, describe, change, remove. For ECS tasks see
``tasks.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from skylift.aws.ecs.tasks import classified
from skylift.aws.errors import code_of

MOST_PER_DESCRIBE = 10
"""DescribeServices takes at most ten services a call (botocore model ``ecs/2014-11-13``)."""


@dataclass(frozen=True)
class DescribedService:
    """A service as DescribeServices shows it, the fields that we read.

    Attributes:
        failed: tasks of the newest deployment that stopped although they should run.
        settled: whether the newest deployment is the only one and has all its tasks running.
        grace: seconds from a task's start during which its load balancer's health check does not count.
        security_groups: of the newest deployment, sorted.
        deployment: id of the newest deployment, which is ``startedBy`` of its tasks.
        events: newest first, ECS's own sentences.
        current: how many tasks of the newest deployment run.
    """

    name: str
    status: str
    definition: str
    desired: int
    running: int
    pending: int
    failed: int
    settled: bool
    events: tuple[str, ...]
    grace: int = 0
    security_groups: tuple[str, ...] = ()
    deployment: str = ""
    current: int = 0


class EcsServices:
    """Clusters, task definitions and services. Every method raises ``Refused`` or ``Unavailable``.

    Args:
        client: boto3's ``ecs`` client.
        cluster: name or ARN.
    """

    def __init__(self, client: Any, cluster: str) -> None:
        self._ecs = client
        self._cluster = cluster

    def make_cluster(self, insights: str = "") -> None:
        """Makes the cluster; an existing one is not an error (ECS answers with it).

        Args:
            insights: its setting ``containerInsights``, even if it exists already; empty: unchanged.
        """
        settings = [{"name": "containerInsights", "value": insights}] if insights else []
        with classified(f"ecs CreateCluster {self._cluster}"):
            found = self._ecs.create_cluster(clusterName=self._cluster, **({"settings": settings} if settings else {}))
        if settings and found["cluster"].get("settings") != settings:
            with classified(f"ecs UpdateClusterSettings {self._cluster}"):
                self._ecs.update_cluster_settings(cluster=self._cluster, settings=settings)

    def describe_definition(self, name: str) -> dict[str, Any] | None:
        """A revision by its ARN, or the newest ACTIVE one of a family; None if there is none that is ACTIVE."""
        with classified(f"ecs DescribeTaskDefinition {name}"):
            try:
                answer: dict[str, Any] = self._ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]
            except ClientError as error:
                if code_of(error) == "ClientException":
                    return None
                raise
        return answer if answer.get("status", "ACTIVE") == "ACTIVE" else None

    def register_definition(self, request: Mapping[str, Any]) -> str:
        """Registers a task definition; the ARN of the new revision."""
        with classified(f"ecs RegisterTaskDefinition {request['family']}"):
            return str(self._ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"])

    def deregister_family(self, family: str) -> None:
        """Makes every revision of a family INACTIVE."""
        with classified(f"ecs DeregisterTaskDefinition {family}"):
            pages = self._ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, status="ACTIVE")
            for arn in [arn for page in pages for arn in page["taskDefinitionArns"]]:
                self._ecs.deregister_task_definition(taskDefinition=arn)

    def describe(self, names: Sequence[str]) -> dict[str, DescribedService]:
        """Services by name, at most ten. One that is not there, or INACTIVE, is not in the answer."""
        if not names:
            return {}
        with classified("ecs DescribeServices"):
            try:
                answer = self._ecs.describe_services(cluster=self._cluster, services=list(names))
            except ClientError as error:
                if code_of(error) == "ClusterNotFoundException":
                    return {}
                raise
        found = (_service(one) for one in answer["services"])
        return {service.name: service for service in found if service.status != "INACTIVE"}

    def create(self, request: Mapping[str, Any]) -> None:
        """Makes a service; ``request`` is CreateService's own, without the cluster."""
        with classified(f"ecs CreateService {request['serviceName']}"):
            self._ecs.create_service(cluster=self._cluster, **request)

    def update(
        self, name: str, definition: str, desired: int, grace: int = 0, network: Mapping[str, Any] | None = None
    ) -> None:
        """Sets a service's task definition and desired count; ECS rolls its tasks over when the definition is another.

        Args:
            grace: see ``DescribedService``; 0 leaves it as it is. ECS starts no new tasks for it.
            network: ``networkConfiguration`` when it is to be another; ECS rolls the tasks over for it, too.
        """
        more: dict[str, Any] = {"healthCheckGracePeriodSeconds": grace} if grace else {}
        more |= {"networkConfiguration": dict(network)} if network else {}
        with classified(f"ecs UpdateService {name}"):
            self._ecs.update_service(
                cluster=self._cluster, service=name, taskDefinition=definition, desiredCount=desired, **more
            )

    def scale(self, name: str, desired: int) -> None:
        """Sets a service's desired count only."""
        with classified(f"ecs UpdateService {name}"):
            self._ecs.update_service(cluster=self._cluster, service=name, desiredCount=desired)

    def unprotect(self, arns: Sequence[str]) -> None:
        """Ends the protection of tasks of services, at most ten; ECS may then end them."""
        with classified("ecs UpdateTaskProtection"):
            self._ecs.update_task_protection(cluster=self._cluster, tasks=list(arns), protectionEnabled=False)

    def service_tasks(self, name: str) -> list[str]:
        """ARNs of a service's tasks that should run; none if there is no such service."""
        with classified(f"ecs ListTasks {name}"):
            try:
                pages = self._ecs.get_paginator("list_tasks").paginate(cluster=self._cluster, serviceName=name)
                return [arn for page in pages for arn in page["taskArns"]]
            except ClientError as error:
                if code_of(error) in {"ServiceNotFoundException", "ClusterNotFoundException"}:
                    return []
                raise

    def delete(self, name: str) -> None:
        """Deletes a service and stops its tasks; a missing one is not an error."""
        with classified(f"ecs DeleteService {name}"):
            try:
                self._ecs.delete_service(cluster=self._cluster, service=name, force=True)
            except ClientError as error:
                if code_of(error) not in {"ServiceNotFoundException", "ServiceNotActiveException"}:
                    raise

    def stopped_tasks(self, name: str) -> list[str]:
        """ARNs of a service's tasks that have stopped (ECS remembers them for about an hour)."""
        with classified(f"ecs ListTasks {name}"):
            answer = self._ecs.list_tasks(cluster=self._cluster, serviceName=name, desiredStatus="STOPPED")
        return list(answer["taskArns"])

    def family_tasks(self, family: str) -> list[str]:
        """ARNs of all tasks of a family that should run."""
        with classified(f"ecs ListTasks {family}"):
            try:
                pages = self._ecs.get_paginator("list_tasks").paginate(
                    cluster=self._cluster, family=family, desiredStatus="RUNNING"
                )
                return [arn for page in pages for arn in page["taskArns"]]
            except ClientError as error:
                if code_of(error) == "ClusterNotFoundException":
                    return []
                raise


def _groups(answer: Mapping[str, Any]) -> list[str]:
    return list(((answer.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}).get("securityGroups", ()))


def _service(answer: Mapping[str, Any]) -> DescribedService:
    deployments = answer.get("deployments") or []
    newest: Mapping[str, Any] = next((one for one in deployments if one.get("status") == "PRIMARY"), {})
    running, desired = int(answer.get("runningCount", 0)), int(answer.get("desiredCount", 0))
    return DescribedService(
        name=str(answer["serviceName"]),
        status=str(answer.get("status", "")),
        definition=str(newest.get("taskDefinition") or answer.get("taskDefinition", "")),
        desired=desired,
        running=running,
        pending=int(answer.get("pendingCount", 0)),
        failed=int(newest.get("failedTasks", 0)),
        settled=len(deployments) <= 1 and running == desired,
        events=tuple(str(event.get("message", "")) for event in answer.get("events") or []),
        grace=int(answer.get("healthCheckGracePeriodSeconds") or 0),
        security_groups=tuple(sorted(_groups(newest) or _groups(answer))),
        deployment=str(newest.get("id", "")),
        current=int(newest.get("runningCount", 0)),
    )
