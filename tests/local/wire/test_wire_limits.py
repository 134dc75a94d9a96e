"""Clients that send nothing, too much, or too slowly, over real sockets: they are disconnected, and nobody else
notices."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from tests.local.rest_server import KEY, REGION

from skylift.wire.asgi import Answer, Receive, Scope, Send, read_body, send_answer
from skylift.wire.connections import Limits
from skylift.wire.quiet_log import MOST, Seldom
from skylift.wire.serve import serving

pytestmark = pytest.mark.local
PATIENCE = 120
"""Seconds for what comes in one or two on a machine that is not busy."""
SHORT, LONGER = Limits(head_seconds=1.0, body_seconds=1.0), Limits(head_seconds=4.0, body_seconds=4.0)
POLL = b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n"


async def shell(receive: Receive, send: Send) -> None:
    """Answers what it hears, while it hears it."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (message := await receive())["type"] == "http.request":
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": True})
        if not message.get("more_body"):
            return await send({"type": "http.response.body", "body": b""})
    return None


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """A shell at ``/shell``; else says how long the body was, ``/poll`` after five seconds, ``/refused`` with 403."""
    if scope["path"] == "/shell":
        return await shell(receive, send)
    if scope["path"] == "/poll":
        await asyncio.sleep(5)
    body = await read_body(receive, 1 << 30)
    await send_answer(send, Answer(403 if scope["path"] == "/refused" else 200, {}, str(len(body)).encode()))
    return None


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(app, limits=SHORT) as served:
        yield served


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    """Where a test that must be quick enough can be slow."""
    with serving(app, limits=LONGER) as served:
        yield served


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE) as connection:
        yield connection


def whole(connection: socket.socket) -> bytes:
    """One answer to its end: in chunks, or as long as it says."""
    got = b""
    while True:
        head, found, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if found and (len(body) >= int(length[1]) if length else got.endswith(b"0\r\n\r\n")):
            return got
        piece = connection.recv(65536)
        assert piece, got
        got += piece


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes; empty also when it resets."""
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
    except ConnectionResetError:
        return got
    return got


@pytest.mark.parametrize(
    "said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-A", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"]
)
def test_silence_is_not_waited_for(url: str, said: bytes) -> None:
    with connected(url) as connection:
        connection.sendall(said)
        assert rest(connection) == b""


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-A: ")
        connection.settimeout(0.1)
        deadline = time.monotonic() + PATIENCE
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012 - until the server has closed
            while time.monotonic() < deadline:
                connection.sendall(b"a")
                try:
                    assert connection.recv(10) == b""
                except TimeoutError:
                    continue
        assert time.monotonic() < deadline


def test_who_was_only_refused_is_not_waited_for(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(b"GET /refused HTTP/1.1\r\nHost: x\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 403")


def test_an_answer_may_take_its_time_and_the_next_request_too(patient: str) -> None:
    """Both longer than the limits."""
    with connected(patient) as connection:
        connection.sendall(POLL)
        assert whole(connection).startswith(b"HTTP/1.1 200")
        time.sleep(LONGER.head_seconds + 1)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert whole(connection).startswith(b"HTTP/1.1 200")


def test_an_upload_that_goes_on_may_take_its_time(patient: str) -> None:
    pieces = 18
    with connected(patient) as connection:
        connection.sendall(f"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {pieces * 2048}\r\n\r\n".encode())
        began = time.monotonic()
        for _ in range(pieces):
            connection.sendall(b"x" * 2048)
            time.sleep(0.5)
        assert time.monotonic() - began > 2 * LONGER.body_seconds
        assert connection.recv(65536).endswith(str(pieces * 2048).encode())


def test_an_upload_that_waits_for_us_is_waited_for(patient: str) -> None:
    head = b"PUT /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with connected(patient) as connection:
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_shell_in_which_nothing_is_typed_goes_on(patient: str) -> None:
    with connected(patient) as connection:
        connection.sendall(b"POST /shell HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        said = b""
        while not said.endswith(b"abc\r\n"):
            piece = connection.recv(65536)
            assert piece
            said += piece
        time.sleep(3 * LONGER.body_seconds)
        connection.sendall(b"def")
        assert b"def" in connection.recv(65536)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A: " + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: a\r\n" * 300,
        b"GET / HTTP/1.1\r\n" + b"X-A: a\r\n" * 100_000 + b"\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: a\r\n" * 300 + b"\r\n",
    ],
    ids=lambda head: f"{head[:20]!r} {len(head)}",
)
def test_a_head_too_large_is_refused(url: str, head: bytes) -> None:
    with connected(url) as connection:
        connection.sendall(head)
        assert rest(connection)[:12] in {b"HTTP/1.1 431", b""}


def test_a_head_as_large_as_aws_takes_is_taken(url: str) -> None:
    headers = {f"x-amz-meta-{number}": "a" * 200 for number in range(200)}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
        assert answer.status == 200


def test_three_hundred_silent_sockets_stop_nobody_where_256_files_may_be_open(tmp_path: Path) -> None:
    command = f"ulimit -n 256; exec {sys.executable} -m tests.local.rest_server {tmp_path / 'home'} 0 none"
    root, log = Path(__file__).parents[3], tmp_path / "log"
    with log.open("w") as errors, ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(["/bin/sh", "-c", command], cwd=root, stdout=subprocess.PIPE, stderr=errors, text=True)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        s3 = boto3.client(
            "s3",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=KEY.access_key,
            aws_secret_access_key=KEY.secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=PATIENCE),
        )
        s3.create_bucket(Bucket="bucket")
        silent = [stack.enter_context(connected(url)) for _ in range(300)]
        for number in range(20):
            s3.put_object(Bucket="bucket", Key=str(number), Body=b"x")
            with connected(url) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert rest(connection).startswith(b"HTTP/1.1 403")
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 200
        assert len(silent) == 300
    assert log.stat().st_size < 20_000


def test_the_same_message_is_written_seldom() -> None:
    seldom = Seldom()

    def written(text: str, *words: object) -> bool:
        return seldom.filter(logging.LogRecord("asyncio", logging.ERROR, "", 0, text, words, None))

    assert sum(written("socket.accept() out of system resource") for _ in range(1000)) == MOST
    assert sum(written("request %s failed", number) for number in range(1000)) == MOST
    assert written("another")
