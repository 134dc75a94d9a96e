"""``aws-chunked`` bodies of S3: checks each chunk's signature, the trailer's, its checksum and the length, while the
body passes.

Sources: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and "Including
Trailing Headers", S3 API reference. A chunk's signature covers the previous one, from the request's own to the
trailer's, so that nobody can remove, insert or reorder chunks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skylift.wire.refusals import Dialect, Rejection, SignatureFault, refusal

SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER = (
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
)
WORDS = frozenset({SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER})
"""What stands in ``x-amz-content-sha256`` of such bodies."""
LEAST_CHUNK = 8192
"""Bytes; only the last chunk with data may be shorter."""
TRAILER_SIGNATURE = "x-amz-trailer-signature"
_MOST_LINE = 1024
_MOST_TRAILER = 16 * 1024
_EMPTY = hashlib.sha256(b"").hexdigest()
_SIZE = re.compile(r"[0-9A-Fa-f]{1,15}")
_LENGTH = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class Seal:
    """What the chain of signatures hangs on: the signing key, the request's stamp and scope, and its own signature."""

    key: bytes = field(repr=False)
    stamp: str
    scope: str
    seed: str

    def of_chunk(self, before: str, sha256: str) -> str:
        """A chunk's signature, after that of the chunk before."""
        return self._signed("AWS4-HMAC-SHA256-PAYLOAD", before, f"{_EMPTY}\n{sha256}")

    def of_trailer(self, before: str, trailer: bytes) -> str:
        """The trailer's signature. ``trailer``: a line ``name:value`` with a line feed for each header."""
        return self._signed("AWS4-HMAC-SHA256-TRAILER", before, hashlib.sha256(trailer).hexdigest())

    def _signed(self, algorithm: str, before: str, digests: str) -> str:
        text = "\n".join((algorithm, self.stamp, self.scope, before, digests))
        return hmac.digest(self.key, text.encode(), "sha256").hex()


class ChunkCheck:
    """Reads such a body in whatever pieces it comes; the pieces themselves go on as they are.

    Args:
        headers: of the request.
        seal: of a body whose chunks are signed; ``None``: they are not.
        trailer: whether headers follow the last chunk.

    Raises:
        Rejection: the headers do not say how long the data are.
    """

    def __init__(self, headers: Mapping[str, str], seal: Seal | None, *, trailer: bool) -> None:
        self._wanted_length = _decoded_length(headers)
        self._announced = _announced(headers) if trailer else frozenset()
        self._trailer = trailer
        self._seal = seal
        self._before = seal.seed if seal else ""
        self._said = ""
        self._read: Callable[[], bool] = self._line
        self._buffer = bytearray()
        self._left = self._length = 0
        self._short = False
        self._sha256 = hashlib.sha256()
        self._sums = {name: _SUMS[name]() for name in self._announced if name in _SUMS}

    def update(self, data: bytes) -> None:
        """The next piece. Raises ``Rejection`` as soon as something is wrong."""
        self._buffer += data
        while self._read():
            pass

    def finish(self) -> None:
        """The body has ended. Raises ``Rejection`` when it is incomplete or does not keep what it promised."""
        if self._read != self._tail:
            raise _incomplete()
        if self._length != self._wanted_length:
            raise _incomplete()
        tail = bytes(self._buffer)
        if not self._trailer:
            if tail != b"\r\n":
                raise _incomplete()
            return
        values = _trailer_values(tail)
        self._check_trailer_signature(values)
        if values.keys() != self._announced:
            raise _malformed_trailer()
        for name, sum_ in self._sums.items():
            if not hmac.compare_digest(sum_.digest(), _decoded(values[name])):
                raise _bad_digest(name)

    def _line(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _MOST_LINE:
                raise _incomplete()
            return False
        size, _, extension = self._buffer[:end].decode("latin-1").partition(";")
        if _SIZE.fullmatch(size) is None:
            raise _incomplete()
        del self._buffer[: end + 2]
        self._begin_chunk(int(size, 16), extension)
        return True

    def _begin_chunk(self, size: int, extension: str) -> None:
        name, _, self._said = extension.partition("=")
        if self._seal and (name != "chunk-signature" or not self._said):
            raise _mismatch()
        if size and self._short:
            text = "Only the last chunk is allowed to have a size less than 8192 bytes"
            raise Rejection("InvalidChunkSizeError", text, 403, Dialect.S3)
        self._short = size < LEAST_CHUNK
        self._left, self._length = size, self._length + size
        if self._length > self._wanted_length:
            raise _incomplete()
        self._sha256 = hashlib.sha256()
        if size:
            self._read = self._data
        else:
            self._check_chunk()
            self._read = self._tail

    def _data(self) -> bool:
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        if self._seal:
            self._sha256.update(piece)
        for sum_ in self._sums.values():
            sum_.update(piece)
        if not self._left:
            self._read = self._end_of_chunk
        return not self._left

    def _end_of_chunk(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise _incomplete()
        del self._buffer[:2]
        self._check_chunk()
        self._read = self._line
        return True

    def _tail(self) -> bool:
        if len(self._buffer) > _MOST_TRAILER:
            raise _malformed_trailer()
        return False

    def _check_chunk(self) -> None:
        if self._seal:
            self._before = self._seal.of_chunk(self._before, self._sha256.hexdigest())
            if not _same(self._before, self._said):
                raise _mismatch()

    def _check_trailer_signature(self, values: dict[str, str]) -> None:
        said = values.pop(TRAILER_SIGNATURE, None)
        if self._seal is None:
            return
        signed = "".join(f"{name}:{value}\n" for name, value in values.items())
        if said is None or not _same(self._seal.of_trailer(self._before, signed.encode("latin-1")), said):
            raise _mismatch()


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_SUMS: dict[str, Callable[[], Any]] = {
    "x-amz-checksum-crc32": _Crc32,
    "x-amz-checksum-sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "x-amz-checksum-sha256": hashlib.sha256,
    "x-amz-checksum-sha512": hashlib.sha512,
    "x-amz-checksum-md5": lambda: hashlib.md5(usedforsecurity=False),
}
"""What the standard library can do; CRC-32C and CRC-64/NVME are S3's own to check."""
_CHECKSUM = re.compile(r"x-amz-checksum-[a-z0-9]+")


def _decoded_length(headers: Mapping[str, str]) -> int:
    text = headers.get("x-amz-decoded-content-length")
    if text is None:
        raise Rejection("MissingContentLength", "You must provide the Content-Length HTTP header.", 411, Dialect.S3)
    if _LENGTH.fullmatch(text) is None:
        raise Rejection("InvalidArgument", "x-amz-decoded-content-length is not a length.", 400, Dialect.S3)
    return int(text)


def _announced(headers: Mapping[str, str]) -> frozenset[str]:
    names = [name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",")]
    if not all(_CHECKSUM.fullmatch(name) for name in names):
        text = "The value specified in the x-amz-trailer header is not supported"
        raise Rejection("InvalidRequest", text, 400, Dialect.S3)
    return frozenset(names)


def _trailer_values(tail: bytes) -> dict[str, str]:
    if not tail.endswith(b"\r\n\r\n"):
        raise _malformed_trailer()
    values: dict[str, str] = {}
    for line in tail[:-4].decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or name.strip().lower() in values:
            raise _malformed_trailer()
        values[name.strip().lower()] = value.strip()
    return values


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise _malformed_trailer() from None


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _mismatch() -> Rejection:
    return refusal(SignatureFault.MISMATCH, Dialect.S3)


def _incomplete() -> Rejection:
    text = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    return Rejection("IncompleteBody", text, 400, Dialect.S3)


def _malformed_trailer() -> Rejection:
    text = "The request contained trailing data that was not well-formed or did not conform to our published schema."
    return Rejection("MalformedTrailerError", text, 400, Dialect.S3)


def _bad_digest(name: str) -> Rejection:
    text = f"The {name.removeprefix('x-amz-checksum-').upper()} you specified did not match the calculated checksum."
    return Rejection("BadDigest", text, 400, Dialect.S3)
