"""Chunked uploads over real sockets to the S3 that is served: what was signed is stored, anything else is refused and
leaves nothing."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.local.rest_server import KEY, REGION, Rest, rest_of_aws

from skylift.wire.signing.chunks import SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER, Seal
from skylift.wire.signing.signature import _signing_key

pytestmark = pytest.mark.local
DATA = b"0123456789abcdef" * 8192
CHUNK = 65536
Change = Callable[[bytes], bytes]


class Streaming(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer, with a streaming word in the payload's place."""

    word = SIGNED

    def payload(self, request: AWSRequest) -> str:
        return self.word


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("chunked")) as started:
        started.client("s3").create_bucket(Bucket="bucket")
        yield started


def put(rest: Rest, path: str, word: str, change: Change = lambda body: body, **headers: str) -> tuple[int, str]:
    """Uploads ``DATA`` in chunks; the status and what was answered."""
    sent = {"x-amz-decoded-content-length": str(len(DATA)), "content-encoding": "aws-chunked"}
    if word != SIGNED:
        sent["x-amz-trailer"] = "x-amz-checksum-crc32"
    request = AWSRequest("PUT", rest.url + path, headers=sent | headers, data=b"")
    signer = Streaming(Credentials(KEY.access_key, KEY.secret), "s3", REGION)
    signer.word = word
    signer.add_auth(request)
    stamp = request.headers["X-Amz-Date"]
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    seed = request.headers["Authorization"].rpartition("=")[2]
    seal = Seal(_signing_key(KEY.secret, stamp[:8], REGION, "s3"), stamp, scope, seed)
    body = change(chunked(word, seal))
    plain = urllib.request.Request(rest.url + path, body, dict(request.headers.items()), method="PUT")
    try:
        with urllib.request.urlopen(plain, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def chunked(word: str, seal: Seal) -> bytes:
    body, before = b"", seal.seed
    for start in range(0, len(DATA) + 1, CHUNK):
        piece = DATA[start : start + CHUNK]
        before = seal.of_chunk(before, hashlib.sha256(piece).hexdigest())
        extension = "" if word == UNSIGNED_TRAILER else f";chunk-signature={before}"
        body += f"{len(piece):x}{extension}\r\n".encode() + (piece + b"\r\n" if piece else b"")
    if word == SIGNED:
        return body + b"\r\n"
    sum_ = f"x-amz-checksum-crc32:{b64encode(zlib.crc32(DATA).to_bytes(4, 'big')).decode()}"
    signature = f"x-amz-trailer-signature:{seal.of_trailer(before, sum_.encode() + bytes([10]))}\r\n"
    return body + f"{sum_}\r\n{signature if word == SIGNED_TRAILER else ''}\r\n".encode()


def is_stored(rest: Rest, key: str) -> bool:
    s3 = rest.client("s3")
    if key not in [one["Key"] for one in s3.list_objects_v2(Bucket="bucket").get("Contents", [])]:
        return False
    return bool(s3.get_object(Bucket="bucket", Key=key)["Body"].read() == DATA)


@pytest.mark.parametrize("word", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_what_was_signed_is_stored(rest: Rest, word: str) -> None:
    assert put(rest, f"/bucket/right-{word}", word)[0] == 200
    assert is_stored(rest, f"right-{word}")
    head = rest.client("s3").head_object(Bucket="bucket", Key=f"right-{word}", ChecksumMode="ENABLED")
    assert "aws-chunked" not in head.get("ContentEncoding", "")
    assert word == SIGNED or head["ChecksumCRC32"] == b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()


def without_signatures(body: bytes) -> bytes:
    while b";chunk-signature=" in body:
        before, _, after = body.partition(b";chunk-signature=")
        body = before + after[64:]
    return body


def zeroed(body: bytes) -> bytes:
    before, name, after = body.partition(b";chunk-signature=")
    return before + name + b"0" * 64 + after[64:]


def zeroed_trailer(body: bytes) -> bytes:
    before, name, after = body.partition(b"x-amz-trailer-signature:")
    return before + name + b"0" * 64 + after[64:]


WRONG: dict[str, tuple[str, Change, dict[str, str], int, str]] = {
    "zeroed": (SIGNED, zeroed, {}, 403, "SignatureDoesNotMatch"),
    "missing": (SIGNED, without_signatures, {}, 403, "SignatureDoesNotMatch"),
    "data": (SIGNED, lambda body: body.replace(b"abcdef", b"abcdeX", 1), {}, 403, "SignatureDoesNotMatch"),
    "last data": (SIGNED, lambda body: body[:-200] + b"X" + body[-199:], {}, 403, "SignatureDoesNotMatch"),
    "short": (SIGNED, lambda body: body[: len(body) // 2], {}, 400, "IncompleteBody"),
    "plain": (SIGNED, lambda _: DATA, {}, 400, "IncompleteBody"),
    "length": (SIGNED, bytes, {"x-amz-decoded-content-length": "7"}, 400, "IncompleteBody"),
    "trailer signature": (SIGNED_TRAILER, zeroed_trailer, {}, 403, "SignatureDoesNotMatch"),
    "trailer chunk": (SIGNED_TRAILER, zeroed, {}, 403, "SignatureDoesNotMatch"),
    "checksum": (UNSIGNED_TRAILER, lambda body: body.replace(b"crc32:", b"crc32:A"), {}, 400, "MalformedTrailerError"),
    "unsigned data": (UNSIGNED_TRAILER, lambda body: body.replace(b"abcdef", b"abcdeX", 1), {}, 400, "BadDigest"),
    "crc32c": (
        UNSIGNED_TRAILER,
        lambda body: body.partition(b"x-amz")[0] + b"x-amz-checksum-crc32c:AAAAAA==\r\n\r\n",
        {"x-amz-trailer": "x-amz-checksum-crc32c"},
        400,
        "BadDigest",
    ),
    "ecdsa": ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", bytes, {}, 400, "AuthorizationHeaderMalformed"),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_refused_and_leaves_nothing(rest: Rest, name: str) -> None:
    word, change, headers, status, code = WRONG[name]
    answered = put(rest, f"/bucket/{name.replace(' ', '-')}", word, change, **headers)
    assert (answered[0], f"<Code>{code}</Code>" in answered[1]) == (status, True), answered
    assert not is_stored(rest, name.replace(" ", "-"))


def test_a_wrong_part_of_a_multipart_upload_is_no_part(rest: Rest) -> None:
    s3 = rest.client("s3")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    path = f"/bucket/parts?partNumber=1&uploadId={upload}"
    assert put(rest, path, SIGNED, zeroed)[0] == 403
    assert "Parts" not in s3.list_parts(Bucket="bucket", Key="parts", UploadId=upload)
    assert put(rest, path, SIGNED)[0] == 200
    assert [part["Size"] for part in s3.list_parts(Bucket="bucket", Key="parts", UploadId=upload)["Parts"]] == [
        len(DATA)
    ]
