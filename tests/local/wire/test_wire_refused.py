"""Requests that must be refused, over real sockets: unsigned, wrongly signed, tampered with, late.

Each gets its service's own error.
"""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from skylift.wire.app import WireApp
from skylift.wire.asgi import Answer, Receive, Scope, Send, read_body, send_answer
from skylift.wire.provider import Caller
from skylift.wire.serve import serving
from skylift.wire.signing.keys import DerivedKeys, Key, StaticKeys

pytestmark = pytest.mark.local

ADMIN = "arn:aws:iam::000000000000:user/admin"
KEYS = DerivedKeys(b"test master secret, 32 bytes long", time.time)
KEY = KEYS.issue(ADMIN, 3600)
OLD = KEYS.issue(ADMIN, -1)
MEGABYTE = 1024 * 1024


@dataclass
class Anything:
    """A provider that counts its calls; nothing here may ever reach it."""

    service: str
    blocking: bool = False
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[[Caller, dict[str, Any]], dict[str, Any]]:
        def call(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
            self.calls.append(name)
            return {}

        return call


@dataclass
class Rest:
    """The rest of AWS: counts the bodies that it saw to their end, and answers as if all were well, whatever
    happens."""

    whole_bodies: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(receive, 1 << 30)
            self.whole_bodies += 1
        except Exception:  # noqa: BLE001 -- a fallback that swallows everything must not win
            await asyncio.sleep(0)
        await send_answer(send, Answer(200, {"content-type": "text/plain"}, b""))


@dataclass(frozen=True)
class Cloud:
    url: str
    late: str
    providers: dict[str, Anything]
    rest: Rest


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One endpoint at the right time, and one whose clock is 16 minutes ahead."""
    providers = {name: Anything(name) for name in ("ecs", "mwaa", "elbv2")}
    rest = Rest()
    late = StaticKeys([replace(KEY, expires=None)])
    with (
        serving(WireApp(providers.values(), KEYS, fallback=rest)) as url,
        serving(WireApp(providers.values(), late, fallback=rest, clock=lambda: time.time() + 16 * 60)) as late_url,
    ):
        yield Cloud(url, late_url, providers, rest)


def client(service: str, url: str, key: Key, tamper: Callable[[Any], None] | None = None, **config: Any) -> Any:
    made = boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret,
        aws_session_token=key.session_token,
        config=Config(**{"inject_host_prefix": False, "retries": {"total_max_attempts": 1}, **config}),
    )
    if tamper is not None:
        made.meta.events.register(f"before-send.{service}", lambda request, **_: tamper(request))
    return made


CALLS: dict[str, Callable[[Any], Any]] = {
    "ecs": lambda ecs: ecs.list_clusters(nextToken="original"),
    "mwaa": lambda mwaa: mwaa.get_environment(Name="original"),
    "elbv2": lambda elb: elb.describe_load_balancers(Names=["original"]),
    "s3": lambda s3: s3.put_object(Bucket="b", Key="original", Body=b"original" * MEGABYTE),
    "sqs": lambda sqs: sqs.send_message(QueueUrl="http://h/q", MessageBody="original"),
    "iam": lambda iam: iam.get_user(UserName="original"),
    "lambda": lambda functions: functions.get_function(FunctionName="original"),
}
UNKNOWN = replace(KEY, access_key="ASIA0000000000000000")
WRONG = replace(KEY, secret="x" * 40)
NO_TOKEN = replace(KEY, session_token="")
JSON_MISMATCH, QUERY_MISMATCH = ("InvalidSignatureException", 403), ("SignatureDoesNotMatch", 403)
JSON_UNKNOWN, QUERY_UNKNOWN = ("UnrecognizedClientException", 403), ("InvalidClientTokenId", 403)
JSON_OLD = ("ExpiredTokenException", 403)
KEY_CASES = {
    "wrong secret": (WRONG, {"json": JSON_MISMATCH, "query": QUERY_MISMATCH, "s3": ("SignatureDoesNotMatch", 403)}),
    "unknown key": (UNKNOWN, {"json": JSON_UNKNOWN, "query": QUERY_UNKNOWN, "s3": ("InvalidAccessKeyId", 403)}),
    "no token": (NO_TOKEN, {"json": JSON_UNKNOWN, "query": QUERY_UNKNOWN, "s3": ("InvalidAccessKeyId", 403)}),
    "expired": (OLD, {"json": JSON_OLD, "query": ("ExpiredToken", 403), "s3": ("ExpiredToken", 400)}),
}
FORMS = {"ecs": "json", "mwaa": "json", "lambda": "json", "sqs": "json", "elbv2": "query", "iam": "query", "s3": "s3"}


def refused(call: Callable[[], Any], cloud: Cloud) -> tuple[str, int]:
    """Code and status of a call that fails before it reaches anybody."""
    before = cloud.rest.whole_bodies
    with pytest.raises(ClientError) as raised:
        call()
    assert cloud.rest.whole_bodies == before
    assert [name for provider in cloud.providers.values() for name in provider.calls] == []
    response = raised.value.response
    assert KEY.secret not in str(response)
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize(("key", "expected"), KEY_CASES.values(), ids=KEY_CASES)
def test_keys(service: str, key: Key, expected: dict[str, tuple[str, int]], cloud: Cloud) -> None:
    made = client(service, cloud.url, key)
    assert refused(lambda: CALLS[service](made), cloud) == expected[FORMS[service]]


@pytest.mark.parametrize("service", CALLS)
def test_unsigned(service: str, cloud: Cloud) -> None:
    made = client(service, cloud.url, KEY, signature_version=UNSIGNED)
    expected = {
        "ecs": ("MissingAuthenticationTokenException", 403),
        "sqs": ("MissingAuthenticationTokenException", 403),
        "mwaa": ("MissingAuthenticationTokenException", 403),
        "elbv2": ("MissingAuthenticationToken", 403),
        "iam": ("MissingAuthenticationToken", 403),
        "s3": ("AccessDenied", 403),
        # A rest-json service of which nothing is known here cannot be told from S3 when it is not signed.
        "lambda": ("403", 403),
    }
    assert refused(lambda: CALLS[service](made), cloud) == expected[service]


def alter_body(request: Any) -> None:
    body = request.body.read() if hasattr(request.body, "read") else request.body
    request.body = (body if isinstance(body, bytes) else body.encode()).replace(b"original", b"modified")


def alter_url(request: Any) -> None:
    request.url = request.url.replace("original", "modified")


def alter_header(request: Any) -> None:
    request.headers["X-Amz-Date"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 5))


def add_header(request: Any) -> None:
    request.headers["x-amz-acl"] = "public-read"


TAMPERED = {
    "ecs body": ("ecs", alter_body, JSON_MISMATCH),
    "elbv2 body": ("elbv2", alter_body, QUERY_MISMATCH),
    "sqs body": ("sqs", alter_body, JSON_MISMATCH),
    "s3 body": ("s3", alter_body, ("XAmzContentSHA256Mismatch", 400)),
    "mwaa path": ("mwaa", alter_url, JSON_MISMATCH),
    "s3 path": ("s3", alter_url, ("SignatureDoesNotMatch", 403)),
    "lambda path": ("lambda", alter_url, JSON_MISMATCH),
    "ecs date": ("ecs", alter_header, JSON_MISMATCH),
    "s3 header more": ("s3", add_header, ("AccessDenied", 403)),
}


@pytest.mark.parametrize(("service", "tamper", "expected"), TAMPERED.values(), ids=TAMPERED)
def test_tampered_with(service: str, tamper: Callable[[Any], None], expected: tuple[str, int], cloud: Cloud) -> None:
    made = client(service, cloud.url, KEY, tamper)
    assert refused(lambda: CALLS[service](made), cloud) == expected


@pytest.mark.parametrize("service", CALLS)
def test_too_late(service: str, cloud: Cloud) -> None:
    made = client(service, cloud.late, KEY)
    expected = {"json": JSON_MISMATCH, "query": QUERY_MISMATCH, "s3": ("RequestTimeTooSkewed", 403)}
    assert refused(lambda: CALLS[service](made), cloud) == expected[FORMS[service]]


@pytest.mark.parametrize("version", [None, "s3v4"])
def test_presigned_urls_expire_and_cannot_be_changed(version: str | None, cloud: Cloud) -> None:
    config = {"signature_version": version} if version else {}

    def get(url: str, old: str, new: str) -> bytes:
        made = client("s3", url, KEY, **config)
        signed = made.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}, ExpiresIn=15 * 60)
        assert old in signed
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(signed.replace(old, new), timeout=10)
        assert raised.value.code == 403
        return raised.value.read()

    assert b"<Code>AccessDenied</Code><Message>Request has expired" in get(cloud.late, "/b/k", "/b/k")
    assert b"<Code>SignatureDoesNotMatch</Code>" in get(cloud.url, "/b/k", "/b/other")
    assert b"<Code>SignatureDoesNotMatch</Code>" in get(cloud.url, "Expires=", "Expires=1")


def test_a_body_that_is_too_long_is_refused(cloud: Cloud) -> None:
    made = client("ecs", cloud.url, KEY)
    assert refused(lambda: made.list_clusters(nextToken="x" * 17 * MEGABYTE), cloud)[1] == 413


def test_the_connection_lives_on_after_a_refusal(cloud: Cloud) -> None:
    made = client("mwaa", cloud.url, KEY, max_pool_connections=1)
    wrong = client("mwaa", cloud.url, WRONG)
    for _ in range(3):
        refused(lambda: wrong.get_environment(Name="a"), cloud)
    assert made.get_environment(Name="a")["ResponseMetadata"]["HTTPStatusCode"] == 200
    cloud.providers["mwaa"].calls.clear()


def test_a_bug_of_ours_is_a_500_in_the_form_of_aws_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: Scope, __: Receive, ___: Send) -> None:
        raise KeyError("our bug")

    with serving(WireApp([], KEYS, fallback=broken)) as url:
        for service, code in (("s3", "InternalError"), ("sqs", "InternalFailure"), ("iam", "InternalFailure")):
            with pytest.raises(ClientError) as error:
                CALLS[service](client(service, url, KEY))
            answered = error.value.response
            assert (answered["Error"]["Code"], answered["ResponseMetadata"]["HTTPStatusCode"]) == (code, 500)
            assert "our bug" not in str(answered)
    assert sum("our bug" in str(record.exc_info) for record in caplog.records) == 3
