"""Sends spoilt requests, signed as they are, several at a time; keeps what was answered."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.local.ecs_cloud import OWNER, REGION
from tests.local.fuzz_requests import Wanted

AT_ONCE = 4
SECONDS = 120
"""For one answer; on a busy machine most come in hundredths."""
KEYS = Credentials(OWNER.access_key, OWNER.secret)


@dataclass(frozen=True)
class Sent:
    """A request and its answer; status 0: there was none."""

    wanted: Wanted
    status: int
    body: bytes

    def __str__(self) -> str:
        asked = self.wanted
        return (
            f"{asked.service} {asked.operation}: {self.status} {self.body[:200]!r}\n"
            f"    {asked.method} {asked.target[:300]} {dict(asked.headers)} {asked.body[:600]!r}"
        )


def send_all(url: str, requests: Iterable[Wanted]) -> list[Sent]:
    """Sends them all."""
    waiting, lock, done = iter(requests), threading.Lock(), list[Sent]()

    def work() -> None:
        connection = None
        while True:
            with lock:
                wanted = next(waiting, None)
            if wanted is None:
                return
            connection, sent = _send(url, connection, wanted)
            done.append(sent)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for running in [pool.submit(work) for _ in range(AT_ONCE)]:
            running.result()
    return done


def signed(url: str, wanted: Wanted) -> dict[str, str]:
    """The headers of a request, signed."""
    headers = {name: value for name, value in wanted.headers.items() if value}
    request = AWSRequest(wanted.method, url + wanted.target, headers=headers, data=wanted.body)
    signer = S3SigV4Auth if wanted.signing_name == "s3" else SigV4Auth
    signer(KEYS, wanted.signing_name, REGION).add_auth(request)
    return dict(request.headers.items())


def _send(
    url: str, connection: http.client.HTTPConnection | None, wanted: Wanted
) -> tuple[http.client.HTTPConnection | None, Sent]:
    headers, place = signed(url, wanted), urlsplit(url)
    for again in (True, False):
        if connection is None:
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS)
            again = False
        try:
            connection.request(wanted.method, wanted.target, wanted.body, headers)
            answer = connection.getresponse()
            return connection, Sent(wanted, answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            connection = None
            if not again:
                return None, Sent(wanted, 0, repr(error).encode())
    raise AssertionError


def wrong(sent: Iterable[Sent]) -> Iterator[Sent]:
    """Requests whose answer is not what AWS answers to bad input: none at all, or a status of 500 or more (except "not
    supported", in AWS's form)."""
    for one in sent:
        not_served = one.status == 501 and b"NotImplemented" in one.body
        if (one.status >= 500 and not not_served) or not one.status:
            yield one
