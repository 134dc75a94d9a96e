"""Services that skylift does not need itself, served by a moto server in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.rest_server import Rest, rest_of_aws

pytestmark = pytest.mark.local

MOTO = """
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

inner = DomainDispatcherApplication(create_backend_app)
class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass
def app(environ, start):
    print(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "-"), flush=True)
    return inner(environ, start)
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
print(server.port, flush=True)
server.serve_forever()
"""


class MotoServer:
    """The process; prints how each request was signed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(self.line())

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def moto_server() -> Iterator[MotoServer]:
    with subprocess.Popen([sys.executable, "-c", MOTO], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield MotoServer(process)
        finally:
            process.kill()
            process.wait(20)


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with moto_server() as running:
        yield running


@pytest.fixture(scope="module")
def rest(moto: MotoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    others = f"http://theirs:secret@127.0.0.1:{moto.port}"
    with rest_of_aws(tmp_path_factory.mktemp("behind") / "rest", others=others) as running:
        yield running


def _code(call: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_json_query_and_rest_calls_are_forwarded_with_the_others_key(rest: Rest, moto: MotoServer) -> None:
    dynamodb = rest.client("dynamodb")
    dynamodb.create_table(
        TableName="theirs",
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    signed, token = moto.line().rsplit(" ", 1)
    assert "Credential=theirs/" in signed
    assert "/us-east-1/dynamodb/aws4_request" in signed
    assert token == "-"
    text = "x" * 300_000
    dynamodb.put_item(TableName="theirs", Item={"k": {"S": "1"}, "text": {"S": text}})
    assert dynamodb.get_item(TableName="theirs", Key={"k": {"S": "1"}})["Item"]["text"]["S"] == text
    assert rest.client("redshift").describe_clusters()["Clusters"] == []  # Query
    assert (
        rest.client("swf").list_domains(registrationStatus="REGISTERED")["domainInfos"] == []
    )  # nobody serves it here
    thing = rest.client("iot").create_thing(thingName="a:b")  # REST, with the name in the path
    assert rest.client("iot").describe_thing(thingName="a:b")["thingArn"] == thing["thingArn"]


def test_errors_of_the_others_are_passed_on(rest: Rest) -> None:
    code, status, _ = _code(lambda: rest.client("dynamodb").describe_table(TableName="none"))
    assert (code, status) == ("ResourceNotFoundException", 400)


def test_what_skylift_needs_stays(rest: Rest) -> None:
    s3 = rest.client("s3")
    s3.create_bucket(Bucket="ours")
    s3.put_object(Bucket="ours", Key="k", Body=b"here")
    assert s3.get_object(Bucket="ours", Key="k")["Body"].read() == b"here"
    url = rest.client("sqs").create_queue(QueueName="ours")["QueueUrl"]
    assert url.startswith(rest.url)
    assert rest.client("sts").get_caller_identity()["Arn"].endswith(":user/test")


def test_a_wrong_signature_gets_no_further(rest: Rest) -> None:
    code, status, _ = _code(lambda: rest.client("dynamodb", secret="wrong").list_tables())
    assert (code, status) == ("InvalidSignatureException", 403)


def test_a_loop_is_refused(tmp_path: Path) -> None:
    with rest_of_aws(tmp_path / "first") as first:
        port = int(first.url.rpartition(":")[2])
    others = f"http://AKIATESTTESTTESTTEST:secret@127.0.0.1:{port}"
    with rest_of_aws(tmp_path / "first", port, others) as looped:
        code, status, text = _code(lambda: looped.client("dynamodb").list_tables())
    assert (code, status) == ("LoopDetected", 508)
    assert "leads back" in text


def test_others_that_are_down_are_named(tmp_path: Path) -> None:
    with moto_server() as gone:
        port = gone.port
        with rest_of_aws(tmp_path / "rest", others=f"http://127.0.0.1:{port}") as rest:
            assert rest.client("dynamodb").list_tables()["TableNames"] == []
            os.kill(gone.process.pid, signal.SIGKILL)
            gone.process.wait(20)
            for service, call in (("dynamodb", "list_tables"), ("cloudformation", "list_stacks")):
                code, status, text = _code(getattr(rest.client(service), call))
                assert (code, status) == ("ServiceUnavailable", 503)
                assert f"http://127.0.0.1:{port}" in text
                assert "--others none" in text
