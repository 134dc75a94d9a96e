"""Signed routes and the interceptor over real sockets: who is admitted, what a cut connection looks like, and what was
done before it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError

from skylift.wire.app import WireApp
from skylift.wire.asgi import Answer, Receive, Scope, Send, read_body, send_answer
from skylift.wire.errors import AwsError
from skylift.wire.intercept import Call, ConnectionCut, Interception
from skylift.wire.provider import Caller
from skylift.wire.serve import serving
from skylift.wire.signing.keys import DerivedKeys, Key

pytestmark = pytest.mark.local
KEYS = DerivedKeys(b"test master secret, 32 bytes long", time.time)
KEY = KEYS.issue("arn:aws:iam::000000000000:user/admin", 3600)
OLD = KEYS.issue("arn:aws:iam::000000000000:user/admin", -1)


class Ecs:
    """Counts."""

    service = "ecs"
    blocking = False

    def __init__(self) -> None:
        self.seen: list[str] = []

    def list_clusters(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        self.seen.append("ListClusters")
        return {"clusterArns": ["a"]}


class Script:
    """An interceptor that does what it is told, once."""

    def __init__(self) -> None:
        self.next: Interception | Exception = Interception()
        self.calls: list[tuple[str, str]] = []

    async def interception(self, call: Call) -> Interception:
        self.calls.append((call.service, call.operation))
        todo, self.next = self.next, Interception()
        if isinstance(todo, Exception):
            raise todo
        return todo


class Rig:
    """A served app and what it has seen."""

    def __init__(self) -> None:
        self.ecs, self.script, self.stored = Ecs(), Script(), [b""]
        self.url = ""
        self.app = WireApp(
            [self.ecs],
            KEYS,
            fallback=self._rest,
            routes={"/_skylift/open": _echo},
            signed_routes={"/_skylift/shut": _echo},
            interceptor=self.script,
        )

    async def _rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.stored.append(await read_body(receive, 1 << 30))
        await send_answer(send, Answer(200, {"content-type": "text/xml"}, b"<a/>"))

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEY.access_key,
            aws_secret_access_key=KEY.secret,
            aws_session_token=KEY.session_token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def signed(self, path: str, body: bytes = b"", key: Key = KEY, service: str = "skylift", sent: bytes = b"") -> Any:
        request = AWSRequest("POST", self.url + path, headers={"Content-Type": "application/json"}, data=body)
        SigV4Auth(Credentials(key.access_key, key.secret, key.session_token), service, "us-east-1").add_auth(request)
        plain = urllib.request.Request(self.url + path, sent or body, dict(request.headers.items()), method="POST")
        with urllib.request.urlopen(plain) as answer:
            return json.loads(answer.read())


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(receive, 1 << 20)
    caller = scope.get("skylift.caller")
    shown = {"principal": caller.principal if caller else "", "body": body.decode()}
    await send_answer(send, Answer(200, {}, json.dumps(shown).encode()))


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    rig = Rig()
    with serving(rig.app) as url:
        rig.url = url
        yield rig
    rig.app.close()


def status(call: Any) -> int:
    with pytest.raises(urllib.error.HTTPError) as refused:
        call()
    return refused.value.code


def test_a_signed_route_knows_its_caller(rig: Rig) -> None:
    answer = rig.signed("/_skylift/shut/deep?x=1", b'{"a": 1}')
    assert answer == {"principal": KEY.principal, "body": '{"a": 1}'}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"key": OLD}, 403),
        ({"key": Key(KEY.access_key, "wrong", KEY.principal, KEY.session_token)}, 403),
        ({"key": Key("AKIANOBODY", "wrong", "nobody")}, 403),
        ({"service": "ecs"}, 403),
        ({"body": b"one", "sent": b"two"}, 403),
    ],
)
def test_others_are_refused(rig: Rig, words: dict[str, Any], code: int) -> None:
    assert status(lambda: rig.signed("/_skylift/shut", **words)) == code


def test_unsigned_is_refused_there_and_served_elsewhere(rig: Rig) -> None:
    assert status(lambda: urllib.request.urlopen(f"{rig.url}/_skylift/shut")) == 403
    with urllib.request.urlopen(f"{rig.url}/_skylift/open") as answer:
        assert json.loads(answer.read())["principal"] == ""


def test_operations_are_named_in_every_protocol(rig: Rig) -> None:
    rig.script.calls.clear()
    rig.client("ecs").list_clusters()
    s3 = rig.client("s3")
    s3.put_object(Bucket="b", Key="k/l", Body=b"x")
    s3.delete_object(Bucket="b", Key="k")
    s3.list_objects_v2(Bucket="b")
    for service, verb in (("dynamodb", "list_tables"), ("sns", "list_topics"), ("lambda", "list_functions")):
        with contextlib.suppress(
            ResponseParserError, KeyError, ValueError
        ):  # the answer is not in their form; only the call counts
            getattr(rig.client(service), verb)()
    assert rig.script.calls == [
        ("ecs", "ListClusters"),
        ("s3", "PutObject"),
        ("s3", "DeleteObject"),
        ("s3", "ListObjectsV2"),
        ("dynamodb", "ListTables"),
        ("sns", "ListTopics"),
        ("lambda", "GET"),
    ]


def test_before_the_work_and_after_it(rig: Rig) -> None:
    ecs = rig.client("ecs")
    rig.ecs.seen.clear()
    rig.script.next = ConnectionCut()
    with pytest.raises(ConnectionClosedError):
        ecs.list_clusters()
    assert rig.ecs.seen == []
    rig.script.next = Interception(cut=True)
    with pytest.raises(ConnectionClosedError):
        ecs.list_clusters()
    assert rig.ecs.seen == ["ListClusters"]
    assert ecs.list_clusters()["clusterArns"] == ["a"]


def test_answers_are_given_and_changed(rig: Rig) -> None:
    ecs = rig.client("ecs")
    rig.ecs.seen.clear()
    rig.script.next = Interception(answer={"clusterArns": ["other"]})
    assert ecs.list_clusters()["clusterArns"] == ["other"]
    assert rig.ecs.seen == []
    rig.script.next = Interception(rewrite=lambda answer: {"clusterArns": [*answer["clusterArns"], "b"]})
    assert ecs.list_clusters()["clusterArns"] == ["a", "b"]
    rig.script.next = AwsError("ThrottlingException", "Rate exceeded")
    with pytest.raises(ClientError, match="ThrottlingException"):
        ecs.list_clusters()


def test_a_long_upload_is_cut_after_it_was_stored(rig: Rig) -> None:
    s3, body = rig.client("s3"), b"x" * 3_000_000
    rig.script.next = Interception(cut=True)
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket="b", Key="k", Body=body)
    assert rig.stored[-1] == body
    rig.script.next = AwsError("SlowDown", "Please reduce your request rate.", 503)
    with pytest.raises(ClientError, match="SlowDown"):
        s3.put_object(Bucket="b", Key="k", Body=body)
    s3.put_object(Bucket="b", Key="k", Body=b"short")
    assert rig.stored[-1] == b"short"


def test_a_cut_is_a_reset_without_a_byte(rig: Rig) -> None:
    request = AWSRequest("POST", rig.url + "/", data=b"{}", headers=_LIST_CLUSTERS)
    SigV4Auth(Credentials(KEY.access_key, KEY.secret, KEY.session_token), "ecs", "us-east-1").add_auth(request)
    host, port = rig.url.removeprefix("http://").split(":")
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    rig.script.next = Interception(cut=True)
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        text = "\r\n".join(["POST / HTTP/1.1", f"Host: {host}:{port}", "Content-Length: 2", *lines, "", "{}"])
        raw.sendall(text.encode())
        with pytest.raises(ConnectionResetError):
            raw.recv(100)


_LIST_CLUSTERS = {
    "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters",
    "Content-Type": "application/x-amz-json-1.1",
}
