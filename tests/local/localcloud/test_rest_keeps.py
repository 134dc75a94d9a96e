"""What the emulated services still know after a normal stop, and after ``kill -9``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.local.rest_server import ACCOUNT, Rest, rest_of_aws

pytestmark = pytest.mark.local

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
MOST_LOST_SECONDS = 2.0


def fill(rest: Rest) -> None:
    s3, logs = rest.client("s3"), rest.client("logs")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="kept", Key="dags/a.py", Body=b"one", Metadata={"who": "me"}, ContentType="text/x-python")
    s3.put_object(Bucket="kept", Key="dags/a.py", Body=b"two")
    s3.put_object(Bucket="kept", Key="gone.txt", Body=b"x")
    s3.delete_object(Bucket="kept", Key="gone.txt")
    sqs = rest.client("sqs")
    queue = sqs.create_queue(QueueName="kept")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    secrets = rest.client("secretsmanager")
    secrets.create_secret(Name="kept", SecretString="old")
    secrets.put_secret_value(SecretId="kept", SecretString="new")
    rest.client("ssm").put_parameter(Name="/kept", Value="v", Type="SecureString")
    logs.create_log_group(logGroupName="kept")
    logs.create_log_stream(logGroupName="kept", logStreamName="s")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + place, "message": f"line {place}"} for place in range(3)]
    logs.put_log_events(logGroupName="kept", logStreamName="s", logEvents=events)
    rest.client("events").put_rule(Name="kept", EventPattern='{"source": ["x"]}')
    rest.client("iam").create_role(RoleName="kept", AssumeRolePolicyDocument=json.dumps(TRUST))
    rest.client("ec2").create_vpc(CidrBlock="10.7.0.0/16")
    rest.client("sns").create_topic(Name="kept")
    rest.client("secretsmanager").create_secret(Name="last", SecretString="said")


def known(rest: Rest) -> dict[str, Any]:
    s3, secrets, logs = rest.client("s3"), rest.client("secretsmanager"), rest.client("logs")
    versions = s3.list_object_versions(Bucket="kept")
    queue = rest.client("sqs").get_queue_url(QueueName="kept")["QueueUrl"]
    events = logs.get_log_events(logGroupName="kept", logStreamName="s", startFromHead=True)["events"]
    group = logs.describe_log_groups(logGroupNamePrefix="kept")["logGroups"][0]
    old = versions["Versions"][1]["VersionId"]
    first = s3.get_object(Bucket="kept", Key="dags/a.py", VersionId=old)
    numbers = rest.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
    return {
        "versioning": s3.get_bucket_versioning(Bucket="kept")["Status"],
        "versions": [(one["Key"], one["VersionId"], one["IsLatest"], one["ETag"]) for one in versions["Versions"]],
        "delete markers": [(one["Key"], one["VersionId"]) for one in versions["DeleteMarkers"]],
        "first version": (first["Body"].read(), first["Metadata"], first["ContentType"]),
        "messages": numbers["Attributes"]["ApproximateNumberOfMessages"],
        "secret": secrets.get_secret_value(SecretId="kept")["SecretString"],
        "secret before": secrets.get_secret_value(SecretId="kept", VersionStage="AWSPREVIOUS")["SecretString"],
        "parameter": rest.client("ssm").get_parameter(Name="/kept", WithDecryption=True)["Parameter"]["Value"],
        "log events": [(one["timestamp"], one["message"], one["ingestionTime"]) for one in events],
        "log group": (group["arn"], group["creationTime"]),
        "last": secrets.get_secret_value(SecretId="last")["SecretString"],
        "rules": [one["Name"] for one in rest.client("events").list_rules()["Rules"]],
        "roles": [one["RoleName"] for one in rest.client("iam").list_roles()["Roles"]],
        "networks": sorted(one["CidrBlock"] for one in rest.client("ec2").describe_vpcs()["Vpcs"]),
        "topics": [one["TopicArn"] for one in rest.client("sns").list_topics()["Topics"]],
    }


@pytest.mark.parametrize("ending", [Rest.end, Rest.kill], ids=["end", "kill"])
def test_everything_is_there_again(tmp_path: Path, ending: Callable[[Rest], None]) -> None:
    with rest_of_aws(tmp_path / "rest") as rest:
        fill(rest)
        before = known(rest)
        assert before["log events"][2][1] == "line 2"
        assert before["first version"] == (b"one", {"who": "me"}, "text/x-python")
        ending(rest)
    with rest_of_aws(tmp_path / "rest") as rest:
        assert known(rest) == before
        received = rest.client("sqs").receive_message(
            QueueUrl=rest.client("sqs").get_queue_url(QueueName="kept")["QueueUrl"]
        )
        assert [one["Body"] for one in received["Messages"]] == ["hello"]
        url = rest.client("sqs").list_queues()["QueueUrls"][0]
        assert url.startswith(rest.url), "another port now, and the queue is at it"
        rest.end()
    with rest_of_aws(tmp_path / "rest") as rest:
        assert known(rest)["log events"] == before["log events"], "once, not twice"


def test_objects_and_log_lines_survive_a_kill_at_once(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path / "rest") as rest:
        s3, logs = rest.client("s3"), rest.client("logs")
        s3.create_bucket(Bucket="kept")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(logGroupName="g", logStreamName="s")
        event = {"timestamp": int(time.time() * 1000), "message": "last words"}
        logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[event])
        s3.put_object(Bucket="kept", Key="k", Body=b"just now")
        rest.kill()
    with rest_of_aws(tmp_path / "rest") as rest:
        assert rest.client("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"just now"
        events = rest.client("logs").get_log_events(logGroupName="g", logStreamName="s", startFromHead=True)["events"]
        assert [one["message"] for one in events] == ["last words"]


def test_what_is_large_and_metrics_survive_a_kill_a_moment_later(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path / "rest") as rest:
        queue = rest.client("sqs").create_queue(QueueName="large")["QueueUrl"]
        for _ in range(6):
            rest.client("sqs").send_message(QueueUrl=queue, MessageBody="x" * 250_000)
        rest.client("cloudwatch").put_metric_data(Namespace="Kept", MetricData=[{"MetricName": "m", "Value": 1.5}])
        time.sleep(MOST_LOST_SECONDS)  # the promise: older changes than this survive a kill
        rest.kill()
    with rest_of_aws(tmp_path / "rest") as rest:
        wanted = ["ApproximateNumberOfMessages"]
        queue = rest.client("sqs").get_queue_url(QueueName="large")["QueueUrl"]
        numbers = rest.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=wanted)
        assert numbers["Attributes"]["ApproximateNumberOfMessages"] == "6"
        metrics = rest.client("cloudwatch").list_metrics(Namespace="Kept")["Metrics"]
        assert [one["MetricName"] for one in metrics] == ["m"]


def test_issued_keys_sign_and_still_do_after_a_kill(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path / "rest") as rest:
        iam = rest.client("iam")
        iam.create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.create_user(UserName="ann")
        user = iam.create_access_key(UserName="ann")["AccessKey"]
        role = f"arn:aws:iam::{ACCOUNT}:role/worker"
        session = rest.client("sts").assume_role(RoleArn=role, RoleSessionName="once")["Credentials"]
        assumed = (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
        assert rest.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/test"
        time.sleep(MOST_LOST_SECONDS)
        rest.kill()
    with rest_of_aws(tmp_path / "rest") as rest:
        arn = rest.client("sts", *assumed).get_caller_identity()["Arn"]
        assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/once"
        mine = rest.client("sts", user["AccessKeyId"], user["SecretAccessKey"]).get_caller_identity()
        assert mine["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ann"
        for wrong in (
            (assumed[0], assumed[1], "other"),
            ("test", "test"),
            (ACCOUNT, "test"),
            (assumed[0], "wrong", assumed[2]),
        ):
            with pytest.raises(
                rest.client("sts").exceptions.ClientError, match=r"InvalidClientTokenId|SignatureDoesNotMatch"
            ):
                rest.client("sts", *wrong).get_caller_identity()


def test_the_state_is_private_and_nothing_else_is_written(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path / "rest") as rest:
        rest.client("secretsmanager").create_secret(Name="s", SecretString="x")
        rest.client("cognito-idp").list_user_pools(MaxResults=1)
        rest.end()
    assert (tmp_path / "rest").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "rest" / "secretsmanager.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["rest"]
