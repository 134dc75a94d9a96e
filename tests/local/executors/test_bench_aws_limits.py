"""The bench's AWS, with real boto3: AWS's rules where the figures hang on them, faults, and the referee's counts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from bench.aws_limits import SECRET, Aws, Desk, app_of
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from skylift.wire.serve import serving

pytestmark = pytest.mark.local
NAMES = iter(f"ACCOUNT{number}" for number in range(1000))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = app_of(Desk())
    with serving(app) as served:
        yield served
    app.close()


@pytest.fixture
def aws(url: str) -> Aws:
    return Aws(url, next(NAMES))


def client(aws: Aws, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id=aws.account,
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}),
    )


def run_task(ecs: Any, task: str = "t", try_number: int = 1, **request: Any) -> str:
    workload = json.dumps({"ti": {"task_id": task, "map_index": -1, "try_number": try_number}})
    overrides = {"containerOverrides": [{"name": "airflow", "command": ["python", workload]}]}
    asked = {"cluster": "bench", "taskDefinition": "airflow", "overrides": overrides, **request}
    return str(ecs.run_task(**asked)["tasks"][0]["taskArn"])


def refused(call: Callable[..., Any], **request: Any) -> Any:
    with pytest.raises(ClientError) as error:
        call(**request)
    return error.value.response


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_same_token_gives_the_same_task_and_another_request_with_it_a_conflict_that_names_it(aws: Aws) -> None:
    ecs = client(aws, "ecs")
    arn = run_task(ecs, clientToken="one")
    assert run_task(ecs, clientToken="one") == arn
    with pytest.raises(ClientError) as error:
        run_task(ecs, try_number=2, clientToken="one")
    assert error.value.response["Error"]["Code"] == "ConflictException"
    assert error.value.response["resourceIds"] == [arn]
    assert aws.do("stats")["containers"] == 1


def test_run_task_is_throttled_at_twenty_a_second(aws: Aws) -> None:
    aws.do("limit", latency=0)
    ecs = client(aws, "ecs")
    begun, made, codes = time.monotonic(), 0, set()
    for number in range(60):
        try:
            run_task(ecs, f"t{number}")
            made += 1
        except ClientError as error:
            codes.add(error.response["Error"]["Code"])
    seconds = time.monotonic() - begun
    assert 20 <= made <= 20 + 20 * seconds + 1
    assert codes == {"ThrottlingException"}
    assert aws.do("stats")["bad"]["ecs RunTask ThrottlingException"] == 60 - made


def test_accounts_do_not_share_limits_or_containers(aws: Aws, url: str) -> None:
    aws.do("fault", kind="throttle", service="ecs", operation="RunTask")
    other = Aws(url, next(NAMES))
    run_task(client(other, "ecs"))
    assert refused(run_task, ecs=client(aws, "ecs"))["Error"]["Code"] == "ThrottlingException"
    assert other.do("stats")["containers"] == 1
    assert aws.do("stats")["containers"] == 0


def test_every_call_takes_its_time(aws: Aws) -> None:
    aws.do("limit", latency=0.1)
    ecs = client(aws, "ecs")
    begun = time.monotonic()
    ecs.list_tasks(cluster="bench")
    assert time.monotonic() - begun >= 0.1


def test_a_container_plays_its_plan_first_one_then_another(aws: Aws) -> None:
    spot = {"begins": False, "exit_code": None, "stop_code": "SpotInterruption"}
    aws.do("plan", task="t", plans=[spot, {"running": 0.0001, "exit_code": 3, "reason": "OutOfMemoryError"}])
    ecs = client(aws, "ecs")
    first, second = run_task(ecs), run_task(ecs)
    time.sleep(0.01)
    shown = {one["taskArn"]: one for one in ecs.describe_tasks(cluster="bench", tasks=[first, second])["tasks"]}
    assert shown[first]["stopCode"] == "SpotInterruption"
    assert "startedAt" not in shown[first]
    assert "exitCode" not in shown[first]["containers"][0]
    assert shown[second]["containers"][0]["exitCode"] == 3
    assert shown[second]["containers"][0]["reason"] == "OutOfMemoryError"
    assert shown[second]["version"] > 1


def test_stop_list_and_describe_as_ecs_does(aws: Aws) -> None:
    ecs = client(aws, "ecs")
    arn = run_task(ecs, startedBy="me")
    run_task(ecs, "u", startedBy="you")
    assert ecs.list_tasks(cluster="bench", startedBy="me")["taskArns"] == [arn]
    assert (
        refused(ecs.list_tasks, cluster="bench", startedBy="me", family="f")["Error"]["Code"]
        == "InvalidParameterException"
    )
    ecs.stop_task(cluster="bench", task=arn, reason="enough")
    assert ecs.list_tasks(cluster="bench", startedBy="me", desiredStatus="STOPPED")["taskArns"] == [arn]
    answer = ecs.describe_tasks(cluster="bench", tasks=[arn, arn[:-1] + "f"])
    assert answer["tasks"][0]["stoppedReason"] == "enough"
    assert answer["failures"][0]["reason"] == "MISSING"
    long = {"containerOverrides": [{"name": "airflow", "command": ["x" * 8192]}]}
    assert "8192" in refused(run_task, ecs=ecs, overrides=long)["Error"]["Message"]
    assert refused(run_task, ecs=ecs, cluster="c")["Error"]["Code"] == "ClusterNotFoundException"


def test_faults_hide_tasks_and_cut_after_the_work(aws: Aws) -> None:
    ecs = client(aws, "ecs")
    arn = run_task(ecs)
    aws.do("fault", kind="missing", name="m", younger=60)
    assert ecs.describe_tasks(cluster="bench", tasks=[arn])["failures"][0]["reason"] == "MISSING"
    aws.do("clear", name="m")
    assert ecs.describe_tasks(cluster="bench", tasks=[arn])["tasks"]
    aws.do("fault", kind="cut", when="after", service="ecs", operation="RunTask", calls=1)
    with pytest.raises((ConnectionError, HTTPClientError)):
        run_task(ecs, "u")
    assert aws.do("stats")["containers"] == 2


CALLER = """
import boto3, sys
sys.stdin.readline()
ecs = boto3.client("ecs", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3])
while True:
    ecs.run_task(cluster="bench", taskDefinition="airflow")
"""


@pytest.mark.parametrize(("when", "made"), [("before", 1), ("after", 2)])
def test_a_crash_point_kills_the_caller_before_or_after_the_work(aws: Aws, when: str, made: int) -> None:
    words = [sys.executable, "-c", CALLER, aws.url, aws.account, SECRET]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as caller:
        aws.do("crash", operation="ecs RunTask", number=2, when=when, pid=caller.pid)
        caller.communicate(b"go\n", timeout=30)
    assert caller.returncode == -signal.SIGKILL
    assert aws.do("stats")["containers"] == made


def test_the_referee_counts_doubles_and_orphans(aws: Aws) -> None:
    ecs = client(aws, "ecs")
    first = run_task(ecs, "a")
    run_task(ecs, "a", 2)
    assert aws.do("stats")["doubles"] == 0
    second = run_task(ecs, "a", clientToken="again")
    assert aws.do("stats")["doubles"] == 1
    aws.do("mark")
    ecs.describe_tasks(cluster="bench", tasks=[first, second])
    assert aws.do("stats")["orphans"] == 1
    aws.do("finish", exit_code=0)
    run_task(ecs, "a", clientToken="later")
    assert aws.do("stats")["doubles"] == 1


def test_batch_arrays_have_children_and_sizes(aws: Aws) -> None:
    batch, s3 = client(aws, "batch"), client(aws, "s3")
    for number in range(3):
        body = json.dumps({"ti": {"task_id": "m", "map_index": number, "try_number": 1}})
        s3.put_object(Bucket="b", Key=f"p/{number}.json", Body=body.encode())
    s3.put_object(Bucket="b", Key="p/arrays/x", Body=b"0.json\n1.json\n2.json\n")
    own = {"environment": [{"name": "SKYLIFT_WORKLOADS", "value": "s3://b/p/arrays/x"}]}
    request = {"jobName": "n-1", "jobQueue": "bench", "jobDefinition": "airflow", "containerOverrides": own}
    parent = batch.submit_job(**request, arrayProperties={"size": 3})["jobId"]
    assert set(aws.do("stats")["launched"]) == {f"m/{number}/1" for number in range(3)}
    shown = batch.describe_jobs(jobs=[parent, f"{parent}:1", "nobody"])["jobs"]
    assert [one["status"] for one in shown] == ["PENDING", "RUNNING"]
    batch.terminate_job(jobId=f"{parent}:1", reason="enough")
    assert batch.describe_jobs(jobs=[f"{parent}:1"])["jobs"][0]["statusReason"] == "enough"
    found = batch.list_jobs(jobQueue="bench", filters=[{"name": "JOB_NAME", "values": ["n-*"]}])["jobSummaryList"]
    assert [one["jobId"] for one in found] == [parent]
    assert refused(batch.submit_job, **request, arrayProperties={"size": 10_001})["Error"]["Code"] == "ClientException"
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket="b", Prefix="p/arrays/")["Contents"]]
    assert keys == ["p/arrays/x"]


def test_events_come_through_the_queue_once_and_again_when_given_back(aws: Aws) -> None:
    ecs, sqs = client(aws, "ecs"), client(aws, "sqs")
    queue = sqs.get_queue_url(QueueName="bench-events")["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    aws.do("plan", plans=[{"waiting": 0.1, "running": 0.1}])
    arn = run_task(ecs)
    details: list[dict[str, Any]] = []

    def all_there() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10).get(
            "Messages", ()
        ):
            details.append(json.loads(message["Body"])["detail"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return any(detail["lastStatus"] == "STOPPED" for detail in details)

    until(all_there)
    assert {detail["taskArn"] for detail in details} == {arn}
    versions = [detail["version"] for detail in details]
    assert versions == sorted(versions)
    run_task(ecs, "u")
    (message, *_) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    entry = {"Id": "0", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
    sqs.change_message_visibility_batch(QueueUrl=queue, Entries=[entry])

    def again() -> bool:
        found = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", ())
        return any(one["MessageId"] == message["MessageId"] for one in found)

    until(again)
