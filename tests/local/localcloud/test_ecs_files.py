"""Files in the containers of ECS tasks, as real boto3 sees them: files of environment variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.local.ecs_cloud import LOG_GROUP, Cloud, definition, furnished, run, until

pytestmark = pytest.mark.local


@pytest.fixture(scope="module", params=["", "tiny_template"], ids=["plain", "template"])
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with furnished(tmp_path_factory.mktemp("cloud"), template=request.param) as started:
        yield started


@pytest.fixture(scope="module")
def ecs(cloud: Cloud) -> Any:
    return cloud.client()


def lines(cloud: Cloud, arn: str, container: str = "main") -> list[str]:
    stream = f"p/{container}/{arn.rsplit('/', 1)[-1]}"
    answer = cloud.client("logs").get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in answer["events"]]


def test_variables_from_files_in_s3(cloud: Cloud, ecs: Any) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="settings")
    s3.put_object(Bucket="settings", Key="a/one.env", Body=b"# comment\nA=one\nB=one\nC=one\n")
    s3.put_object(Bucket="settings", Key="two.env", Body=b"B=two\nD=two words\n")
    files = [{"value": f"arn:aws:s3:::settings/{key}", "type": "s3"} for key in ("a/one.env", "two.env")]
    request = definition(
        "sh", "-c", "echo $A $B $C $D", environmentFiles=files, environment=[{"name": "C", "value": "definition"}]
    )
    arn = run(ecs, request)
    until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["one one definition two words"]
    override = {"name": "main", "environmentFiles": files[1:], "environment": [{"name": "D", "value": "override"}]}
    arn = run(ecs, request, overrides={"containerOverrides": [override]})
    until(ecs, arn, "STOPPED")
    assert lines(cloud, arn) == ["two definition override"]


def test_a_file_of_variables_that_is_not_there(ecs: Any) -> None:
    missing = [{"value": "arn:aws:s3:::nobody/none.env", "type": "s3"}]
    task = until(ecs, run(ecs, definition("true", environmentFiles=missing)), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError: failed to download env files")
    assert "exitCode" not in task["containers"][0]
