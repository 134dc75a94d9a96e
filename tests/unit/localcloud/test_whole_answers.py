"""ECS's and Batch's answers in full: a member that is missing, misspelt or superfluous is a difference. Other tests look
at single members; SDKs pass over the rest in silence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit import batch_world
from tests.unit.localcloud import test_ecs_engine as ecs_world
from tests.unit.whole_answers import Story, compared

from skylift.localcloud.batch.checks import _UNSERVED_DEFINITION, _UNSERVED_SUBMISSION
from skylift.localcloud.batch.queues import _UNSERVED
from skylift.localcloud.ecs.model.checks import FARGATE_MEMORY, check_definition
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit
FILES = Path(__file__).parent / "answers"
ME = ecs_world.ME
NETWORK = {"awsvpcConfiguration": {"subnets": ["s1", "s2"], "securityGroups": ["g"], "assignPublicIp": "DISABLED"}}
FULL: dict[str, Any] = {
    "family": "full",
    "taskRoleArn": "arn:aws:iam::000000000000:role/task",
    "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE", "EC2"],
    "cpu": "1 vCPU",
    "memory": "2 GB",
    "pidMode": "task",
    "ephemeralStorage": {"sizeInGiB": 30},
    "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
    "enableFaultInjection": False,
    "tags": [{"key": "team", "value": "blue"}],
    "containerDefinitions": [
        {
            "name": "main",
            "image": "i",
            "command": ["run"],
            "essential": True,
            "environment": [{"name": "A", "value": "1"}],
            "portMappings": [{"containerPort": 80}],
            "healthCheck": {"command": ["CMD-SHELL", "true"]},
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {"awslogs-group": "g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"},
            },
            "stopTimeout": 7,
        },
        {"name": "side", "image": "j", "command": ["help"], "essential": False, "cpu": 128, "memoryReservation": 64},
    ],
}


def ecs_story(folder: Path, scenario: Callable[[ecs_world.World, dict[str, Any]], Awaitable[None]]) -> dict[str, Any]:
    told = Story()

    async def play(world: ecs_world.World) -> None:
        await scenario(world, told)

    ecs_world.played(folder, play)
    return told


def test_ecs_definitions_and_clusters(tmp_path: Path) -> None:
    async def scenario(world: ecs_world.World, told: dict[str, Any]) -> None:
        ecs = world.ecs
        told["register"] = ecs.register_task_definition(ME, FULL)
        told["least"] = ecs.register_task_definition(
            ME, {"family": "least", "containerDefinitions": [{"name": "c", "image": "i", "memory": 128}]}
        )
        told["describe"] = ecs.describe_task_definition(ME, {"taskDefinition": "full", "include": ["TAGS"]})
        told["families"] = ecs.list_task_definition_families(ME, {})
        told["list"] = ecs.list_task_definitions(ME, {})
        told["deregister"] = ecs.deregister_task_definition(ME, {"taskDefinition": "full:1"})
        told["delete"] = ecs.delete_task_definitions(ME, {"taskDefinitions": ["full:1", "least:1", "none:1"]})
        told["cluster"] = ecs.create_cluster(
            ME,
            {
                "clusterName": "other",
                "settings": [{"name": "containerInsights", "value": "enabled"}],
                "configuration": {"executeCommandConfiguration": {"logging": "NONE"}},
                "tags": [{"key": "a", "value": "b"}],
                "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
                "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1, "base": 2}],
            },
        )
        told["clusters"] = ecs.describe_clusters(
            ME, {"clusters": ["default", "other", "none"], "include": ["TAGS", "SETTINGS", "STATISTICS", "ATTACHMENTS"]}
        )
        told["clusters without more"] = ecs.describe_clusters(ME, {"clusters": ["other"]})
        told["configuration"] = ecs.describe_clusters(ME, {"clusters": ["other"], "include": ["CONFIGURATIONS"]})
        told["providers"] = ecs.describe_capacity_providers(ME, {"include": ["TAGS"]})
        told["delete cluster"] = ecs.delete_cluster(ME, {"cluster": "other"})
        told["settings"] = [
            ecs.list_account_settings(ME, {"effectiveSettings": True, "maxResults": 100}),
            ecs.list_account_settings(ME, {"effectiveSettings": True})["nextToken"],
        ]

    compared(ecs_story(tmp_path, scenario), FILES / "ecs_definitions_and_clusters.json")


def test_ecs_tasks(tmp_path: Path) -> None:
    async def scenario(world: ecs_world.World, told: dict[str, Any]) -> None:
        ecs = world.ecs
        ecs.register_task_definition(ME, FULL)
        request = {
            "taskDefinition": "full",
            "launchType": "FARGATE",
            "platformVersion": "1.4.0",
            "networkConfiguration": NETWORK,
            "startedBy": "somebody",
            "group": "mine",
            "enableExecuteCommand": True,
            "propagateTags": "TASK_DEFINITION",
            "tags": [{"key": "of", "value": "mine"}],
            "overrides": {
                "cpu": "512",
                "memory": "1024",
                "containerOverrides": [{"name": "main", "environment": [{"name": "A", "value": "2"}]}],
            },
        }
        told["run"] = ecs.run_task(ME, request)
        arn = told["run"]["tasks"][0]["taskArn"]
        await ecs_world.until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
        told["running"] = ecs.describe_tasks(ME, {"tasks": [arn, "none"], "include": ["TAGS"]})
        told["list"] = ecs.list_tasks(ME, {"startedBy": "somebody"})
        told["stop"] = ecs.stop_task(ME, {"task": arn, "reason": "enough"})
        await ecs_world.until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        told["stopped"] = ecs.describe_tasks(ME, {"tasks": [arn], "include": ["TAGS"]})
        told["stopped ones"] = ecs.list_tasks(ME, {"desiredStatus": "STOPPED"})

    compared(ecs_story(tmp_path, scenario), FILES / "ecs_tasks.json")


def test_ecs_services(tmp_path: Path) -> None:
    async def scenario(world: ecs_world.World, told: dict[str, Any]) -> None:
        ecs = world.ecs
        world.serve(
            tags=[{"key": "a", "value": "b"}],
            propagateTags="SERVICE",
            enableExecuteCommand=True,
            platformVersion="LATEST",
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        )
        await ecs_world.until(lambda: world.service["runningCount"] == 1)
        await ecs_world.until(lambda: world.service["deployments"][0]["rolloutState"] == "COMPLETED")
        described = ecs.describe_services(ME, {"services": ["s", "none"], "include": ["TAGS"]})
        for service in described["services"]:
            service["events"] = sorted(event["message"] for event in service["events"])
        told["steady"] = described
        told["list"] = ecs.list_services(ME, {})
        member = ecs.list_tasks(ME, {"serviceName": "s"})["taskArns"][0]
        told["protect"] = ecs.update_task_protection(
            ME, {"tasks": [member, "none"], "protectionEnabled": True, "expiresInMinutes": 5}
        )
        told["protected"] = ecs.get_task_protection(ME, {})
        told["no longer"] = ecs.update_task_protection(ME, {"tasks": [member], "protectionEnabled": False})
        told["tags"] = ecs.list_tags_for_resource(ME, {"resourceArn": world.service["serviceArn"]})
        told["member"] = [
            {key: value for key, value in one.items() if key in {"group", "startedBy", "tags", "enableExecuteCommand"}}
            for one in ecs.describe_tasks(ME, {"tasks": [member], "include": ["TAGS"]})["tasks"]
        ]
        deleted = ecs.delete_service(ME, {"service": "s", "force": True})["service"]
        told["deleted"] = {name: deleted[name] for name in ("status", "desiredCount", "serviceName")}

    compared(ecs_story(tmp_path, scenario), FILES / "ecs_services.json")


def batch_story(folder: Path, scenario: Callable[[batch_world.World, dict[str, Any]], Awaitable[None]]) -> Any:
    told = Story()

    async def play(world: batch_world.World) -> None:
        await scenario(world, told)

    batch_world.played(folder, play)
    return told


EC2 = {"type": "EC2", "maxvCpus": 4, "minvCpus": 0, "instanceTypes": ["optimal"], "instanceRole": "r", "subnets": ["s"]}


def test_batch_places_and_definitions(tmp_path: Path) -> None:
    async def scenario(world: batch_world.World, told: dict[str, Any]) -> None:
        batch = world.batch
        world.prepare(retryStrategy={"attempts": 2}, timeout={"attemptDurationSeconds": 60}, tags={"a": "b"})
        told["environments"] = batch.describe_compute_environments(ME, {})
        told["queues"] = batch.describe_job_queues(ME, {})
        told["definitions"] = batch.describe_job_definitions(ME, {})
        told["made"] = batch.create_compute_environment(
            ME, {"computeEnvironmentName": "other", "type": "MANAGED", "computeResources": EC2, "tags": {"c": "d"}}
        )
        order = [{"order": 1, "computeEnvironment": "other"}]
        told["queue made"] = batch.create_job_queue(
            ME, {"jobQueueName": "q2", "priority": 7, "computeEnvironmentOrder": order, "tags": {"e": "f"}}
        )
        told["changed"] = [
            batch.update_compute_environment(
                ME, {"computeEnvironment": "other", "state": "DISABLED", "computeResources": {"maxvCpus": 9}}
            ),
            batch.update_job_queue(ME, {"jobQueue": "q2", "state": "DISABLED", "priority": 8}),
        ]
        told["after"] = [
            batch.describe_compute_environments(ME, {"computeEnvironments": ["other", "none"]}),
            batch.describe_job_queues(ME, {"jobQueues": ["q2", "none"]}),
        ]
        told["pages"] = [
            batch.describe_compute_environments(ME, {"maxResults": 1}),
            batch.describe_job_queues(ME, {"maxResults": 1})["nextToken"],
        ]
        arn = told["after"][1]["jobQueues"][0]["jobQueueArn"]
        batch.tag_resource(ME, {"resourceArn": arn, "tags": {"e": "g", "h": "i"}})
        batch.untag_resource(ME, {"resourceArn": arn, "tagKeys": ["h"]})
        told["tags"] = batch.list_tags_for_resource(ME, {"resourceArn": arn})
        gone = [
            batch.delete_job_queue(ME, {"jobQueue": "q2"}),
            batch.deregister_job_definition(ME, {"jobDefinition": "d:1"}),
        ]
        await batch_world.until(lambda: not batch.describe_job_queues(ME, {"jobQueues": ["q2"]})["jobQueues"])
        told["gone"] = [*gone, batch.delete_compute_environment(ME, {"computeEnvironment": "other"})]
        told["left"] = [
            [one["jobQueueName"] for one in batch.describe_job_queues(ME, {})["jobQueues"]],
            [
                one["computeEnvironmentName"]
                for one in batch.describe_compute_environments(ME, {})["computeEnvironments"]
            ],
            [(one["revision"], one["status"]) for one in batch.describe_job_definitions(ME, {})["jobDefinitions"]],
        ]

    compared(batch_story(tmp_path, scenario), FILES / "batch_places_and_definitions.json")


def test_batch_jobs(tmp_path: Path) -> None:
    async def scenario(world: batch_world.World, told: dict[str, Any]) -> None:
        batch = world.batch
        world.prepare(retryStrategy={"attempts": 2})
        overrides = {"command": ["other"], "environment": [{"name": "A", "value": "1"}]}
        told["submit"] = batch.submit_job(
            ME,
            {
                "jobName": "n",
                "jobQueue": "q",
                "jobDefinition": "d",
                "containerOverrides": overrides,
                "parameters": {"p": "1"},
                "tags": {"a": "b"},
                "timeout": {"attemptDurationSeconds": 90},
                "propagateTags": True,
            },
        )
        job = told["submit"]["jobId"]
        container = await world.runs(job)
        told["running"] = batch.describe_jobs(ME, {"jobs": [job, "none"]})
        told["listed"] = batch.list_jobs(ME, {"jobQueue": "q"})
        container.end(3)
        await batch_world.until(lambda: len(world.runner.known) == 2)
        (await world.runs(job)).end(0)
        await world.ends(job)
        told["ended"] = batch.describe_jobs(ME, {"jobs": [job]})
        array = world.submit(arrayProperties={"size": 2}, dependsOn=[{"jobId": job}])
        for index in range(2):
            (await world.runs(f"{array}:{index}")).end(index)
        await batch_world.until(lambda: len(world.runner.known) == 5)
        (await world.runs(f"{array}:1")).end(4)
        await world.ends(array)
        told["array"] = batch.describe_jobs(ME, {"jobs": [array, f"{array}:1"]})
        told["children"] = batch.list_jobs(ME, {"arrayJobId": array, "jobStatus": "FAILED"})
        told["by name"] = batch.list_jobs(ME, {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": ["N*"]}]})
        told["front"] = batch.get_job_queue_snapshot(ME, {"jobQueue": "q"})

    told = batch_story(tmp_path, scenario)
    moments = {"createdAt", "startedAt", "stoppedAt"}
    compared(_without(told, moments), FILES / "batch_jobs.json")


def test_events(tmp_path: Path) -> None:
    """EventBridge's events of one Batch job and of the ECS task that is its attempt, in full."""

    async def scenario(world: batch_world.World, told: dict[str, Any]) -> None:
        world.prepare()
        job = world.submit(tags={"a": "b"})
        (await world.runs(job)).end(3)
        await world.ends(job)
        ended = {"STOPPED", "FAILED"}
        await batch_world.until(lambda: {_status(event) for event in world.bus.heard} >= ended)
        for event in sorted(world.bus.heard, key=lambda event: (event["detail-type"], _status(event))):
            told[f"{event['detail-type']} {_status(event)}"] = event

    moments = {"createdAt", "startedAt", "stoppedAt", "updatedAt", "time", "connectivityAt", "pullStartedAt"}
    moments |= {"pullStoppedAt", "stoppingAt", "executionStoppedAt"}
    told = _without(batch_story(tmp_path, scenario), moments)
    assert len(told) > 5
    compared(told, FILES / "events.json")


def _status(event: dict[str, Any]) -> str:
    return str(event["detail"].get("lastStatus") or event["detail"].get("status"))


def _without(value: Any, names: set[str]) -> Any:
    """Moments are kept as what they are, milliseconds, and not as which."""
    if isinstance(value, dict):
        return {key: type(inner).__name__ if key in names else _without(inner, names) for key, inner in value.items()}
    return [_without(inner, names) for inner in value] if isinstance(value, list) else value


def test_pages_of_an_array_s_children_have_no_gap(tmp_path: Path) -> None:
    async def scenario(world: batch_world.World) -> None:
        world.prepare(vcpus=1)
        world.batch.update_compute_environment(ME, {"computeEnvironment": "ce", "state": "DISABLED"})
        array = world.submit(arrayProperties={"size": 7})
        asked: dict[str, Any] = {"arrayJobId": array, "jobStatus": "RUNNABLE", "maxResults": 3}
        await batch_world.until(lambda: world.summary(array) == {"RUNNABLE": 7})
        pages, token = [], {}
        for _ in range(3):
            page = world.batch.list_jobs(ME, {**asked, **token})
            pages.append([one["arrayProperties"]["index"] for one in page["jobSummaryList"]])
            token = {"nextToken": page.get("nextToken", "")}
        assert pages == [[0, 1, 2], [3, 4, 5], [6]]
        assert token == {"nextToken": ""}
        whole = world.batch.list_jobs(ME, {**asked, "maxResults": 7})
        assert "nextToken" not in whole, "exactly the rest is no reason for another page"
        jobs = [world.submit() for _ in range(4)]
        await batch_world.until(lambda: world.states(jobs) == {"RUNNABLE": 4})
        queue: dict[str, Any] = {"jobQueue": "q", "jobStatus": "RUNNABLE", "maxResults": 4}
        listed = world.batch.list_jobs(ME, queue)
        assert (len(listed["jobSummaryList"]), "nextToken" in listed) == (4, False)

    batch_world.played(tmp_path, scenario)


# Tables of names and numbers.


def test_every_account_setting_takes_its_values_and_no_other(tmp_path: Path) -> None:
    switch = ("disabled", "enabled")
    takes: dict[str, tuple[str, ...]] = {
        "serviceLongArnFormat": switch,
        "taskLongArnFormat": switch,
        "containerInstanceLongArnFormat": switch,
        "awsvpcTrunking": switch,
        "containerInsights": (*switch, "enhanced"),
        "fargateFIPSMode": (*switch, "off", "on"),
        "tagResourceAuthorization": ("off", "on"),
        "fargateTaskRetirementWaitPeriod": ("0", "14", "7"),
        "guardDutyActivate": ("off", "on"),
        "defaultLogDriverMode": ("blocking", "non-blocking"),
        "fargateEventWindows": switch,
    }

    async def scenario(world: ecs_world.World) -> None:
        for name, values in takes.items():
            for value in values:
                made = world.ecs.put_account_setting(ME, {"name": name, "value": value})["setting"]
                assert (made["value"], made["principalArn"]) == (value, ME.principal)
            with pytest.raises(AwsError, match=f"can be one of: {', '.join(values)}\\.$"):
                world.ecs.put_account_setting(ME, {"name": name, "value": "other"})

    ecs_world.played(tmp_path, scenario)


@pytest.mark.parametrize("name", [*_UNSERVED, *_UNSERVED_DEFINITION, *_UNSERVED_SUBMISSION])
def test_what_batch_does_not_serve_is_refused_by_name(tmp_path: Path, name: str) -> None:
    assert {*_UNSERVED} == {"serviceEnvironmentOrder", "jobStateTimeLimitActions"}
    assert {*_UNSERVED_DEFINITION} == {"eksProperties", "nodeProperties", "consumableResourceProperties"}
    assert {f"{one}Override" for one in ("eksProperties", "consumableResourceProperties")} < {*_UNSERVED_SUBMISSION}

    async def scenario(world: batch_world.World) -> None:
        world.prepare()
        order = [{"order": 1, "computeEnvironment": "ce"}]
        container = {"image": "i", "resourceRequirements": batch_world.SMALL, "executionRoleArn": "r"}
        calls: list[tuple[Any, dict[str, Any]]] = []
        if name in _UNSERVED:
            queue = {"priority": 1, "computeEnvironmentOrder": order, name: ["x"]}
            calls.append((world.batch.create_job_queue, {"jobQueueName": "new", **queue}))
            calls.append((world.batch.update_job_queue, {"jobQueue": "q", **queue}))
        elif name in _UNSERVED_DEFINITION:
            work = {"type": "container", "containerProperties": container, name: {"x": "y"}}
            calls.append((world.batch.register_job_definition, {"jobDefinitionName": "new", **work}))
        else:
            asked = {"jobName": "n", "jobQueue": "q", "jobDefinition": "d", name: {"x": "y"}}
            calls.append((world.batch.submit_job, asked))
        for call, request in calls:
            with pytest.raises(AwsError, match=name) as caught:
                call(ME, request)
            assert caught.value.code == "ClientException"

    batch_world.played(tmp_path, scenario)


SIZES = {
    256: [512, 1024, 2048],
    512: [1024, 2048, 3072, 4096],
    1024: [gib * 1024 for gib in range(2, 9)],
    2048: [gib * 1024 for gib in range(4, 17)],
    4096: [gib * 1024 for gib in range(8, 31)],
    8192: [gib * 1024 for gib in range(16, 61, 4)],
    16384: [gib * 1024 for gib in range(32, 121, 8)],
    32768: [gib * 1024 for gib in (60, 120, 180, 240, 244)],
}


@pytest.mark.parametrize("cpu", SIZES)
def test_the_sizes_that_fargate_offers(cpu: int) -> None:
    assert {size: sorted(memory) for size, memory in FARGATE_MEMORY.items()} == SIZES
    wanted = {**FULL, "requiresCompatibilities": ["FARGATE"], "cpu": str(cpu)}
    for memory in SIZES[cpu]:
        check_definition({**wanted, "memory": str(memory)})
    for memory in (SIZES[cpu][0] - 256, SIZES[cpu][-1] + 1024):
        with pytest.raises(AwsError):
            check_definition({**wanted, "memory": str(memory)})
