"""Bodies that a client compressed: decompressed with a size limit, off the event loop."""

from __future__ import annotations

import asyncio
import zlib

from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.refusals import Dialect, SignatureFault, refusal

MOST_UNPACKED_BYTES = 16 * 1024 * 1024
"""Size limit of a compressed body. AWS takes 1 MB (PutMetricData, PutLogEvents)."""
_PIECE = 1024 * 1024


async def unpacked(head: Head, body: bytes) -> bytes | None:
    """The decompressed body; ``None``: it was not compressed. Raises ``AwsError``, or ``Rejection`` if it is too
    long."""
    packings = [word.strip().lower() for word in head.headers.get("content-encoding", "").split(",") if word.strip()]
    if not packings or not body:
        return None
    if packings != ["gzip"]:
        raise AwsError(
            "SerializationException", f"Content-Encoding {', '.join(packings)[:80]!r} is not supported: use gzip.", 415
        )
    return await asyncio.to_thread(_gunzip, body)


def _gunzip(body: bytes) -> bytes:
    """Decompresses, up to the size limit. Raises ``AwsError``."""
    unpack, pieces, length = zlib.decompressobj(wbits=31), [], 0
    rest = body
    try:
        while rest and not unpack.eof:
            piece = unpack.decompress(rest, _PIECE)
            length += len(piece)
            if length > MOST_UNPACKED_BYTES:
                raise refusal(SignatureFault.TOO_LONG, Dialect.JSON)
            pieces.append(piece)
            rest = unpack.unconsumed_tail
    except zlib.error:
        raise AwsError(
            "SerializationException", "The body is not in gzip's format, as Content-Encoding says."
        ) from None
    if not unpack.eof:
        raise AwsError("SerializationException", "The body ends before what gzip packed does.")
    return b"".join(pieces)
