"""CloudWatch Logs alone: our server and moto's, each a process, measured from outside.

CPU of PutLogEvents with 1,000 events; FilterLogEvents over a million events; the server's memory after a gigabyte. Used
by ``localcloud.py``. The client of PutLogEvents is a raw socket: boto3 itself would be what is measured.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from localcloud_ecs import KEY, MOTO, REGION, SECRET, Served, other, ours

GROUP, STREAM = "/bench", "s"
CALLS = 100
MILLION, GIGABYTE = 1_000_000, 1_000_000_000
RARE = 100_000
"""One event in so many has the literal."""


def logging(folder: Path) -> dict[str, dict[str, float]]:
    """All figures."""
    with other([*MOTO, "-p", "{port}"]) as served:
        moto = {"put_1000_cpu_ms": put_cpu(served)}
    with ours(folder / "logs") as served:
        found = {"put_1000_cpu_ms": put_cpu(served)}
        before = served.rss()
        fill(served, "/million", MILLION)
        found |= searched(served)
        found["memory_after_gigabyte"] = filled_memory(served) / before
    return {"skylift": found, "moto": moto}


def put_cpu(served: Served) -> float:
    """Milliseconds of the server's CPU for each call with 1,000 events of 100 bytes."""
    create(served, GROUP)
    sender, request = Sender(served.port), signed(served.url, GROUP, events(0, 1_000))
    for _ in range(5):
        sender.ask(request)
    before = cpu(served)
    for _ in range(CALLS):
        sender.ask(request)
    return (cpu(served) - before) / CALLS * 1000


def cpu(served: Served) -> float:
    """Seconds of CPU of the server, which may be the child of what started it."""
    process = psutil.Process(served.process.pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def searched(served: Served) -> dict[str, float]:
    """Seconds of FilterLogEvents, all pages."""
    found = {}
    for name, pattern, hits in (
        ("filter_literal_seconds", "needle", MILLION // RARE),
        ("filter_json_seconds", "{ $.took > 998 && $.level = ERROR }", None),
    ):
        begun = time.monotonic()
        pages = (
            served.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName="/million", filterPattern=pattern)
        )
        count = sum(len(page["events"]) for page in pages)
        found[name] = time.monotonic() - begun
        assert count == hits if hits is not None else count > 0, f"{pattern}: {count}"
    return found


def filled_memory(served: Served) -> float:
    """The server's memory after a gigabyte."""
    create(served, "/gigabyte")
    at, text = int(time.time() * 1000), "x" * 1_000
    many = [{"timestamp": at, "message": text} for _ in range(1_000)]
    sender, request = Sender(served.port), signed(served.url, "/gigabyte", many)
    for _ in range(GIGABYTE // 1_000_000):
        sender.ask(request)
    return float(served.rss())


def create(served: Served, group: str) -> None:
    logs = served.client("logs")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=STREAM)


def fill(served: Served, group: str, count: int) -> None:
    create(served, group)
    sender = Sender(served.port)
    for begin in range(0, count, 2_000):
        sender.ask(signed(served.url, group, events(begin, 2_000)))


def events(begin: int, count: int) -> list[dict[str, Any]]:
    """JSON lines of about 100 bytes."""
    at = int(time.time() * 1000) - 3_600_000
    return [{"timestamp": at + number, "message": message(number)} for number in range(begin, begin + count)]


def message(number: int) -> str:
    word = "needle" if number % RARE == 0 else "hay"
    level = "ERROR" if number % 50 == 49 else "INFO"
    return json.dumps({"level": level, "took": number % 1_000, "request": f"{number:012d}", "path": f"/a/b/{word}/c"})


class Sender:
    """Sends requests, on one connection as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = socket.create_connection(("127.0.0.1", port), 60)

    def ask(self, request: bytes) -> None:
        """Sends one and reads its answer, which must be 200."""
        self._connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0], received
        length = int(next(_values(head, b"content-length"), b"0"))
        while len(body) < length:
            body += self._more()
        if next(_values(head, b"connection"), b"").lower() == b"close":
            self._connection.close()
            self._connection = socket.create_connection(("127.0.0.1", self._port), 60)

    def _more(self) -> bytes:
        found = self._connection.recv(65536)
        assert found, "the server closed the connection"
        return found


def _values(head: bytes, name: bytes) -> Iterator[bytes]:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            yield value.strip()


def signed(url: str, group: str, batch: list[dict[str, Any]]) -> bytes:
    """The bytes of a PutLogEvents request."""
    payload = json.dumps({"logGroupName": group, "logStreamName": STREAM, "logEvents": batch}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.PutLogEvents"}
    request = AWSRequest("POST", url + "/", headers=headers, data=payload)
    SigV4Auth(Credentials(KEY, SECRET), "logs", REGION).add_auth(request)
    lines = [
        f"POST / HTTP/1.1\r\nHost: {url.removeprefix('http://')}",
        *(f"{name}: {value}" for name, value in request.headers.items()),
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(payload)}", "Connection: keep-alive", "", ""]).encode() + payload
