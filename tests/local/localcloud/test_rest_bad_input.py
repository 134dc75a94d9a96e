"""Bad input to the emulated services over real sockets: refused with the protocol's AWS error, nothing stored, nobody
delayed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.parsers import RpcV2CBORParser
from tests.local.rest_server import KEY, REGION, Rest, rest_of_aws

from skylift.wire.packing import MOST_UNPACKED_BYTES

pytestmark = pytest.mark.local
LOGS, SQS, METRICS = "Logs_20140328.", "AmazonSQS.", "GraniteServiceVersion20100801."
JSON = "application/x-amz-json-1.1"


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("bad")) as started:
        yield started


def ask(rest: Rest, service: str, body: bytes, path: str = "/", method: str = "POST", **headers: str) -> Any:
    """The answer to a signed request; ``_`` in a header's name is a hyphen."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, rest.url + path, headers=sent, data=body)
    SigV4Auth(Credentials(KEY.access_key, KEY.secret), service, REGION).add_auth(request)
    return URLLib3Session(timeout=120).send(request.prepare())


def refused(answer: Any) -> str:
    assert 400 <= answer.status_code < 500, answer.content
    return str(json.loads(answer.content)["__type"])


BAD_JSON = {
    "deep": b"[" * 100_000,
    "deep in a member": b'{"logGroupName":' + b"[" * 100_000,
    "broken": b'{"logGroupName"',
    "not an object": b"[]",
    "not UTF-8": b'{"logGroupName":"\xff"}',
    "half a character": b'{"logGroupName":"\\ud800"}',
    "a structure for a text": b'{"logGroupName":{"a":1}}',
    "a list for a text": b'{"logGroupName":["a"]}',
    "a text for a map": b'{"logGroupName":"a","tags":"a"}',
    "a number too large": b'{"logGroupName":' + b"9" * 5000 + b"}",
    "no JSON's number": b'{"logGroupName":NaN}',
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_what_cannot_be_read_is_a_serialization_exception(rest: Rest, body: bytes) -> None:
    answer = ask(rest, "logs", body, X_Amz_Target=LOGS + "CreateLogGroup", Content_Type=JSON)
    assert refused(answer) == "SerializationException"
    assert rest.client("logs").describe_log_groups()["logGroups"] == []


def test_what_is_missing_is_named_in_the_words_of_the_service(rest: Rest) -> None:
    answer = ask(rest, "logs", b"{}", X_Amz_Target=LOGS + "CreateLogGroup", Content_Type=JSON)
    assert refused(answer) == "InvalidParameterException"
    assert "Value null at 'logGroupName'" in answer.text
    answer = ask(rest, "scheduler", b"{}", "/schedules/one", Content_Type="application/json")
    assert refused(answer) == "ValidationException"
    assert "Value null at 'flexibleTimeWindow'" in answer.text


def test_nothing_is_kept_that_cannot_be_given_back(rest: Rest) -> None:
    body = b'{"QueueName":"q","Attributes":{"VisibilityTimeout":{"a":1}}}'
    assert (
        refused(ask(rest, "sqs", body, X_Amz_Target=SQS + "CreateQueue", Content_Type=JSON)) == "SerializationException"
    )
    assert not rest.client("sqs").list_queues().get("QueueUrls")


CRASHES = {
    "moto, json": ("sagemaker", "list_model_package_groups", {"MaxResults": 1, "NextToken": "svc"}),
    "ministack, json": ("sqs", "list_queues", {"MaxResults": 1, "NextToken": "svc"}),
    "ministack, query": ("sns", "subscribe", {"TopicArn": "x", "Protocol": "sqs"}),
}


@pytest.mark.parametrize(("service", "operation", "request_"), CRASHES.values(), ids=CRASHES)
def test_what_an_emulator_stumbles_over_is_refused(rest: Rest, service: str, operation: str, request_: Any) -> None:
    with pytest.raises(ClientError) as error:
        getattr(rest.client(service), operation)(**request_)
    assert 400 <= error.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    assert error.value.response["Error"]["Message"]


def test_what_s3_cannot_read_is_refused(rest: Rest) -> None:
    s3 = rest.client("s3")
    s3.create_bucket(Bucket="bucket")
    for key in ("n" * 300, "a/" * 400 + "b", "a\x01b"):
        with suppress(ClientError):  # stored, or refused in words: boto3 raises other errors for a 500's text
            s3.put_object(Bucket="bucket", Key=key, Body=b"")
    with pytest.raises(ClientError, match="MalformedXML"):
        s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "x"})


def test_cbor_is_read_and_refused_in_cbor(rest: Rest) -> None:
    path = f"/service/{METRICS.rstrip('.')}/operation/ListMetrics"
    headers = {"Smithy_Protocol": "rpc-v2-cbor", "Content_Type": "application/cbor"}
    for body in (b"\x9b" + b"\xff" * 8, b"\xbf" * 5000, b"\xa1iNamespace\x01", b"\x01"):
        answer = ask(rest, "monitoring", body, path, **headers)
        assert answer.status_code == 400
        parser = RpcV2CBORParser()
        said = parser.parse_data_item(parser.get_peekable_stream_from_bytes(answer.content))
        assert said["__type"] == "SerializationException"
        assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"


def test_a_packed_request_is_unpacked(rest: Rest) -> None:
    body = gzip.compress(b'{"Namespace":"packed","MetricData":[{"MetricName":"m","Value":1.0}]}')
    headers = {"X_Amz_Target": METRICS + "PutMetricData", "Content_Type": "application/x-amz-json-1.0"}
    assert ask(rest, "monitoring", body, Content_Encoding="gzip", **headers).status_code == 200
    assert rest.client("cloudwatch").list_metrics(Namespace="packed")["Metrics"][0]["MetricName"] == "m"
    for broken in (body[:-9], b"plain", body[:20] + b"\0" * 20):
        assert refused(ask(rest, "monitoring", broken, Content_Encoding="gzip", **headers)) == "SerializationException"
    assert ask(rest, "monitoring", body, Content_Encoding="br", **headers).status_code == 415


def test_a_packed_giant_is_refused(rest: Rest) -> None:
    """700 MB in 3 MB: refused after the first 16 MB."""
    packer = zlib.compressobj(1, wbits=31)
    giant = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(700)) + packer.flush()
    assert len(giant) < MOST_UNPACKED_BYTES / 2
    headers = {"X_Amz_Target": LOGS + "PutLogEvents", "Content_Type": JSON, "Content_Encoding": "gzip"}
    answer = ask(rest, "logs", giant, **headers)
    assert (answer.status_code, refused(answer)) == (413, "RequestEntityTooLargeException")
    peak = Path(f"/proc/{rest.process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    assert int(peak) < 500 * 1024
