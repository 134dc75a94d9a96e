"""Finds what requests only refer to: task definitions, job definitions, secrets, and IAM's entities."""

from __future__ import annotations

from skylift.localcloud.batch.provider import BatchProvider
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.iam.actions.call import Lookups
from skylift.localcloud.iam.state import IamState
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError


class CloudLookups(Lookups):
    """In the local cloud's own state."""

    def __init__(self, ecs: EcsProvider, batch: BatchProvider, state: IamState) -> None:
        self._ecs = ecs
        self._batch = batch
        self._state = state

    def task_definition(self, reference: str) -> Document:
        """From ECS."""
        return self._ecs.find_definition(reference) or {}

    def job_definition(self, reference: str) -> Document:
        """From Batch: only an active one."""
        try:
            return self._batch.runnable_definition(reference)
        except AwsError:
            return {}

    def secret(self, reference: str, region: str) -> str:
        """From Secrets Manager."""
        return self._state.secret(reference, region)

    def entity(self, kind: str, name: str) -> str:
        """From IAM."""
        return self._state.entity(kind, name)
