"""``skylift fargate`` as a person types it, against a local cloud: up, ps, down, and a count of what is left."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.deploy.fargate_cloud import IMAGE, Shell, everything, run_a_sleeper, small_image

from skylift.testing.cloud import Cloud, running_cloud

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]
NAMED = "skylift-fargate-demo"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("fargate"), images={IMAGE: small_image()}) as running:
        yield running


@pytest.fixture
def shell(cloud: Cloud, tmp_path: Path) -> Iterator[Shell]:
    """After each test, the account is as it was before."""
    before, made = everything(cloud), Shell(cloud, tmp_path)
    made.compose()
    yield made
    last = made.type("down", "demo", "--yes")
    assert last.code == 0, last.err
    assert everything(cloud) == before


def test_up_ps_and_down_leave_nothing(cloud: Cloud, shell: Shell, tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    (dags / "team").mkdir(parents=True)
    (dags / "team" / "one.py").write_text("one = 1\n")
    made = shell.type("up", "demo", *shell.small(), "--dags", str(dags))
    assert made.code == 0, made.err
    assert "$" in made.err
    assert "2026" in made.err, "the price has a date"
    assert "Airflow is HEALTHY" in made.err
    bucket = f"{NAMED}-{cloud.account}-{cloud.region}"
    s3, ec2, ecs = cloud.client("s3"), cloud.client("ec2"), cloud.client("ecs")
    assert keys(s3, bucket, "dags/") == {"dags/.skylift", "dags/team/one.py"}
    assert "state/owner" in keys(s3, bucket, "state/"), "the container has said that the database is its own"
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAMED]}])["SecurityGroups"][0]
    assert [(one["FromPort"], one["IpRanges"][0]["CidrIp"]) for one in group["IpPermissions"]] == [
        (8080, "127.0.0.1/32")
    ]
    password = shell.type("open", "demo", "--password").out.split()
    assert password[1] == "admin"
    definition = ecs.describe_task_definition(taskDefinition=NAMED)["taskDefinition"]
    assert password[2] not in json.dumps(definition, default=str), "a password is never in what can be described"
    ps = shell.type("ps", "demo")
    assert (ps.code, "HEALTHY" in ps.out, password[0] in ps.out) == (0, True, True)
    deadline, components = time.monotonic() + 60, ("db", "scheduler", "dag-processor", "triggerer", "api-server")
    while not all(f"{one} runs" in (said := shell.type("logs", "demo").out) for one in components):
        assert time.monotonic() < deadline, said
    assert "demo" in shell.type("list").out

    (dags / "team" / "one.py").unlink()
    (dags / "two.py").write_text("two = 2\n")
    before = everything(cloud)
    again = shell.type("up", "demo", *shell.small(), "--dags", str(dags))
    assert again.code == 0, again.err
    service = ecs.describe_services(cluster=NAMED, services=[NAMED])["services"][0]
    told = [one["message"] for one in service["events"]]
    assert everything(cloud) == before, f"again makes nothing new, but the service says: {told}"
    assert keys(s3, bucket, "dags/") == {"dags/.skylift", "dags/two.py"}

    kept = shell.type("down", "demo", "--yes", "--keep-data")
    assert kept.code == 0, kept.err
    assert f"kept: bucket {bucket}" in kept.err
    assert [one for one in everything(cloud)["buckets"] if one.startswith(NAMED)] == [bucket]
    assert shell.type("down", "demo", "--yes").code == 0
    twice = shell.type("down", "demo", "--yes")
    assert (twice.code, "Nothing of demo" in twice.err) == (0, True)


@pytest.mark.long
def test_what_is_somebody_elses_stays(cloud: Cloud, shell: Shell) -> None:
    ecs, iam = cloud.client("ecs"), cloud.client("iam")
    ecs.create_cluster(clusterName=NAMED)
    refused = shell.type("up", "demo", *shell.small())
    assert refused.code == 1
    assert "somebody else's" in refused.err
    assert shell.type("down", "demo", "--yes").code == 0
    assert ecs.describe_clusters(clusters=[NAMED])["clusters"][0]["status"] == "ACTIVE"
    ecs.delete_cluster(cluster=NAMED)
    role = f"{NAMED}-{cloud.region}-task"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    refused = shell.type("up", "demo", *shell.small())
    assert (refused.code, "somebody else's" in refused.err) == (1, True)
    assert shell.type("down", "demo", "--yes").code == 0
    iam.delete_role(RoleName=role)


@pytest.mark.long
def test_those_who_hold_the_network_are_named_and_waited_for(cloud: Cloud, shell: Shell) -> None:
    assert shell.type("up", "demo", *shell.small()).code == 0
    ec2, ecs, batch = cloud.client("ec2"), cloud.client("ecs"), cloud.client("batch")
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAMED]}])["SecurityGroups"][0]
    inside = [{"Name": "vpc-id", "Values": [group["VpcId"]]}]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets(Filters=inside)["Subnets"]]
    ends = [
        a_task(ecs, subnets, group["GroupId"]),
        an_instance(ec2, subnets, group["GroupId"]),
        a_batch_job(batch, subnets, group["GroupId"]),
    ]
    down = shell.begin("down", "demo", "--yes")
    said = Lines(down)
    for words in ("of cluster others", "instance i-", "a Batch job of compute environment outside"):
        said.until(words, 60)
    said.until("waiting for 3 things", 60)
    with pytest.raises(ClientError, match="DependencyViolation"):
        ec2.delete_security_group(GroupId=group["GroupId"])
    # It ends none of them.
    assert down.poll() is None
    assert len(ecs.list_tasks(cluster="others")["taskArns"]) == 1
    for end in ends:
        end()
    assert down.wait(60) == 0, said.all()
    undo_batch(batch)
    cloud.client("logs").delete_log_group(logGroupName="/aws/batch/job")
    ecs.delete_cluster(cluster="others")
    for arn in ecs.list_task_definitions()["taskDefinitionArns"]:
        ecs.deregister_task_definition(taskDefinition=arn)
    ecs.delete_task_definitions(taskDefinitions=ecs.list_task_definitions(status="INACTIVE")["taskDefinitionArns"])


@pytest.mark.soak
def test_a_group_of_somebody_in_our_vpc_is_named(cloud: Cloud, shell: Shell) -> None:
    assert shell.type("up", "demo", *shell.small()).code == 0
    ec2 = cloud.client("ec2")
    ours = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAMED]}])["SecurityGroups"][0]
    theirs = ec2.create_security_group(GroupName="airflow-sg", Description="by hand", VpcId=ours["VpcId"])["GroupId"]
    given_up = shell.type("down", "demo", "--yes", "--wait", "1")
    assert given_up.code == 1
    assert f"security group {theirs} ('airflow-sg', 'by hand') is in our VPC" in given_up.err
    assert ec2.describe_security_groups(GroupIds=[theirs])["SecurityGroups"]
    ec2.delete_security_group(GroupId=theirs)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_command_killed_at_any_moment_leaves_nothing_after_down(cloud: Cloud, shell: Shell, seed: int) -> None:
    killed_anywhere(shell, seed)


@pytest.mark.long
def test_an_image_that_is_not_there(cloud: Cloud, shell: Shell) -> None:
    shell.compose(image="nobody/has-it:1")
    failed = shell.type("up", "demo", *shell.small())
    assert failed.code == 1
    assert "CannotPullContainerError" in failed.err
    assert "Check --image" in failed.err
    shell.compose()
    repaired = shell.type("up", "demo", *shell.small())
    assert repaired.code == 0, repaired.err


@pytest.mark.long
def test_no_capacity(cloud: Cloud, shell: Shell) -> None:
    cloud.fault("capacity", service="ecs")
    failed = shell.type("up", "demo", *shell.small(), "--wait", "2")
    assert failed.code == 1
    assert "unable to place a task. Reason: Capacity is unavailable" in failed.err
    assert "AWS has no room for it just now and goes on trying" in failed.err
    cloud.clear_faults()
    repaired = shell.type("up", "demo", *shell.small())
    assert repaired.code == 0, repaired.err


@pytest.mark.long
def test_a_component_that_ends_is_started_again_and_then_the_container_ends(cloud: Cloud, shell: Shell) -> None:
    shell.compose(environment={"ENDS": "triggerer"})
    failed = shell.type("up", "demo", *shell.small())
    assert failed.code == 1
    assert "triggerer ended with 3 and is started again" in failed.err
    assert "triggerer ended 4 times in 600 s, the last time with 3" in failed.err
    assert "exit code 1" in failed.err
    assert "start number 2" in shell.type("logs", "demo").out, "the database is the old container's"


@pytest.mark.long
def test_never_healthy(cloud: Cloud, shell: Shell) -> None:
    shell.compose(environment={"STATUS": "unhealthy"})
    failed = shell.type("up", "demo", *shell.small(), "--wait", "9")
    assert failed.code == 1
    assert "not healthy after 9 s (RUNNING UNKNOWN)" in failed.err
    assert "api-server runs" in failed.err, "its last lines"
    assert "skylift fargate down demo" in failed.err or "fargate down demo" in failed.err
    ps = shell.type("ps", "demo")
    assert (ps.code, "UNKNOWN" in ps.out) == (1, True)


@pytest.mark.long
def test_a_quota_and_a_refused_permission(cloud: Cloud, shell: Shell) -> None:
    fault = {"service": "ec2", "operation": "CreateVpc", "code": "VpcLimitExceeded", "status": 400}
    cloud.fault("error", **fault, calls=1)
    failed = shell.type("up", "demo", *shell.small())
    assert failed.code == 1
    assert "--vpc" in failed.err
    cloud.fault("error", service="iam", operation="CreateRole", code="AccessDenied", message="no", status=403, calls=1)
    failed = shell.type("up", "other", *shell.small())
    assert failed.code == 1
    assert "You may not iam:CreateRole" in failed.err
    assert "iam-policy fargate --name other" in failed.err
    cloud.clear_faults()
    assert shell.type("down", "other", "--yes").code == 0


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_thirty_commands_killed_at_any_moment(cloud: Cloud, shell: Shell) -> None:
    before = everything(cloud)
    for seed in range(100, 130):
        killed_anywhere(shell, seed)
        last = shell.type("down", "demo", "--yes")
        assert last.code == 0, f"{seed}: {last.err}"
        assert everything(cloud) == before, seed


def keys(s3: Any, bucket: str, prefix: str) -> set[str]:
    return {one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]}


def killed_anywhere(shell: Shell, seed: int) -> None:
    """Kills up, and then perhaps down, at a random moment: some time after one of the lines that it prints."""
    chance = random.Random(seed)
    for command, most, often in (("up", 16, 1.0), ("down", 24, 0.5)):
        if chance.random() < often:
            options = shell.small() if command == "up" else ["--yes"]
            running = shell.begin(command, "demo", *options)
            said, lines, deadline = Lines(running), chance.randint(0, most), time.monotonic() + 60
            while said.all().count("\n") < lines and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.2))
            running.kill()
            running.wait(20)


def a_task(ecs: Any, subnets: list[str], group: str) -> Callable[[], object]:
    ecs.create_cluster(clusterName="others")
    arn = run_a_sleeper(ecs, "others", {"subnets": subnets, "securityGroups": [group]})["taskArn"]
    return lambda: ecs.stop_task(cluster="others", task=arn)


def an_instance(ec2: Any, subnets: list[str], group: str) -> Callable[[], object]:
    made = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnets[0], SecurityGroupIds=[group])
    ident = made["Instances"][0]["InstanceId"]
    return lambda: ec2.terminate_instances(InstanceIds=[ident])


def a_batch_job(batch: Any, subnets: list[str], group: str) -> Callable[[], object]:
    batch.create_compute_environment(
        computeEnvironmentName="outside",
        type="MANAGED",
        computeResources={"type": "FARGATE", "maxvCpus": 4, "subnets": subnets, "securityGroupIds": [group]},
    )
    order = [{"order": 1, "computeEnvironment": "outside"}]
    batch.create_job_queue(jobQueueName="outside", priority=1, computeEnvironmentOrder=order)
    sizes = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    container = {
        "image": IMAGE,
        "command": ["sleep", "600"],
        "resourceRequirements": sizes,
        "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
    }
    batch.register_job_definition(
        jobDefinitionName="outside", type="container", platformCapabilities=["FARGATE"], containerProperties=container
    )
    job = batch.submit_job(jobName="j", jobQueue="outside", jobDefinition="outside")["jobId"]
    deadline = time.monotonic() + 60
    while batch.describe_jobs(jobs=[job])["jobs"][0]["status"] != "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return lambda: batch.terminate_job(jobId=job, reason="over")


def undo_batch(batch: Any) -> None:
    batch.update_job_queue(jobQueue="outside", state="DISABLED")
    batch.delete_job_queue(jobQueue="outside")
    deadline = time.monotonic() + 30
    while batch.describe_job_queues(jobQueues=["outside"])["jobQueues"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    batch.update_compute_environment(computeEnvironment="outside", state="DISABLED")
    batch.delete_compute_environment(computeEnvironment="outside")
    while batch.describe_compute_environments(computeEnvironments=["outside"])["computeEnvironments"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Lines:
    """What a running command says, as it says it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._said: list[str] = []
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._said.append(line)

    def until(self, words: str, seconds: float) -> None:
        """Waits until it has said this."""
        deadline = time.monotonic() + seconds
        while words not in self.all():
            assert time.monotonic() < deadline, f"never said {words!r}: {self.all()}"
            time.sleep(0.1)

    def all(self) -> str:
        """All that it said."""
        return "".join(self._said)
