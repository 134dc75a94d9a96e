"""A disk that takes nothing: every operation of ECS and Batch that keeps something says so, and leaves everything as it
was. (The same on a disk that is really full, over HTTP: tests/local/localcloud/test_disk_full_ecs.py.)"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tests.unit import batch_world
from tests.unit.localcloud.test_ecs_engine import ME, NETWORK, World, definition, played, until

from skylift.core.errors import Unavailable

pytestmark = pytest.mark.unit
TAGS = [{"key": "k", "value": "v"}]


def shown_by_ecs(world: World) -> Any:
    ecs = world.ecs
    tasks = ecs.list_tasks(ME, {})["taskArns"]
    definitions = ecs.list_task_definitions(ME, {})["taskDefinitionArns"]
    found = [
        ecs.describe_clusters(ME, {"clusters": ["default", "new", "bare"], "include": ["TAGS", "SETTINGS"]}),
        [ecs.describe_task_definition(ME, {"taskDefinition": one, "include": ["TAGS"]}) for one in definitions],
        ecs.describe_tasks(ME, {"tasks": tasks, "include": ["TAGS"]}),
        ecs.describe_services(ME, {"services": ["s", "new"], "include": ["TAGS"]}),
        ecs.list_account_settings(ME, {"effectiveSettings": True, "maxResults": 100}),
        ecs.describe_capacity_providers(ME, {"include": ["TAGS"]}),
        ecs.get_task_protection(ME, {}),
    ]
    return copy.deepcopy(found)


ECS: list[tuple[str, dict[str, Any]]] = [
    ("create_cluster", {"clusterName": "new"}),
    ("update_cluster_settings", {"cluster": "default", "settings": [{"name": "containerInsights", "value": "enabled"}]}),
    ("put_cluster_capacity_providers", {"capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": []}),
    ("delete_cluster", {"cluster": "bare"}),
    ("register_task_definition", definition()),
    ("deregister_task_definition", {"taskDefinition": "f:1"}),
    ("tag_resource", {"resourceArn": "$cluster", "tags": TAGS}),
    ("tag_resource", {"resourceArn": "$definition", "tags": TAGS}),
    ("tag_resource", {"resourceArn": "$task", "tags": TAGS}),
    ("tag_resource", {"resourceArn": "$service", "tags": TAGS}),
    ("untag_resource", {"resourceArn": "$service", "tagKeys": ["a"]}),
    ("run_task", {"taskDefinition": "f", "networkConfiguration": NETWORK}),
    ("create_service", {"serviceName": "new", "taskDefinition": "f", "desiredCount": 1, "networkConfiguration": NETWORK}),
    ("update_service", {"service": "s", "desiredCount": 3, "forceNewDeployment": True}),
    ("delete_service", {"service": "s", "force": True}),
    ("put_account_setting", {"name": "containerInsights", "value": "enabled"}),
    ("put_account_setting_default", {"name": "containerInsights", "value": "enabled"}),
    ("create_capacity_provider", {"name": "new", "autoScalingGroupProvider": {"autoScalingGroupArn": "arn:asg"}}),
    ("delete_capacity_provider", {"capacityProvider": "own"}),
    ("update_task_protection", {"tasks": ["$task"], "protectionEnabled": True}),
]  # fmt: skip


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def test_ecs_refuses_what_it_cannot_keep_and_is_as_it_was(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ecs = world.ecs
        ecs.create_cluster(ME, {"clusterName": "bare"})
        ecs.create_capacity_provider(
            ME, {"name": "own", "autoScalingGroupProvider": {"autoScalingGroupArn": "arn:asg"}}
        )
        world.serve(tags=[{"key": "a", "value": "b"}])
        await until(lambda: world.service["runningCount"] == 1)
        await until(lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        names = {
            "$cluster": world.service["clusterArn"],
            "$service": world.service["serviceArn"],
            "$definition": world.service["taskDefinition"],
            "$task": ecs.list_tasks(ME, {"serviceName": "s"})["taskArns"][0],
        }
        ecs.store.keep()
        before = shown_by_ecs(world)
        ecs.store._disk.execute("PRAGMA query_only = 1")
        for operation, request in ECS:
            with pytest.raises(Unavailable, match="Free some space"):
                getattr(ecs, operation)(ME, filled(copy.deepcopy(request), names))
            assert shown_by_ecs(world) == before, operation
        ecs.store._disk.execute("PRAGMA query_only = 0")
        for operation, request in ECS:
            if operation not in {"delete_service", "deregister_task_definition"}:
                getattr(ecs, operation)(ME, filled(copy.deepcopy(request), names))
        assert shown_by_ecs(world) != before, "with room again it is done"

    played(tmp_path, scenario)


RESOURCES = {"type": "FARGATE", "maxvCpus": 1, "subnets": ["s"], "securityGroupIds": ["g"]}
ORDER = [{"order": 1, "computeEnvironment": "ce"}]
CONTAINER = {"image": "i", "resourceRequirements": batch_world.SMALL, "executionRoleArn": "r"}
BATCH: list[tuple[str, dict[str, Any]]] = [
    ("create_compute_environment", {"computeEnvironmentName": "new", "type": "MANAGED", "computeResources": RESOURCES}),
    ("update_compute_environment", {"computeEnvironment": "ce", "computeResources": {"maxvCpus": 9}}),
    ("create_job_queue", {"jobQueueName": "new", "priority": 1, "computeEnvironmentOrder": ORDER}),
    ("update_job_queue", {"jobQueue": "q", "priority": 9}),
    ("register_job_definition", {"jobDefinitionName": "new", "type": "container", "containerProperties": CONTAINER}),
    ("deregister_job_definition", {"jobDefinition": "d:1"}),
    ("submit_job", {"jobName": "n", "jobQueue": "q", "jobDefinition": "d"}),
    ("submit_job", {"jobName": "n", "jobQueue": "q", "jobDefinition": "d", "arrayProperties": {"size": 3}}),
    ("tag_resource", {"resourceArn": "$queue", "tags": {"a": "b"}}),
    ("tag_resource", {"resourceArn": "$job", "tags": {"a": "b"}}),
    ("untag_resource", {"resourceArn": "$job", "tagKeys": ["of"]}),
    ("cancel_job", {"jobId": "$id", "reason": "r"}),
    ("terminate_job", {"jobId": "$id", "reason": "r"}),
]  # fmt: skip


def shown_by_batch(world: batch_world.World, jobs: list[str]) -> Any:
    batch = world.batch
    found = [
        batch.describe_compute_environments(ME, {}),
        batch.describe_job_queues(ME, {}),
        batch.describe_job_definitions(ME, {}),
        batch.describe_jobs(ME, {"jobs": jobs}),
        [one["jobId"] for one in batch.list_jobs(ME, {"jobQueue": "q", "jobStatus": "RUNNABLE"})["jobSummaryList"]],
        len(world.ecs.list_clusters(ME, {})["clusterArns"]) if not world.ecs.store._owed else 0,
    ]
    return copy.deepcopy(found)


def test_batch_refuses_what_it_cannot_keep_and_is_as_it_was(tmp_path: Path) -> None:
    async def scenario(world: batch_world.World) -> None:
        world.prepare()
        batch = world.batch
        batch.update_compute_environment(ME, {"computeEnvironment": "ce", "state": "DISABLED"})
        jobs = [world.submit(tags={"of": "mine"}), world.submit()]
        await batch_world.until(lambda: world.states(jobs) == {"RUNNABLE": 2})
        arn = batch.describe_jobs(ME, {"jobs": jobs[:1]})["jobs"][0]["jobArn"]
        queue = batch.describe_job_queues(ME, {})["jobQueues"][0]["jobQueueArn"]
        names = {"$job": arn, "$id": jobs[0], "$queue": queue}
        before = shown_by_batch(world, jobs)
        stores = (batch.store, world.ecs.store)
        for store in stores:
            store._disk.execute("PRAGMA query_only = 1")
        for operation, request in BATCH:
            with pytest.raises(Unavailable, match="Free some space"):
                getattr(batch, operation)(ME, filled(copy.deepcopy(request), names))
            assert shown_by_batch(world, jobs) == before, operation
        for store in stores:
            store._disk.execute("PRAGMA query_only = 0")
        for operation, request in BATCH:
            if operation != "deregister_job_definition":
                getattr(batch, operation)(ME, filled(copy.deepcopy(request), names))
        assert shown_by_batch(world, jobs) != before, "with room again it is done"

    batch_world.played(tmp_path, scenario)
