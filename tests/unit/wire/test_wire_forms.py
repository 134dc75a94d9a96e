"""Forms that upload to S3: what is read of them, and whose they are (AWS's own example)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

import pytest

from skylift.wire.asgi import Head, Message, read_beginning
from skylift.wire.errors import AwsError
from skylift.wire.signing.authenticator import Authenticator
from skylift.wire.signing.forms import is_upload, key_of, read_fields
from skylift.wire.signing.keys import Key, StaticKeys
from skylift.wire.signing.signature import Incomplete

pytestmark = pytest.mark.unit

HEAD = Head("POST", "/bucket", "", {"content-type": 'multipart/form-data; boundary="x y"'})
LINES = (
    '{ "expiration": "2015-12-30T12:00:00.000Z",',
    '  "conditions": [',
    '    {"bucket": "sigv4examplebucket"},',
    '    ["starts-with", "$key", "user/user1/"],',
    '    {"acl": "public-read"},',
    '    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},',
    '    ["starts-with", "$Content-Type", "image/"],',
    '    {"x-amz-meta-uuid": "14365123651274"},',
    '    {"x-amz-server-side-encryption": "AES256"},',
    '    ["starts-with", "$x-amz-meta-tag", ""],',
    "",
    '    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},',
    '    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},',
    '    {"x-amz-date": "20151229T000000Z" }',
    "  ]",
    "}",
)
EXAMPLE = {
    "key": "user/user1/${filename}",
    "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Date": "20151229T000000Z",
    "Policy": base64.b64encode("\r\n".join(LINES).encode()).decode(),
    "X-Amz-Signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
}
"""From "Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)", S3 API reference."""


def form(fields: Mapping[str, str], file: str = 'filename="a.jpg"') -> bytes:
    parts = [f'--x y\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields]
    return "".join([*parts, f'--x y\r\nContent-Disposition: form-data; name="file"; {file}\r\n\r\n']).encode() + b"\xff"


def admitted(region: str = "us-east-1", **changed: str) -> str:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    keys = StaticKeys([Key("AKIAIOSFODNN7EXAMPLE", secret, "arn:aws:iam::1:user/me")])
    named = {name.replace("_", "-"): value for name, value in changed.items()}
    body = form({name: value for name, value in {**EXAMPLE, **named}.items() if value})
    try:
        return Authenticator(keys, "1" * 12, region, lambda: 0).admit_form(HEAD, body).caller.principal
    except AwsError as error:
        return error.code


def test_awss_own_example_is_signed() -> None:
    assert admitted() == "arn:aws:iam::1:user/me"
    assert key_of(read_fields(HEAD, form(EXAMPLE))) == "user/user1/a.jpg"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Policy": "e30="}, "SignatureDoesNotMatch"),
        ({"X_Amz_Signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"X_Amz_Signature": ""}, "AccessDenied"),
        ({"X_Amz_Signature": "0"}, "InvalidArgument"),
        ({"X_Amz_Date": ""}, "InvalidArgument"),
        ({"X_Amz_Credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/ecs/aws4_request"}, "SignatureDoesNotMatch"),
        ({"X_Amz_Credential": "AKIAOTHER/20151229/us-east-1/s3/aws4_request"}, "InvalidAccessKeyId"),
        ({"X_Amz_Signature": "", "signature": "x"}, "InvalidArgument"),
        ({"X_Amz_Signature": "", "signature": "x", "AWSAccessKeyId": "AKIAIOSFODNN7EXAMPLE"}, "SignatureDoesNotMatch"),
        ({"region": "eu-west-1"}, "AuthorizationHeaderMalformed"),
    ],
)
def test_what_nobody_signed_is_refused(changed: dict[str, str], code: str) -> None:
    assert admitted(**changed) == code


def test_a_form_has_a_file_and_a_boundary() -> None:
    for head, start in ((HEAD, b""), (HEAD, b"--x y\r\n\r\n1"), (Head("POST", "/", "", {}), form({}))):
        with pytest.raises(Incomplete, match="POST requires a file"):
            read_fields(head, start)
    assert read_fields(HEAD, form({"A": "1"}, "")) == {"a": "1", "file": ""}


def test_only_a_form_that_nothing_else_signs_is_an_upload() -> None:
    assert is_upload(HEAD)
    assert not is_upload(Head("PUT", "/b", "", HEAD.headers))
    assert not is_upload(Head("POST", "/b", "X-Amz-Signature=1", HEAD.headers))
    assert not is_upload(Head("POST", "/b", "", {**HEAD.headers, "authorization": "AWS4"}))
    assert not is_upload(Head("POST", "/b", "", {"content-type": "application/json"}))


def test_the_beginning_of_a_body_is_not_lost() -> None:
    chunks = [b"ab", b"cd", b"ef"]

    async def receive() -> Message:
        body = chunks.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(chunks)}

    async def read() -> tuple[bytes, list[Message]]:
        start, whole = await read_beginning(receive, 3)
        return start, [await whole(), await whole()]

    start, messages = asyncio.run(read())
    assert start == b"abcd"
    assert [(one["body"], one["more_body"]) for one in messages] == [(b"abcd", True), (b"ef", False)]
