"""A full disk: ECS, Batch and load balancers refuse what they cannot write and stay unchanged; containers' ends are not
lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local import batch_cloud as batch_of
from tests.local.ecs_cloud import IMAGE, LOG_GROUP, NETWORK, client, definition, described, run, until, wait_for
from tests.local.small_disk import SmallDisk, needs_mounts, small_disk

pytestmark = pytest.mark.local

ROOT = Path(__file__).parents[3]


@contextmanager
def cloud(home: Path) -> Iterator[tuple[Callable[[str], Any], subprocess.Popen[bytes]]]:
    """A process with a local cloud of this home; it is killed at the end."""
    port = _free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.local.ecs_cloud", str(home), str(port)], cwd=ROOT)
    clients = lambda service: client(service, f"http://127.0.0.1:{port}")  # noqa: E731 - one line
    try:
        wait_for(lambda: _answers(clients), 60)
        yield clients, process
    finally:
        process.kill()
        process.wait(20)


@contextmanager
def cloud_that_answers(home: Path, service: str, operation: str) -> Iterator[Callable[[str], Any]]:
    """As ``cloud``, of which not everything is served."""
    port = _free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.local.ecs_cloud", str(home), str(port)], cwd=ROOT)
    clients = lambda name: client(name, f"http://127.0.0.1:{port}")  # noqa: E731 - one line
    try:
        wait_for(lambda: _answers(clients, service, operation), 120)
        yield clients
    finally:
        process.kill()
        process.wait(20)


def _free_port() -> int:
    import socket  # lazy: only here

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(clients: Callable[[str], Any], service: str = "ecs", operation: str = "list_clusters") -> bool:
    try:
        getattr(clients(service), operation)()
    except Exception:  # noqa: BLE001 - not yet
        return False
    return True


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    needs_mounts(request.node.nodeid)
    with small_disk(tmp_path / "disk") as one:
        (one.folder / "image" / "bin").mkdir(parents=True)
        (one.folder / "image" / "bin" / "python").symlink_to(sys.executable)
        yield one


def refused(call: Callable[..., Any], **request: Any) -> None:
    with pytest.raises(ClientError) as error:
        call(**request)
    said = error.value.response
    assert said["ResponseMetadata"]["HTTPStatusCode"] >= 500, said
    assert "Free some space" in said["Error"]["Message"], "the text says what to do"


def shown(clients: Callable[[str], Any]) -> dict[str, Any]:
    """Everything that one can see of ECS, Batch and load balancers, but for what moves by itself."""
    ecs, batch, elb = clients("ecs"), clients("batch"), clients("elbv2")
    found: dict[str, Any] = {}
    for one in ecs.describe_clusters(clusters=["default", "other"], include=["TAGS", "SETTINGS"])["clusters"]:
        found["cluster", one["clusterName"]] = one["status"], one["tags"], one["settings"], one["capacityProviders"]
    for arn in ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]:
        told = ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
        found[arn] = told["taskDefinition"]["status"], told["tags"]
    for one in ecs.describe_services(services=["web"], include=["TAGS"])["services"]:
        shape = one["desiredCount"], one["taskDefinition"], one["status"], one["tags"], one["enableExecuteCommand"]
        found["service"] = *shape, [each["id"] for each in one["deployments"]]
    found["settings"] = ecs.list_account_settings(effectiveSettings=True)["settings"]
    found["providers"] = ecs.describe_capacity_providers(include=["TAGS"])["capacityProviders"]
    for name in ("compute_environments", "job_queues", "job_definitions"):
        told = getattr(batch, f"describe_{name}")()
        found[name] = next(value for key, value in told.items() if key != "ResponseMetadata")
    for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"):
        found["jobs", state] = [
            one["jobId"] for one in batch.list_jobs(jobQueue="q", jobStatus=state)["jobSummaryList"]
        ]
    found["balancers"] = elb.describe_load_balancers()["LoadBalancers"]
    for one in elb.describe_target_groups()["TargetGroups"]:
        arn = one["TargetGroupArn"]
        health = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        attributes = elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        tags = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        found[arn] = one, [each["Target"] for each in health], attributes, tags
    for one in found["balancers"]:
        found["listeners"] = elb.describe_listeners(LoadBalancerArn=one["LoadBalancerArn"])["Listeners"]
    return found


def furnish(clients: Callable[[str], Any]) -> dict[str, str]:
    """Something of each kind; names of what the attempts below need."""
    ecs, batch, elb = clients("ecs"), clients("batch"), clients("elbv2")
    clients("logs").create_log_group(logGroupName=LOG_GROUP)
    ecs.create_cluster(tags=[{"key": "a", "value": "b"}])
    arn = ecs.register_task_definition(**definition("sleep", "600"))["taskDefinition"]["taskDefinitionArn"]
    ecs.create_capacity_provider(
        name="own", autoScalingGroupProvider={"autoScalingGroupArn": "arn:aws:autoscaling:us-east-1:0:x"}
    )
    ecs.create_service(
        serviceName="web", taskDefinition=arn, desiredCount=0, launchType="FARGATE", networkConfiguration=NETWORK
    )
    batch_of.prepare(batch, vcpus=1)
    batch_of.define(batch, "sleep", "600")
    # Four take all there is; the others wait behind them.
    jobs = [batch_of.submit(batch, name=f"job-{number}") for number in range(6)]
    for one in jobs[:4]:  # a start that meets the full disk would fail
        batch_of.until(batch, one, "RUNNING", seconds=60)
    balancer = elb.create_load_balancer(Name="lb", Type="network", Subnets=["subnet-1"])["LoadBalancers"][0][
        "LoadBalancerArn"
    ]
    group = elb.create_target_group(Name="tg", Protocol="TCP", Port=80, VpcId="vpc-1", TargetType="ip")["TargetGroups"][
        0
    ]["TargetGroupArn"]
    forward = [{"Type": "forward", "TargetGroupArn": group}]
    made = elb.create_listener(LoadBalancerArn=balancer, Protocol="TCP", Port=8081, DefaultActions=forward)
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": 9}])
    return {
        "definition": arn,
        "queue": batch.describe_job_queues()["jobQueues"][0]["jobQueueArn"],
        "waiting": jobs[5],
        "balancer": balancer,
        "group": group,
        "listener": made["Listeners"][0]["ListenerArn"],
        "cluster": ecs.describe_clusters()["clusters"][0]["clusterArn"],
    }


LONG = [{"key": f"k{number}", "value": "v" * 250} for number in range(40)]
"""Tags of 10 kB: more than is left over anywhere."""


def attempts(
    clients: Callable[[str], Any], known: dict[str, str]
) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Every operation that changes a record of ours: name, call, request."""
    ecs, batch, elb = clients("ecs"), clients("batch"), clients("elbv2")
    pairs = [{"Key": one["key"], "Value": one["value"]} for one in LONG]
    flat = {one["key"]: one["value"] for one in LONG}
    forward = [{"Type": "forward", "TargetGroupArn": known["group"]}]
    where: dict[str, Any] = {"launchType": "FARGATE", "networkConfiguration": NETWORK}
    strategy: list[Any] = []
    yield "create cluster", ecs.create_cluster, {"clusterName": "other", "tags": LONG}
    yield (
        "update cluster",
        ecs.update_cluster_settings,
        {"cluster": "default", "settings": [{"name": "containerInsights", "value": "enabled"}]},
    )
    request = {"cluster": "default", "capacityProviders": ["own"], "defaultCapacityProviderStrategy": strategy}
    yield "cluster's providers", ecs.put_cluster_capacity_providers, request
    yield "register", ecs.register_task_definition, {**definition("true"), "tags": LONG}
    yield "deregister", ecs.deregister_task_definition, {"taskDefinition": known["definition"]}
    yield "tag cluster", ecs.tag_resource, {"resourceArn": known["cluster"], "tags": LONG}
    yield "untag cluster", ecs.untag_resource, {"resourceArn": known["cluster"], "tagKeys": ["a"]}
    yield "tag definition", ecs.tag_resource, {"resourceArn": known["definition"], "tags": LONG}
    yield "run task", ecs.run_task, {"taskDefinition": known["definition"], "tags": LONG, **where}
    yield (
        "create service",
        ecs.create_service,
        {"serviceName": "other", "taskDefinition": known["definition"], "tags": LONG, **where},
    )
    yield (
        "update service",
        ecs.update_service,
        {"service": "web", "desiredCount": 3, "forceNewDeployment": True, "enableExecuteCommand": True},
    )
    yield "delete service", ecs.delete_service, {"service": "web", "force": True}
    yield "setting", ecs.put_account_setting, {"name": "containerInsights", "value": "enabled"}
    yield "provider", ecs.delete_capacity_provider, {"capacityProvider": "own"}
    yield "submit", batch.submit_job, {"jobName": "x", "jobQueue": "q", "jobDefinition": "work", "tags": flat}
    yield "terminate", batch.terminate_job, {"jobId": known["waiting"], "reason": "r" * 1000}
    yield "cancel", batch.cancel_job, {"jobId": known["waiting"], "reason": "r" * 1000}
    yield "tag queue", batch.tag_resource, {"resourceArn": known["queue"], "tags": flat}
    yield "disable queue", batch.update_job_queue, {"jobQueue": "q", "state": "DISABLED"}
    yield (
        "job definition",
        batch.register_job_definition,
        {
            "jobDefinitionName": "other",
            "type": "container",
            "platformCapabilities": ["FARGATE"],
            "tags": flat,
            "containerProperties": {
                "image": IMAGE,
                "command": ["true"],
                "resourceRequirements": batch_of.SMALL,
                "executionRoleArn": batch_of.ROLE,
            },
        },
    )
    yield "no job definition", batch.deregister_job_definition, {"jobDefinition": "work:1"}
    yield (
        "environment",
        batch.update_compute_environment,
        {"computeEnvironment": "q-ce", "computeResources": {"maxvCpus": 9}},
    )
    yield (
        "balancer",
        elb.create_load_balancer,
        {"Name": "other", "Type": "network", "Subnets": ["subnet-1"], "Tags": pairs},
    )
    yield (
        "group",
        elb.create_target_group,
        {"Name": "other", "Protocol": "TCP", "Port": 80, "VpcId": "vpc-1", "TargetType": "ip", "Tags": pairs},
    )
    request = {
        "LoadBalancerArn": known["balancer"],
        "Protocol": "TCP",
        "Port": 8082,
        "DefaultActions": forward,
        "Tags": pairs,
    }
    yield "listener", elb.create_listener, request
    yield "move listener", elb.modify_listener, {"ListenerArn": known["listener"], "Port": 8083, "Protocol": "TCP"}
    many = [{"Id": "127.0.0.1", "Port": 1000 + number} for number in range(900)]
    yield "targets", elb.register_targets, {"TargetGroupArn": known["group"], "Targets": many}
    yield (
        "no targets",
        elb.deregister_targets,
        {"TargetGroupArn": known["group"], "Targets": [{"Id": "127.0.0.1", "Port": 9}]},
    )
    attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": "7"}]
    yield "attributes", elb.modify_target_group_attributes, {"TargetGroupArn": known["group"], "Attributes": attributes}
    yield "tag group", elb.add_tags, {"ResourceArns": [known["group"]], "Tags": pairs}
    yield "no balancer", elb.delete_load_balancer, {"LoadBalancerArn": known["balancer"]}


def test_every_operation_of_ours_is_refused_or_kept(disk: SmallDisk) -> None:
    with cloud(disk.folder) as (clients, _):
        known = furnish(clients)
        before = shown(clients)
        disk.fill()
        _leave_no_room_in_the_log(clients)
        before = shown(clients)
        for name, call, request in attempts(clients, known):
            try:
                refused(call, **request)
            except BaseException as error:
                raise AssertionError(name) from error
            assert shown(clients) == before, name
        disk.free()
        clients("batch").terminate_job(jobId=known["waiting"], reason="with room again")
        clients("ecs").update_service(service="web", enableExecuteCommand=True)
        after = shown(clients)
    with cloud(disk.folder) as (clients, _):
        assert shown(clients) == after
        assert clients("batch").describe_jobs(jobs=[known["waiting"]])["jobs"][0]["statusReason"] == "with room again"


def _leave_no_room_in_the_log(clients: Callable[[str], Any]) -> None:
    """SQLite's log has room of its own, from a time when it was longer: it is used up first."""
    ecs = clients("ecs")
    for number in range(5000):
        try:
            ecs.put_account_setting(name="containerInsights", value=("enabled", "disabled")[number % 2])
        except ClientError:
            return
    raise AssertionError("the log takes whatever comes")


def test_a_containers_exit_code_outlives_a_full_disk_and_kill_9(disk: SmallDisk, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)\nraise SystemExit(7)"
    with cloud(disk.folder) as (clients, process):
        ecs = clients("ecs")
        clients("logs").create_log_group(logGroupName=LOG_GROUP)
        ecs.create_cluster()
        quiet, killed = (run(ecs, definition("python", "-c", code)) for _ in range(2))
        for one in (quiet, killed):
            until(ecs, one, "RUNNING", 60)
        disk.fill()
        gate.touch()
        ended = until(ecs, quiet, "STOPPED", 60)
        assert ended["containers"][0]["exitCode"] == 7, "what happened is told, whatever the disk says"
        until(ecs, killed, "STOPPED", 60)
        process.kill()
        process.wait(20)
    disk.free()
    with cloud(disk.folder) as (clients, _):
        for one in (quiet, killed):
            assert until(clients("ecs"), one, "STOPPED", 60)["containers"][0]["exitCode"] == 7


def test_what_is_owed_is_written_once_there_is_room_and_nobody_asks(disk: SmallDisk, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)\nraise SystemExit(7)"
    with cloud(disk.folder) as (clients, process):
        ecs = clients("ecs")
        clients("logs").create_log_group(logGroupName=LOG_GROUP)
        ecs.create_cluster()
        task = run(ecs, definition("python", "-c", code))
        until(ecs, task, "RUNNING", 60)
        disk.fill()
        gate.touch()
        until(ecs, task, "STOPPED", 60)
        disk.free()
        before = described(ecs, task)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(60)
    # The container's own files must not be needed for it.
    for one in (disk.folder / "cloud" / "containers").rglob("exit"):
        one.unlink()
    with cloud(disk.folder) as (clients, _):
        assert described(clients("ecs"), task) == before


@pytest.mark.parametrize("way", ["empty", "cut", "text"])
def test_a_damaged_database_costs_what_stands_in_it_and_nothing_else(tmp_path: Path, way: str) -> None:
    home = tmp_path / "home"
    (home / "image" / "bin").mkdir(parents=True)
    (home / "image" / "bin" / "python").symlink_to(sys.executable)
    with cloud(home) as (clients, process):
        clients("ecs").create_cluster()
        clients("s3").create_bucket(Bucket="kept")
        os.kill(process.pid, signal.SIGTERM)
        process.wait(60)
    path = home / "cloud" / "cloud.db"
    content = path.read_bytes()
    damaged = {"empty": b"", "cut": content[: len(content) // 2], "text": b"hello" * 999}[way]
    (home / "cloud" / "containers").mkdir(exist_ok=True)
    path.write_bytes(damaged)
    with cloud_that_answers(home, "s3", "list_buckets") as clients:
        for service, operation in (
            ("ecs", "list_clusters"),
            ("batch", "describe_job_queues"),
            ("elbv2", "describe_load_balancers"),
        ):
            with pytest.raises(ClientError, match=r"cloud\.db is damaged") as error:
                getattr(clients(service), operation)()
            assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        assert [one["Name"] for one in clients("s3").list_buckets()["Buckets"]] == ["kept"]
    assert path.read_bytes() == damaged
