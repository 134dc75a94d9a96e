"""What all operations of ECS share: their collaborators, and how references are resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.ecs.model.shapes import client_error, invalid, last_word
from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ecs.model.strategy import FARGATE_PROVIDERS, check_strategy
from skylift.localcloud.ecs.services.scheduler import ServiceScheduler
from skylift.localcloud.ecs.tasks.engine import Engine
from skylift.localcloud.ecs.tasks.make import TaskMaker
from skylift.localcloud.ports import CloudContext, Document
from skylift.wire.errors import AwsError

Request = dict[str, Any]


class EcsOperations:
    """Base of the classes that serve ECS's operations."""

    def __init__(
        self, cloud: CloudContext, store: EcsStore, engine: Engine, scheduler: ServiceScheduler, maker: TaskMaker
    ) -> None:
        self.cloud = cloud
        self.store = store
        self.engine = engine
        self.scheduler = scheduler
        self.maker = maker

    @property
    def clock(self) -> Clock:
        """The engine's clock."""
        return self.engine.clock

    def cluster(self, request: Mapping[str, Any]) -> Document:
        """The active cluster that a request names; ``default`` if it names none.

        Raises:
            AwsError: ``ClusterNotFoundException``.
        """
        found = self.store.clusters.get(last_word(request.get("cluster") or "default"))
        if found is None:
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        if found["status"] != "ACTIVE":
            raise AwsError("ClusterNotFoundException", "The referenced cluster was inactive.")
        return found

    def with_strategy(self, request: Request, cluster: Document) -> Request:
        """The request, with the cluster's default strategy if it names neither a strategy nor a launch type.

        Raises:
            AwsError: like ``strategy.check_strategy``.
        """
        if request.get("launchType") and request.get("capacityProviderStrategy"):
            raise invalid(
                "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try "
                "again."
            )
        default = cluster["defaultCapacityProviderStrategy"]
        if default and not request.get("launchType") and not request.get("capacityProviderStrategy"):
            request = {**request, "capacityProviderStrategy": default}
        known = {*FARGATE_PROVIDERS, *self.store.providers}
        check_strategy(request.get("capacityProviderStrategy") or (), cluster["capacityProviders"], known)
        return request

    def definition(self, reference: str) -> Document:
        """A task definition by ARN, ``family:revision``, or ``family`` (its newest active revision).

        Raises:
            AwsError: ``ClientException``, as DescribeTaskDefinition.
        """
        found = self.find_definition(reference)
        if found is None:
            raise client_error("Unable to describe task definition.")
        return found

    def runnable_definition(self, reference: str) -> Document:
        """A task definition that new ECS tasks may use. Raises ``ClientException``, like RunTask."""
        found = self.find_definition(reference)
        if found is None:
            raise client_error("TaskDefinition not found.")
        if found["status"] != "ACTIVE":
            raise client_error("TaskDefinition is inactive")
        return found

    def find_definition(self, reference: str) -> Document | None:
        """Like ``definition``, or ``None``."""
        family, _, revision = last_word(reference).partition(":")
        if revision:
            return next((d for d in self.revisions(family) if str(d["revision"]) == revision), None)
        active = [definition for definition in self.revisions(family) if definition["status"] == "ACTIVE"]
        return active[-1] if active else None

    def revisions(self, family: str) -> list[Document]:
        """All revisions of a family, oldest first."""
        return sorted(
            (found for found in self.store.definitions.values() if found["family"] == family),
            key=lambda found: int(found["revision"]),
        )

    def tasks_in(self, cluster_arn: str, *, stopped: bool) -> Iterable[EcsTask]:
        """ECS tasks of a cluster, oldest first; ended ones only if ``stopped``."""
        tasks = self.store.tasks.values() if stopped else self.store.alive.values()
        return (task for task in tasks if task.document["clusterArn"] == cluster_arn)
