"""TLS on a port that also speaks plain HTTP: the first byte tells which (RFC 8446, section 5.1: 22 is a handshake)."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable

Tls = Callable[[], ssl.SSLContext | None]
_HANDSHAKE = 22


def no_tls() -> ssl.SSLContext | None:
    """For a server without certificates."""
    return None


def begins(data: bytes) -> bool:
    """Whether a client's first bytes are TLS; no method of HTTP begins so."""
    return data[:1] == bytes([_HANDSHAKE])


def encrypt(
    transport: asyncio.Transport,
    inside: asyncio.Protocol,
    context: ssl.SSLContext,
    data: bytes,
    seconds: float,
    gone: Callable[[], None],
) -> None:
    """Goes on with TLS on a connection of which something was read already (``loop.start_tls`` would lose that).

    Args:
        inside: begins when the handshake is done.
        data: what was read.
        seconds: that the handshake may take.
        gone: called when the connection is lost.
    """
    loop = asyncio.get_running_loop()
    shaken = loop.create_future()
    shaken.add_done_callback(lambda done: done.cancelled() or done.exception())  # a client's fault is no news
    outer = _Encrypted(loop, inside, context, shaken, True, ssl_handshake_timeout=max(1, round(seconds)))
    outer.gone = gone
    transport.set_protocol(outer)
    outer.connection_made(transport)
    while data:
        room = outer.get_buffer(len(data))
        taken = min(len(room), len(data))
        room[:taken] = data[:taken]
        outer.buffer_updated(taken)
        data = data[taken:]


class _Encrypted(SSLProtocol):
    """asyncio's TLS; tells when the connection is lost, also during the handshake."""

    gone: Callable[[], None]

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.gone()
