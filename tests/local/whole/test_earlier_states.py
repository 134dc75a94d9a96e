"""State that an earlier version of skylift wrote is read by this one: nothing is lost by an upgrade
(``tests/states``)."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.local.localcloud.test_cloud_alone import Alone

STATES = sorted((Path(__file__).parents[2] / "states").glob("cloud-*.tar.gz"))

pytestmark = pytest.mark.local


@pytest.fixture(scope="module", params=STATES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """boto3's clients of a server that was started on the state; credentials are those that the state has."""
    folder = tmp_path_factory.mktemp("state")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    (home,) = folder.iterdir()
    cloud = Alone(home, "--home", str(home))
    keys = dict(line.split(" = ") for line in (home / "aws" / "credentials").read_text().splitlines() if " = " in line)
    made = boto3.Session(keys["aws_access_key_id"], keys["aws_secret_access_key"], region_name="us-east-1")
    yield lambda service: made.client(service, endpoint_url=cloud.url)
    assert cloud.end() == 0


def test_there_is_a_state_to_read() -> None:
    assert STATES


def test_objects_and_their_versions(session: Any) -> None:
    s3 = session("s3")
    assert s3.get_object(Bucket="stored", Key="a/one.txt")["Body"].read() == b"new"
    versions = s3.list_object_versions(Bucket="stored", Prefix="a/one.txt")["Versions"]
    bodies = [
        s3.get_object(Bucket="stored", Key="a/one.txt", VersionId=one["VersionId"])["Body"].read() for one in versions
    ]
    assert bodies == [b"new", b"old"]
    assert s3.head_object(Bucket="stored", Key="a/two ü.txt")["Metadata"] == {"k": "v"}


def test_queues_secrets_parameters_roles_rules_topics(session: Any) -> None:
    sqs = session("sqs")
    (message,) = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="stored")["QueueUrl"])["Messages"]
    assert message["Body"] == "kept"
    assert session("secretsmanager").get_secret_value(SecretId="stored")["SecretString"] == "s3cret"
    assert session("ssm").get_parameter(Name="/stored")["Parameter"]["Value"] == "v"
    assert session("iam").get_role(RoleName="stored")["Role"]["RoleName"] == "stored"
    assert [rule["Name"] for rule in session("events").list_rules(NamePrefix="stored")["Rules"]] == ["stored"]
    assert [one["TopicArn"].split(":")[-1] for one in session("sns").list_topics()["Topics"]] == ["stored"]


def test_log_events(session: Any) -> None:
    logs = session("logs")
    kept = logs.get_log_events(logGroupName="byhand", logStreamName="s", startFromHead=True)["events"]
    assert [one["message"] for one in kept] == ["kept line"]
    (stream,) = logs.describe_log_streams(logGroupName="stored")["logStreams"]
    said = logs.get_log_events(logGroupName="stored", logStreamName=stream["logStreamName"], startFromHead=True)
    assert [one["message"] for one in said["events"]] == ["hello"]


def test_ecs_and_what_ended(session: Any) -> None:
    ecs = session("ecs")
    (service,) = ecs.describe_services(cluster="stored", services=["svc"])["services"]
    assert (service["status"], service["desiredCount"]) == ("ACTIVE", 0)
    revisions = ecs.list_task_definitions(familyPrefix="stored")["taskDefinitionArns"]
    assert [one.split("/")[-1] for one in revisions] == ["stored:1", "stored:2"]


def test_batch_and_what_ended(session: Any) -> None:
    batch = session("batch")
    (queue,) = batch.describe_job_queues(jobQueues=["stored"])["jobQueues"]
    assert (queue["state"], queue["status"]) == ("ENABLED", "VALID")
    found = batch.describe_job_definitions(jobDefinitionName="stored")["jobDefinitions"]
    assert [one["revision"] for one in found] == [1]


def test_a_load_balancer(session: Any) -> None:
    (balancer,) = session("elbv2").describe_load_balancers(Names=["stored"])["LoadBalancers"]
    assert balancer["State"]["Code"] == "active"
