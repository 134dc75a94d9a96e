"""The client of a session in a container: sends what is typed, shows what comes back (protocol:
``localcloud.ecs.sessions``).

It is one HTTP request that sends and receives at the same time. No HTTP client of the standard library can do that, so
this uses a socket and encodes HTTP's chunks itself.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from skylift.core.errors import Refused, Unavailable

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def talk(stream_url: str, token: str) -> int:
    """Connects this process's standard streams to a session.

    If both ends are a terminal, the session gets a terminal too; otherwise input, output and errors stay separate and
    unchanged.

    Returns:
        The exit code of the command.

    Raises:
        Refused: the session is gone.
        Unavailable: the server went away.
    """
    terminal = os.isatty(_STDIN) and os.isatty(_STDOUT)
    with _connected(stream_url, token, terminal) as link, _raw(terminal):
        return _pump(link, terminal)


@dataclass
class _Link:
    """The connection, and the received part of the next frame."""

    socket: socket.socket
    chunks: bytearray = field(default_factory=bytearray)
    frames: bytearray = field(default_factory=bytearray)

    def send(self, kind: str, data: bytes) -> None:
        frame = kind.encode() + len(data).to_bytes(4, "big") + data
        self.socket.sendall(f"{len(frame):x}\r\n".encode() + frame + b"\r\n")

    def received(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """The complete frames."""
        self.chunks += data
        while (end := self.chunks.find(b"\r\n")) >= 0:
            size = int(self.chunks[:end], 16)
            if len(self.chunks) < end + 2 + size + 2:
                break
            self.frames += self.chunks[end + 2 : end + 2 + size]
            del self.chunks[: end + 2 + size + 2]
        while len(self.frames) >= 5:
            size = int.from_bytes(self.frames[1:5], "big")
            if len(self.frames) < 5 + size:
                break
            kind, body = chr(self.frames[0]), bytes(self.frames[5 : 5 + size])
            del self.frames[: 5 + size]
            yield kind, body


@contextlib.contextmanager
def _connected(stream_url: str, token: str, terminal: bool) -> Iterator[_Link]:
    url = urlsplit(stream_url)
    assert url.hostname is not None
    try:
        connection = socket.create_connection((url.hostname, url.port or 80), timeout=30)
    except OSError as error:
        raise Unavailable(f"no answer from {url.netloc}: {error}") from error
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"POST {url.path}?terminal={int(terminal)} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: {token}\r\n"
            "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        link = _Link(connection)
        _read_head(link)
        connection.settimeout(None)
        yield link


def _read_head(link: _Link) -> None:
    received = bytearray()
    while b"\r\n\r\n" not in received:
        data = link.socket.recv(65536)
        if not data:
            raise Unavailable("the server closed the connection")
        received += data
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise Refused("the session is gone: it is for one connection, within ten minutes")
    link.chunks += rest


@contextlib.contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """Every key goes to the other side, also Ctrl-C."""
    if not terminal:
        yield
        return
    before = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


def _pump(link: _Link, terminal: bool) -> int:
    with _resizing(link, terminal), selectors.DefaultSelector() as selector:
        selector.register(link.socket, selectors.EVENT_READ)
        with contextlib.suppress(PermissionError):  # a plain file is always ready, and epoll refuses it
            selector.register(_STDIN, selectors.EVENT_READ)
        if _STDIN not in selector.get_map():
            _send_file(link)
        data = b""
        while True:
            for kind, body in link.received(data):
                if kind == "x":
                    return int(body)
                _write(_STDERR if kind == "r" else _STDOUT, body)
            data = b""
            for key, _ in selector.select():
                if key.fileobj == _STDIN:
                    typed = os.read(_STDIN, 65536)
                    link.send("i" if typed else "e", typed)
                    if not typed:
                        selector.unregister(_STDIN)
                else:
                    data = link.socket.recv(65536)
                    if not data:
                        raise Unavailable("the server closed the connection")


def _send_file(link: _Link) -> None:
    while typed := os.read(_STDIN, 65536):
        link.send("i", typed)
    link.send("e", b"")


@contextlib.contextmanager
def _resizing(link: _Link, terminal: bool) -> Iterator[None]:
    if not terminal:
        yield
        return

    def tell(*_: object) -> None:
        size = shutil.get_terminal_size()
        link.send("w", f"{size.lines} {size.columns}".encode())

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        tell()
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _write(descriptor: int, data: bytes) -> None:
    sys.stdout.flush()
    while data:
        data = data[os.write(descriptor, data) :]
