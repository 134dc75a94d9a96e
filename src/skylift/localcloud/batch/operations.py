"""What all operations of Batch share: their collaborators, and how references are resolved."""

from __future__ import annotations

from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.batch.engine import BatchEngine
from skylift.localcloud.batch.shapes import name_of, refused
from skylift.localcloud.batch.store import BatchStore
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ports import Document

Request = dict[str, Any]


class BatchOperations:
    """Base of the classes that serve Batch's operations."""

    def __init__(self, ecs: EcsProvider, store: BatchStore, engine: BatchEngine, clock: Clock) -> None:
        self.ecs = ecs
        self.cloud = ecs.cloud
        self.store = store
        self.engine = engine
        self.clock = clock

    def environment(self, reference: str) -> Document:
        """A compute environment by name or ARN. Raises ``ClientException``."""
        found = self.store.environments.get(name_of(reference))
        if found is None:
            raise refused(f"Compute environment {reference} does not exist")
        return found

    def queue(self, reference: str) -> Document:
        """A job queue by name or ARN. Raises ``ClientException``."""
        found = self.store.queues.get(name_of(reference))
        if found is None:
            raise refused(f"JobQueue {reference} not found.")
        return found

    def scheduling_policy(self, reference: str) -> Document:
        """A scheduling policy by ARN. Raises ``ClientException``."""
        found = self.store.policies.get(name_of(reference))
        if found is None:
            raise refused(f"Scheduling policy {reference} does not exist")
        return found

    def runnable_definition(self, reference: str) -> Document:
        """A job definition by ARN, ``name:revision``, or ``name`` (its newest ACTIVE revision). Raises
        ``ClientException``."""
        name, _, revision = name_of(reference).partition(":")
        active = [found for found in self.revisions(name) if found["status"] == "ACTIVE"]
        matching = [found for found in active if not revision or str(found["revision"]) == revision]
        if not matching:
            raise refused(f"JobDefinition name {name_of(reference)} does not exist or is not in ACTIVE status")
        return matching[-1]

    def revisions(self, name: str) -> list[Document]:
        """All revisions of a job definition, oldest first."""
        found = [one for one in self.store.definitions.values() if one["jobDefinitionName"] == name]
        return sorted(found, key=lambda one: int(one["revision"]))
