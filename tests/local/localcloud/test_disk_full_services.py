"""A full disk: each emulated service has on the disk what it acknowledged, or answers with an AWS error and forgets the
change. Each is checked three times: while the disk is full, after ``kill -9``, and after a second try with free
space."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.kept_recipes import RECIPES, TRUST
from tests.local.rest_server import ACCOUNT, Rest, rest_of_aws
from tests.local.small_disk import needs_mounts, small_disk

from skylift.localcloud.emulators.table import NOTHING, TABLE, Emulator

pytestmark = pytest.mark.local

READ_ONLY = {"streams.dynamodb"}
"""Serves what another service keeps."""
TESTED_APART = {"sts", "cloudformation", "cloudcontrol"}
"""STS: below. The two that make others' things answer before these are there, and say so (docs/services.md)."""
BEFORE, FULL, AGAIN = "before", "full", "again"


@dataclass
class Seen:
    """What became of one service.

    Attributes:
        answer: error of the attempt on the full disk, as code and message; empty: acknowledged.
        full, killed, last: names while the disk is full, after kill -9, and after the second attempt and another kill.
    """

    answer: tuple[str, str] | None = None
    status: int = 0
    full: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """One disk, filled once, for all services."""
    needs_mounts(__file__)
    found = {one.service: Seen() for one in RECIPES}
    with small_disk(tmp_path_factory.mktemp("full") / "disk") as disk:
        home = disk.folder / "rest"
        with rest_of_aws(home) as rest:
            _make(rest, BEFORE)
            disk.fill()
            for one in RECIPES:
                try:
                    one.make(rest.client(one.service), FULL)
                except ClientError as error:
                    said = error.response
                    found[one.service].answer = said["Error"]["Code"], said["Error"].get("Message", "")
                    found[one.service].status = said["ResponseMetadata"]["HTTPStatusCode"]
            for one in RECIPES:
                found[one.service].full = set(one.names(rest.client(one.service)))
            rest.kill()
        disk.free()
        with rest_of_aws(home) as rest:
            for one in RECIPES:
                found[one.service].killed = set(one.names(rest.client(one.service)))
            disk.fill()
            for one in RECIPES:  # refused once more, so that the second attempt goes to the same process
                try:
                    one.make(rest.client(one.service), AGAIN)
                except ClientError:
                    continue
            disk.free()
            for one in RECIPES:
                if AGAIN not in set(one.names(rest.client(one.service))):
                    one.make(rest.client(one.service), AGAIN)
            rest.kill()
        with rest_of_aws(home) as rest:
            for one in RECIPES:
                found[one.service].last = set(one.names(rest.client(one.service)))
    return found


def _make(rest: Rest, name: str) -> None:
    for one in RECIPES:
        one.make(rest.client(one.service), name)


@pytest.mark.parametrize("service", [one.service for one in RECIPES])
def test_what_is_acknowledged_on_a_full_disk_is_there_and_what_is_not_is_undone(
    seen: dict[str, Seen], service: str
) -> None:
    one = seen[service]
    assert BEFORE in one.full, "what was there is"
    assert BEFORE in one.killed
    if one.answer is not None:
        assert one.status >= 500, f"it is nobody's fault but the disk's: {one.answer}"
        assert "Free some space" in one.answer[1], "the text says what to do"
        assert FULL not in one.full, "refused, and yet there"
    assert (FULL in one.full) == (FULL in one.killed), "what was shown is what is on the disk"
    assert one.last >= {BEFORE, AGAIN}, "with room again it is done, and kept"


def test_every_service_that_keeps_anything_is_among_them() -> None:
    tested = {one.service for one in RECIPES} | READ_ONLY | TESTED_APART
    missing = [
        row.names
        for row in TABLE
        if row.server is Emulator.MINISTACK and row.keeps != NOTHING and not tested & set(row.names)
    ]
    assert not missing, "a recipe is missing in tests/local/kept_recipes.py"


@pytest.fixture
def full_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    needs_mounts(request.node.nodeid)
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def refused(call: Any, **request: Any) -> str:
    """The code of the error, which must be the server's."""
    with pytest.raises(ClientError) as error:
        call(**request)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return str(error.value.response["Error"]["Code"])


def state_of(s3: Any) -> dict[str, Any]:
    """Everything that one can see of the two buckets."""
    found: dict[str, Any] = {}
    for bucket in ("plain", "versioned"):
        for one in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            got = s3.get_object(Bucket=bucket, Key=one["Key"])
            tags = s3.get_object_tagging(Bucket=bucket, Key=one["Key"])["TagSet"]
            found[bucket, one["Key"]] = got["Body"].read(), got["Metadata"], got["ETag"], one["Size"], tags
        listed = s3.list_object_versions(Bucket=bucket)
        for one in listed.get("Versions", ()):
            body = s3.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            found[bucket, one["Key"], one["VersionId"]] = body, one["IsLatest"]
        for one in listed.get("DeleteMarkers", ()):
            found[bucket, one["Key"], one["VersionId"]] = "marker", one["IsLatest"]
        found[bucket] = s3.get_bucket_versioning(Bucket=bucket).get("Status")
    found["uploads"] = [one["Key"] for one in s3.list_multipart_uploads(Bucket="plain").get("Uploads", ())]
    return found


def test_s3_takes_all_of_an_object_or_nothing(full_disk: Any) -> None:
    big = b"n" * 3_000_000
    home = full_disk.folder / "rest"
    with rest_of_aws(home) as rest:
        s3 = rest.client("s3")
        for bucket in ("plain", "versioned"):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        for bucket in ("plain", "versioned"):
            s3.put_object(Bucket=bucket, Key="over", Body=b"old", Metadata={"is": "old"}, Tagging="a=b")
            s3.put_object(Bucket=bucket, Key="source", Body=big)
        s3.put_object(Bucket="versioned", Key="over", Body=b"newer")
        upload = s3.create_multipart_upload(Bucket="plain", Key="parts")["UploadId"]
        part = s3.upload_part(Bucket="plain", Key="parts", UploadId=upload, PartNumber=1, Body=big)["ETag"]
        done = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part}]}}
        before = state_of(s3)
        full_disk.fill()
        for bucket in ("plain", "versioned"):
            refused(s3.put_object, Bucket=bucket, Key="new", Body=big)
            refused(s3.put_object, Bucket=bucket, Key="over", Body=big)
            refused(s3.put_object, Bucket=bucket, Key="deep/er/new", Body=b"small")
            refused(s3.copy_object, Bucket=bucket, Key="over", CopySource={"Bucket": bucket, "Key": "source"})
            refused(s3.upload_fileobj, Fileobj=io.BytesIO(big), Bucket=bucket, Key="over")
            refused(
                s3.put_object_tagging, Bucket=bucket, Key="over", Tagging={"TagSet": [{"Key": "k", "Value": "v" * 200}]}
            )
            refused(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
        refused(s3.delete_object, Bucket="versioned", Key="over")
        refused(s3.delete_objects, Bucket="versioned", Delete={"Objects": [{"Key": "over"}, {"Key": "source"}]})
        refused(s3.complete_multipart_upload, Bucket="plain", Key="parts", UploadId=upload, **done)
        refused(s3.create_bucket, Bucket="another")
        assert state_of(s3) == before
        full_disk.free()
        s3.complete_multipart_upload(Bucket="plain", Key="parts", UploadId=upload, **done)
        s3.put_object(Bucket="versioned", Key="over", Body=b"newest")
        after = state_of(s3)
        assert after["plain", "parts"][0] == big
        assert after["versioned", "over"][0] == b"newest"
        rest.kill()
    with rest_of_aws(home) as rest:
        assert state_of(rest.client("s3")) == after
        names = [one["Name"] for one in rest.client("s3").list_buckets()["Buckets"]]
        assert names == ["plain", "versioned"]


def test_s3_deletes_on_a_full_disk_what_needs_no_room(full_disk: Any) -> None:
    home = full_disk.folder / "rest"
    with rest_of_aws(home) as rest:
        s3 = rest.client("s3")
        s3.create_bucket(Bucket="plain")
        s3.put_object(Bucket="plain", Key="gone", Body=b"x" * 1_000_000)
        full_disk.fill()
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            s3.put_object(Bucket="plain", Key="kept", Body=b"x")
        full_disk.free()
        s3.delete_object(Bucket="plain", Key="gone")
        rest.kill()
    with rest_of_aws(home) as rest:
        assert "Contents" not in rest.client("s3").list_objects_v2(Bucket="plain")


def test_queues_are_as_they_were(full_disk: Any) -> None:
    home = full_disk.folder / "rest"
    with rest_of_aws(home) as rest:
        sqs = rest.client("sqs")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        fifo = sqs.create_queue(QueueName="f.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        for number in range(12):
            sqs.send_message(QueueUrl=url, MessageBody=f"{number}" * 40_000)
        sqs.send_message(QueueUrl=fifo, MessageBody="one", MessageGroupId="g", MessageDeduplicationId="one")
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2, VisibilityTimeout=600)["Messages"]
        full_disk.fill()
        refused(sqs.send_message, QueueUrl=url, MessageBody="x" * 100_000)
        refused(
            sqs.send_message, QueueUrl=fifo, MessageBody="x" * 100_000, MessageGroupId="g", MessageDeduplicationId="two"
        )
        refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": json.dumps({"x": "y" * 5_000})})
        refused(sqs.tag_queue, QueueUrl=url, Tags={f"k{number}": "v" * 250 for number in range(40)})
        full_disk.free()
        # The same deduplication id again: the first was refused, so this one is not its repetition.
        sqs.send_message(QueueUrl=fifo, MessageBody="two", MessageGroupId="g", MessageDeduplicationId="two")
        sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
        rest.kill()
    with rest_of_aws(home) as rest:
        sqs = rest.client("sqs")
        left = []
        for name in ("q", "f.fifo"):
            queue = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            assert "Policy" not in sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
            assert not sqs.list_queue_tags(QueueUrl=queue).get("Tags")
            sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "600"})
            while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
                left += [one["Body"] for one in found]
                for one in found:
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
        hidden = {got[1]["Body"]}  # received by somebody, for ten minutes
        assert set(left) | hidden >= {f"{number}" * 40_000 for number in range(1, 12)} | {"one", "two"}
        assert got[0]["Body"] not in left
        assert not [one for one in left if one.startswith("x")]


def test_log_lines_are_all_or_none(full_disk: Any) -> None:
    home = full_disk.folder / "rest"
    with rest_of_aws(home) as rest:
        logs = rest.client("logs")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(logGroupName="g", logStreamName="s")
        lines = lambda text: [{"timestamp": int(time.time() * 1000), "message": text}]  # noqa: E731 - four uses below
        logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=lines("kept"))
        full_disk.fill()
        refused(logs.put_log_events, logGroupName="g", logStreamName="s", logEvents=lines("x" * 100_000))
        refused(logs.create_log_group, logGroupName="x" * 500, tags={f"k{number}": "v" * 200 for number in range(40)})
        full_disk.free()
        logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=lines("last"))
        rest.kill()
    with rest_of_aws(home) as rest:
        logs = rest.client("logs")
        found = logs.get_log_events(logGroupName="g", logStreamName="s", startFromHead=True)["events"]
        assert [one["message"] for one in found] == ["kept", "last"]
        assert [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]] == ["g"]


def test_a_session_that_was_not_written_was_not_issued(full_disk: Any) -> None:
    home = full_disk.folder / "rest"
    with rest_of_aws(home) as rest:
        rest.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
        role, sts = f"arn:aws:iam::{ACCOUNT}:role/r", rest.client("sts")
        first = sts.assume_role(RoleArn=role, RoleSessionName="first")["Credentials"]
        full_disk.fill()
        refused(sts.assume_role, RoleArn=role, RoleSessionName="second")
        full_disk.free()
        second = sts.assume_role(RoleArn=role, RoleSessionName="second")["Credentials"]
        rest.kill()
    with rest_of_aws(home) as rest:
        for one in (first, second):
            key = one["AccessKeyId"], one["SecretAccessKey"], one["SessionToken"]
            assert rest.client("sts", *key).get_caller_identity()["Account"] == ACCOUNT
