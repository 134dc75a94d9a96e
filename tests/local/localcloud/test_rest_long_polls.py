"""Long polls of the emulated SQS: they end with the first message, however it arrives, and not before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.local.localcloud.test_cloud_alone import Alone
from tests.local.rest_server import Rest, rest_of_aws
from tests.local.upstream_cloud import shell_variables

pytestmark = pytest.mark.local
Poll = Callable[..., "Future[tuple[list[str], float]]"]


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("rest")) as running:
        yield running


@pytest.fixture
def sqs(rest: Rest) -> Any:
    return rest.client("sqs")


@pytest.fixture
def poll(rest: Rest) -> Iterator[Poll]:
    """Receives in another thread: the bodies and the moment."""
    with ThreadPoolExecutor(4) as pool:

        def receive(url: str, **more: Any) -> tuple[list[str], float]:
            sqs = rest.client("sqs", read_timeout=40)
            answer = sqs.receive_message(**{"QueueUrl": url, "WaitTimeSeconds": 20, **more})
            return [message["Body"] for message in answer.get("Messages", ())], time.monotonic()

        yield lambda url, **more: pool.submit(receive, url, **more)


def test_a_message_ends_every_poll_of_its_queue_and_no_other(sqs: Any, poll: Poll) -> None:
    one, other = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("one", "other"))
    waiting, elsewhere = poll(one), poll(other, WaitTimeSeconds=2)
    time.sleep(0.5)  # the polls are on their way; were one late, the test would only be easier
    assert not waiting.done()
    sent = time.monotonic()
    sqs.send_message(QueueUrl=one, MessageBody="hello")
    bodies, came = waiting.result(10)
    assert bodies == ["hello"]
    assert came - sent < 1
    assert elsewhere.result(10)[0] == []


def test_a_delayed_message_and_one_that_is_given_back(sqs: Any, poll: Poll) -> None:
    url = sqs.create_queue(QueueName="late")["QueueUrl"]
    began = time.monotonic()
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=2)
    bodies, came = poll(url).result(15)
    assert bodies == ["later"]
    assert 1.5 < came - began < 8
    message = None
    sqs.send_message(QueueUrl=url, MessageBody="again")
    while message is None:
        message = next(iter(sqs.receive_message(QueueUrl=url).get("Messages", ())), None)
    waiting = poll(url)
    time.sleep(0.3)
    assert not waiting.done()
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert waiting.result(10)[0] == ["again"]


def test_an_event_through_a_rule_ends_a_poll(sqs: Any, rest: Rest, poll: Poll) -> None:
    url = sqs.create_queue(QueueName="ruled")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = rest.client("events")
    events.put_rule(Name="ruled", EventPattern='{"source": ["mine"]}')
    events.put_targets(Rule="ruled", Targets=[{"Id": "1", "Arn": arn}])
    waiting = poll(url)
    time.sleep(0.3)
    events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    (body,), _ = waiting.result(10)
    assert '"detail-type": "x"' in body


def test_the_queues_own_wait_and_a_queue_that_goes(sqs: Any, poll: Poll) -> None:
    url = sqs.create_queue(QueueName="own", Attributes={"ReceiveMessageWaitTimeSeconds": "2"})["QueueUrl"]
    began = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert 1.5 < time.monotonic() - began < 8
    waiting = poll(url)
    time.sleep(0.3)
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        waiting.result(10)


@pytest.mark.long
def test_the_servers_end_cuts_no_poll(tmp_path: Path) -> None:
    alone = Alone(tmp_path / "home", "--home", str(tmp_path / "home"))
    keys = shell_variables(alone.must("shellenv"))
    environ = {**alone.environ, **keys}
    poll = (
        "import boto3; s = boto3.client('sqs'); u = s.create_queue(QueueName='q')['QueueUrl']; print('on', "
        "flush=True); "
    )
    poll += "print('Messages' in s.receive_message(QueueUrl=u, WaitTimeSeconds=20))"
    with subprocess.Popen([sys.executable, "-c", poll], env=environ, stdout=subprocess.PIPE, text=True) as polling:
        assert polling.stdout is not None
        assert polling.stdout.readline() == "on\n"
        time.sleep(0.5)
        alone.process.send_signal(signal.SIGINT)
        _, said = alone.process.communicate(timeout=60)
        assert polling.communicate(timeout=10)[0] == "False\n"
    assert alone.process.returncode == 0
    assert "Traceback" not in said
