"""Unsigned requests, byte by byte over real sockets: whatever their heads contain, they get an AWS error and trigger no
bug."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from urllib.parse import urlsplit

import pytest
from tests.local.wire.test_wire_refused import KEY, Anything, Rest

from skylift.wire.app import WireApp
from skylift.wire.serve import serving
from skylift.wire.signing.keys import DerivedKeys, Keyrings, StaticKeys

pytestmark = pytest.mark.local
SLOW = 60
NOW = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
DAY = NOW[:8].encode()
SIGNATURE = b"0" * 64
ODD = [b"\xff\xfe", "ü".encode(), b"\xed\xa0\x80", "²".encode(), b"\t", b"%ff%fe", b"9" * 5000, b"", b"/", b"'\"<>&"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    keys = Keyrings(StaticKeys([KEY]), DerivedKeys(b"m" * 32, time.time))
    with serving(WireApp([Anything("ecs"), Anything("mwaa"), Anything("elbv2")], keys, fallback=Rest())) as served:
        yield served


def answer(url: str, request: bytes) -> bytes:
    """The whole answer to one request, given byte by byte."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), SLOW) as connection:
        connection.sendall(request)
        got = b""
        while piece := connection.recv(65536):
            got += piece
    return got


def get(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def authorization(
    scope: bytes = DAY + b"/us-east-1/ecs/aws4_request", key: bytes = b"AKIA", signed: bytes = b"host"
) -> bytes:
    credential = b"Credential=" + key + b"/" + scope
    return b"Authorization: AWS4-HMAC-SHA256 " + credential + b", SignedHeaders=" + signed + b", Signature=" + SIGNATURE


def requests() -> dict[str, bytes]:
    known, date = KEY.access_key.encode(), b"X-Amz-Date: " + NOW.encode()
    found: dict[str, bytes] = {}
    for odd in ODD:
        name = repr(odd[:12])
        scopes = {"region": (odd, b"ecs"), "service": (b"us-east-1", odd), "s3 region": (odd, b"s3")}
        for word, (region, service) in scopes.items():
            scope = b"/".join((DAY, region, service, b"aws4_request"))
            for whose, key in (("unknown", b"AKIA"), ("known", known)):  # its name is another one in each process
                head = authorization(scope, key)
                found[f"{word} {name} {whose} key"] = get(
                    b"/", head, date, b"X-Amz-Security-Token: " + KEY.session_token.encode()
                )
        found[f"token {name}"] = get(b"/", authorization(), date, b"X-Amz-Security-Token: " + odd)
        found[f"key {name}"] = get(b"/", authorization(key=odd), date)
        found[f"signed headers {name}"] = get(b"/", authorization(key=known, signed=b"host;" + odd), date)
        found[f"date {name}"] = get(b"/", authorization(), b"X-Amz-Date: " + odd)
        found[f"Date {name}"] = get(b"/", authorization(), b"Date: " + odd)
        found[f"authorization {name}"] = get(b"/", b"Authorization: " + odd)
        found[f"content type {name}"] = get(b"/", b"X-Amz-Target: " + odd, b"Content-Type: application/json;" + odd)
        found[f"digest {name}"] = get(
            b"/", authorization(DAY + b"/r/s3/aws4_request"), date, b"x-amz-content-sha256: " + odd
        )
        quoted = odd.replace(b"\t", b"%09")
        if quoted.isascii():
            for place in (b"Expires", b"Signature", b"AWSAccessKeyId", b"x-amz-security-token"):
                query = {b"AWSAccessKeyId": known, b"Signature": b"x", b"Expires": b"9999999999", place: quoted}
                found[f"{place!r} {name}"] = get(b"/b/k?" + b"&".join(k + b"=" + v for k, v in query.items()))
            for place in (b"Expires", b"Date", b"Credential", b"SignedHeaders", b"Signature", b"Security-Token"):
                query = {
                    b"Algorithm": b"AWS4-HMAC-SHA256",
                    b"Credential": known + b"/" + DAY + b"/us-east-1/s3/aws4_request",
                    b"SignedHeaders": b"host",
                    b"Signature": SIGNATURE,
                    b"Date": NOW.encode(),
                    b"Expires": b"60",
                    place: quoted,
                }
                found[f"X-Amz-{place!r} {name}"] = get(
                    b"/b?" + b"&".join(b"X-Amz-" + k + b"=" + v for k, v in query.items())
                )
            found[f"action {name}"] = get(b"/?Action=" + quoted)
            found[f"path {name}"] = get(b"/environments/" + quoted)
    found["a date before all dates"] = get(b"/", authorization(), b"Date: Mon, 01 Jan 0001 00:00:00 +2359")
    found["an old way to sign"] = get(b"/", b"Authorization: AWS key:signature", b"Date: " + formatdate().encode())
    return found


@pytest.mark.parametrize("name", requests())
def test_a_head_that_nobody_signed_is_refused_and_no_bug(url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        got = answer(url, requests()[name])
    status, body = got.split(b" ", 2)[1], got.partition(b"\r\n\r\n")[2]
    assert status.startswith(b"4"), got
    assert b"<Code>" in body or b'"__type"' in body, got
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/\xff\xfe"),
        get(b"\xff"),
        get(b"/a b"),
        get(b"/", b"X: \x00"),
        get(b"/", b"\xff: 1"),
        get(b"/", b"Content-Length: 1e3"),
        get(b"/", b"Content-Length: " + b"9" * 5000),
        get(b"/", method=b"\xff\xff"),
        b"\r\n\r\n\x16\x03\x01\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 1000,
    ],
    ids=lambda request: repr(request[:40]),
)
def test_what_is_no_http_is_refused_and_no_bug(url: str, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert answer(url, request_).startswith(b"HTTP/1.1 4")
    assert not [record for record in caplog.records if record.exc_info]
