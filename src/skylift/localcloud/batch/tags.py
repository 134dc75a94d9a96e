"""Batch's tags, on compute environments, queues, scheduling policies, job definitions and jobs, by ARN."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from collections.abc import Callable

from skylift.core.errors import Unavailable
from skylift.localcloud.batch.operations import BatchOperations, Request
from skylift.localcloud.batch.shapes import merged_tags, refused
from skylift.localcloud.batch.store import DEFINITION, ENVIRONMENT, POLICY, QUEUE
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

_ARN_PARTS = 6


class BatchTagOperations(BatchOperations):
    """TagResource, UntagResource, ListTagsForResource."""

    def tag_resource(self, caller: Caller, request: Request) -> Document:
        """Adds tags; one with a known key replaces it."""
        tags, save = self._tagged(request["resourceArn"])
        save(merged_tags(tags, request["tags"]))
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Document:
        """Removes tags by key."""
        tags, save = self._tagged(request["resourceArn"])
        save({key: value for key, value in tags.items() if key not in request["tagKeys"]})
        return {}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Document:
        """The tags of a resource."""
        tags, _ = self._tagged(request["resourceArn"])
        return {"tags": tags}

    def _tagged(self, arn: str) -> tuple[dict[str, str], Callable[[dict[str, str]], None]]:
        """The tags, and how new ones are saved."""
        parts = arn.split(":", 5)
        if len(parts) < _ARN_PARTS or parts[2] != "batch":
            raise refused(f"Invalid ARN: {arn}")
        kind, _, name = parts[5].partition("/")
        if kind == "job":
            return self._job_tags(name)
        things = {
            "compute-environment": (ENVIRONMENT, name, self.store.environments),
            "job-queue": (QUEUE, name, self.store.queues),
            "scheduling-policy": (POLICY, name, self.store.policies),
            "job-definition": (DEFINITION, arn, self.store.definitions),
        }
        table, key, known = things.get(kind, ("", "", {}))
        found = known.get(key)
        if found is None:
            raise refused(f"Resource {arn} does not exist")
        return found["tags"], lambda tags: self.store.save_thing(table, key, found | {"tags": tags})

    def _job_tags(self, name: str) -> tuple[dict[str, str], Callable[[dict[str, str]], None]]:
        job = self.store.jobs.get(name)
        if job is None:
            if self.store.find(name) is not None:
                raise refused("The children of an array job have no tags of their own: tag the array.")
            raise refused(f"Job {name} does not exist")
        submission = job.submission

        def save(tags: dict[str, str]) -> None:
            before, submission.tags = submission.tags, tags
            try:
                self.store.save_submission(submission)
            except Unavailable:
                submission.tags = before
                raise

        return submission.tags, save
