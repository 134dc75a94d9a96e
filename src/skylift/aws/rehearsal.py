"""First use, rehearsed: a template makes each kind of call once, against a socket of its own, so forks need not.

The first call of a client imports, compiles and caches. A container makes only a handful of calls, each of them a
first. Nothing leaves this process, no connection and no thread is left.
"""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from botocore.config import Config

from skylift.aws import models

_KEYS = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "us-east-1"}
_PAGE = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
    b"<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>k</Key>"
    b"<LastModified>2026-11-30T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag><Size>1</Size>"
    b"<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"
)
_SECONDS = 5.0
_ALONE = Config(proxies={}, retries={"total_max_attempts": 1}, connect_timeout=_SECONDS, read_timeout=_SECONDS)


def rehearse() -> None:
    """Reads an object, lists, deletes, writes log events and sends metrics as a container does.

    Raises:
        OSError: there is no loopback network here. BotoCoreError, ClientError: a call did not go as it should.
    """
    session = models.session()
    for service, call in _CALLS:
        with _answers() as url:
            made = session.client(service, endpoint_url=url, config=_ALONE, **_KEYS)
            call(made)
            made.close()
    with _answers() as url, importlib.import_module("httpx").Client(base_url=url, trust_env=False) as web:
        web.patch("/", json={"state": "running"})


def _read(s3: object) -> None:
    s3.get_object(Bucket="b", Key="k")["Body"].read()  # type: ignore[attr-defined]  # boto3's clients have no types


_CALLS: tuple[tuple[str, Callable[..., object]], ...] = (
    ("s3", _read),
    ("s3", lambda s3: s3.list_objects_v2(Bucket="b")),
    ("s3", lambda s3: s3.delete_object(Bucket="b", Key="k")),
    (
        "logs",
        lambda logs: logs.put_log_events(
            logGroupName="g", logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}]
        ),
    ),
    (
        "cloudwatch",
        lambda cloudwatch: cloudwatch.put_metric_data(
            Namespace="n", MetricData=[{"MetricName": "m", "Timestamp": datetime.now(UTC), "Value": 1.0}]
        ),
    ),
)


@contextmanager
def _answers() -> Iterator[str]:
    """The URL of a server that answers one request, with a document that both S3 and others can read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_SECONDS)
        thread = threading.Thread(target=_answer, args=(server,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join()


def _answer(server: socket.socket) -> None:
    with suppress(OSError):
        connection, _ = server.accept()
        with connection:
            connection.settimeout(_SECONDS)
            asked = b""
            while b"\r\n\r\n" not in asked:
                if not (more := connection.recv(65_536)):
                    return
                asked += more
            head, _, body = asked.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(one.partition(b":")[2]) for one in lines if one.startswith(b"content-length:")), 0)
            while len(body) < length and (more := connection.recv(65_536)):
                body += more
            answer = _PAGE if head.startswith(b"GET") else b"{}" if head.startswith((b"POST", b"PATCH")) else b""
            kind = b"application/xml" if answer == _PAGE else b"application/x-amz-json-1.1"
            status = b"200 OK" if answer else b"204 No Content"
            connection.sendall(
                b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (status, kind, len(answer), answer)
            )
