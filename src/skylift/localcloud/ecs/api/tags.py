"""ECS's tags, on clusters, services, ECS tasks and task definitions, by ARN."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from collections.abc import Callable

from skylift.core.errors import Unavailable
from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.shapes import invalid, merged_tags
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller


class EcsTagOperations(EcsOperations):
    """TagResource, UntagResource, ListTagsForResource."""

    def tag_resource(self, caller: Caller, request: Request) -> Document:
        """Adds tags; one with a known key replaces it."""
        document, save = self._tagged(request["resourceArn"])
        _replace(document, merged_tags(document["tags"], request["tags"]), save)
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Document:
        """Removes tags by key."""
        document, save = self._tagged(request["resourceArn"])
        _replace(document, [tag for tag in document["tags"] if tag["key"] not in request["tagKeys"]], save)
        return {}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Document:
        """The tags of a resource."""
        document, _ = self._tagged(request["resourceArn"])
        return {"tags": document["tags"]}

    def _tagged(self, arn: str) -> tuple[Document, Callable[[], None]]:
        """The document with the tags, and how to save it."""
        parts = arn.split(":", 5)
        if len(parts) < 6 or parts[2] != "ecs":
            raise invalid("Invalid identifier: Identifier is for an unknown resource type.")
        kind, *names = parts[5].split("/")
        if kind == "cluster" and (cluster := self.store.clusters.get(names[-1])):
            return cluster, lambda: self.store.save_cluster(cluster)
        if kind == "task-definition" and (definition := self.store.definitions.get(arn)):
            return definition, lambda: self.store.save_definition(definition)
        if kind == "task" and (task := self.store.tasks.get(names[-1])):
            return task.document, lambda: self.store.save(task)
        if kind == "service" and len(names) == 2:
            key = (arn.replace(":service/", ":cluster/").rsplit("/", 1)[0], names[1])
            if service := self.store.services.get(key):
                return service.document, lambda: self.store.save(service)
        if kind == "capacity-provider" and (provider := self.store.providers.get(names[-1])):
            return provider, lambda: self.store.save_thing("provider", provider["name"], provider)
        if kind not in {"cluster", "capacity-provider", "task-definition", "task", "service"}:
            raise invalid("Invalid identifier: Identifier is for an unknown resource type.")
        raise AwsError("ResourceNotFoundException", f"The specified resource is not found: {arn}")


def _replace(document: Document, tags: list[Document], save: Callable[[], None]) -> None:
    """Sets new tags, if they can be saved."""
    before, document["tags"] = document["tags"], tags
    try:
        save()
    except Unavailable:
        document["tags"] = before
        raise
