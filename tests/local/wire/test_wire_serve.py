"""The server: loopback only, a clear message when a port is taken, started and stopped from any thread."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from skylift.core.errors import Refused
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer
from skylift.wire.serve import listen, serving, url_of

pytestmark = pytest.mark.local


async def hello(_: Scope, __: Receive, send: Send) -> None:
    await send_answer(send, Answer(200, {}, b"hello"))


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "10.0.0.1", "example.org", "", "8.8.8.8"])
def test_only_loopback_is_served(host: str) -> None:
    with pytest.raises(Refused, match="loopback only"):
        listen(0, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.66.0.7", "localhost"])
def test_any_loopback_address_is_served(host: str) -> None:
    with serving(hello, host=host) as url:
        assert url.startswith("http://127.")
        assert get(url) == b"hello"
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_the_socket_is_bound_to_loopback_alone() -> None:
    with serving(hello) as url:
        port = int(url.rpartition(":")[2])
        addresses = [
            line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"
        ]
        assert [address for address in addresses if int(address.split(":")[1], 16) == port] == [f"0100007F:{port:04X}"]


def test_connections_send_at_once() -> None:
    """asyncio sets TCP_NODELAY on sockets that name TCP; without it every answer waited 40 ms for the client's ACK."""
    with listen() as listening, socket.create_connection(listening.getsockname()[:2]):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_taken_port_is_refused_with_advice() -> None:
    with listen() as taken:
        port = int(url_of(taken).rpartition(":")[2])
        expected = f"port {port} is in use by another program; choose another with --port"
        with pytest.raises(Refused, match=expected), serving(hello, port=port):
            pass


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(Refused, match="cannot be used"):
        listen(port)


def test_the_same_port_can_be_had_again_at_once() -> None:
    with serving(hello) as url:
        get(url)
    with serving(hello, port=int(url.rpartition(":")[2])) as again:
        assert get(again) == b"hello"


def test_a_free_port_is_the_default() -> None:
    with listen() as one, listen() as other:
        assert url_of(one) != url_of(other)
        assert isinstance(one, socket.socket)
