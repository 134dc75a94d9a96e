"""Chunked uploads: AWS's published examples pass in whatever pieces they come, and every way in which one can be wrong
is refused."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from skylift.wire.errors import AwsError
from skylift.wire.signing.chunks import LEAST_CHUNK, SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER, ChunkCheck, Seal
from skylift.wire.signing.signature import Claim, seal_of

pytestmark = pytest.mark.unit

SECRET, STAMP = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524T000000Z"
DATA = b"a" * 66560


def seal(seed: str) -> Seal:
    return seal_of(SECRET, Claim("AKID", "20130524", "us-east-1", "s3", (), seed, STAMP, "", None))


def chunk(data: bytes, signature: str = "") -> bytes:
    extension = f";chunk-signature={signature}" if signature else ""
    return f"{len(data):x}{extension}\r\n".encode() + data + (b"\r\n" if data else b"")


PUBLISHED_SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
PUBLISHED = (
    chunk(DATA[:65536], "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648")
    + chunk(DATA[65536:], "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497")
    + chunk(b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
    + b"\r\n"
)
PUBLISHED_TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILER = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
PUBLISHED_WITH_TRAILER = (
    chunk(DATA[:65536], "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2")
    + chunk(DATA[65536:], "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7")
    + chunk(b"", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992")
    + f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{TRAILER}\r\n\r\n".encode()
)


def check(word: str, seed: str = PUBLISHED_SEED, length: str = str(len(DATA)), trailer: str = "crc32") -> ChunkCheck:
    headers = {"x-amz-decoded-content-length": length, "x-amz-trailer": f"x-amz-checksum-{trailer}"}
    return ChunkCheck(headers, None if word == UNSIGNED_TRAILER else seal(seed), trailer=word != SIGNED)


def run(checked: ChunkCheck, body: bytes, step: int = 1 << 20) -> None:
    for place in range(0, len(body), step):
        checked.update(body[place : place + step])
    checked.finish()


STATUS = {
    "BadDigest": 400,
    "IncompleteBody": 400,
    "InvalidChunkSizeError": 403,
    "MalformedTrailerError": 400,
    "SignatureDoesNotMatch": 403,
}
"""S3 API reference, "Error responses"."""


def refused(checked: ChunkCheck, body: bytes) -> str:
    with pytest.raises(AwsError) as error:
        run(checked, body, 1000)
    assert error.value.status == STATUS[error.value.code]
    return error.value.code


@pytest.mark.parametrize("step", [1, 7, 1000, 65536, 1 << 20])
def test_the_published_examples_pass_in_pieces_of_any_size(step: int) -> None:
    run(check(SIGNED), PUBLISHED, step)
    run(check(SIGNED_TRAILER, PUBLISHED_TRAILER_SEED, trailer="crc32c"), PUBLISHED_WITH_TRAILER, step)


def zeroed(signature: str, body: bytes = PUBLISHED_WITH_TRAILER) -> bytes:
    assert signature.encode() in body
    return body.replace(signature.encode(), b"0" * 64)


FIRST, LAST = (
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
WRONG_TRAILERS = {
    "first chunk's signature": (zeroed(FIRST), "SignatureDoesNotMatch"),
    "last chunk's signature": (zeroed(LAST), "SignatureDoesNotMatch"),
    "the trailer's signature": (zeroed(TRAILER), "SignatureDoesNotMatch"),
    "no signature of a chunk": (
        PUBLISHED_WITH_TRAILER.replace(f";chunk-signature={FIRST}".encode(), b""),
        "SignatureDoesNotMatch",
    ),
    "an empty signature": (PUBLISHED_WITH_TRAILER.replace(FIRST.encode(), b""), "SignatureDoesNotMatch"),
    "a signature that is not ASCII": (
        PUBLISHED_WITH_TRAILER.replace(FIRST.encode(), b"\xff" * 64),
        "SignatureDoesNotMatch",
    ),
    "no signature of the trailer": (
        PUBLISHED_WITH_TRAILER.replace(f"x-amz-trailer-signature:{TRAILER}\r\n".encode(), b""),
        "SignatureDoesNotMatch",
    ),
    "another checksum": (PUBLISHED_WITH_TRAILER.replace(b"sOO8/Q==", b"AAAAAA=="), "SignatureDoesNotMatch"),
    "other data": (PUBLISHED_WITH_TRAILER.replace(b"aaaa", b"aaab", 1), "SignatureDoesNotMatch"),
    "no trailer": (PUBLISHED_WITH_TRAILER.partition(b"x-amz-")[0] + b"\r\n", "MalformedTrailerError"),
    "an unfinished trailer": (PUBLISHED_WITH_TRAILER[:-2], "MalformedTrailerError"),
    "no last chunk": (PUBLISHED_WITH_TRAILER.partition(b"0;chunk")[0], "IncompleteBody"),
    "half a chunk": (PUBLISHED_WITH_TRAILER[:40000], "IncompleteBody"),
    "nothing": (b"", "IncompleteBody"),
    "a size that is none": (b"-1" + PUBLISHED_WITH_TRAILER, "IncompleteBody"),
    "a line without an end": (b"1" * 5000, "IncompleteBody"),
    "a trailer without an end": (PUBLISHED_WITH_TRAILER + b"x" * 100_000, "MalformedTrailerError"),
}


@pytest.mark.parametrize(("body", "code"), WRONG_TRAILERS.values(), ids=WRONG_TRAILERS)
def test_what_was_changed_on_the_way_is_refused(body: bytes, code: str) -> None:
    assert refused(check(SIGNED_TRAILER, PUBLISHED_TRAILER_SEED, trailer="crc32c"), body) == code


def test_the_chain_hangs_on_the_requests_own_signature() -> None:
    assert refused(check(SIGNED, "0" * 64), PUBLISHED) == "SignatureDoesNotMatch"


def test_chunks_cannot_change_places() -> None:
    one, other = (hashlib.sha256(letter * LEAST_CHUNK).hexdigest() for letter in (b"x", b"y"))
    first = seal("5" * 64).of_chunk("5" * 64, one)
    second = seal("5" * 64).of_chunk(first, other)
    end = seal("5" * 64).of_chunk(second, hashlib.sha256(b"").hexdigest())
    parts = [chunk(b"x" * LEAST_CHUNK, first), chunk(b"y" * LEAST_CHUNK, second), chunk(b"", end) + b"\r\n"]
    wanted = str(2 * LEAST_CHUNK)
    run(check(SIGNED, "5" * 64, wanted), b"".join(parts))
    assert refused(check(SIGNED, "5" * 64, wanted), parts[1] + parts[0] + parts[2]) == "SignatureDoesNotMatch"
    assert refused(check(SIGNED, "5" * 64, wanted), parts[0] + parts[2]) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("length", ["66559", "66561", "0"])
def test_the_data_are_as_long_as_was_said(length: str) -> None:
    assert refused(check(SIGNED, length=length), PUBLISHED) == "IncompleteBody"


@pytest.mark.parametrize("length", ["", "-1", "x", "1e3", "9" * 5000, "\xb2"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(AwsError, match="InvalidArgument") as error:
        check(SIGNED, length=length)
    assert error.value.status == 400


def test_a_length_must_be_said() -> None:
    with pytest.raises(AwsError) as error:
        ChunkCheck({}, seal(PUBLISHED_SEED), trailer=False)
    assert (error.value.code, error.value.status) == ("MissingContentLength", 411)


def unsigned(data: bytes, trailer: str) -> bytes:
    return chunk(data) + b"0\r\n" + f"{trailer}\r\n\r\n".encode()


def of_data(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


SUMS = {
    "crc32": of_data(zlib.crc32(DATA).to_bytes(4, "big")),
    "sha1": of_data(hashlib.sha1(DATA).digest()),
    "sha256": of_data(hashlib.sha256(DATA).digest()),
    "sha512": of_data(hashlib.sha512(DATA).digest()),
    "md5": of_data(hashlib.md5(DATA).digest()),
}


@pytest.mark.parametrize(("name", "value"), SUMS.items())
def test_a_checksum_that_follows_is_checked(name: str, value: str) -> None:
    def checked() -> ChunkCheck:
        return check(UNSIGNED_TRAILER, trailer=name)

    run(checked(), unsigned(DATA, f"x-amz-checksum-{name}:{value}"), 999)
    wrong = of_data(b"\0" * len(base64.b64decode(value)))
    assert refused(checked(), unsigned(DATA, f"x-amz-checksum-{name}:{wrong}")) == "BadDigest"
    assert refused(checked(), unsigned(DATA, f"x-amz-checksum-{name}:%%%")) == "MalformedTrailerError"
    assert refused(checked(), unsigned(DATA, "x-amz-checksum-crc64nvme:AAAA")) == "MalformedTrailerError"
    assert refused(checked(), unsigned(DATA, "")) == "MalformedTrailerError"


@pytest.mark.parametrize("trailer", ["", "x", "crc32,content-type"])
def test_only_checksums_may_follow(trailer: str) -> None:
    headers = {"x-amz-decoded-content-length": "1", "x-amz-trailer": f"x-amz-checksum-{trailer}" if trailer else ""}
    if trailer == "x":
        headers["x-amz-trailer"] = "x-amz-meta-x"
    with pytest.raises(AwsError, match="InvalidRequest") as error:
        ChunkCheck(headers, None, trailer=True)
    assert error.value.status == 400


def test_only_the_last_chunk_may_be_short() -> None:
    sum_ = f"x-amz-checksum-crc32:{SUMS['crc32']}"
    short = chunk(DATA[:100]) + unsigned(DATA[100:], sum_)
    assert refused(check(UNSIGNED_TRAILER), short) == "InvalidChunkSizeError"
