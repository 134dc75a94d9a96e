"""AWS clients created before a fork: each is used once, for its own endpoint, with the container's credentials."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from skylift.aws import clients, ready
from skylift.aws.metrics import CloudWatch

pytestmark = pytest.mark.local


class Credentials(BaseHTTPRequestHandler):
    """A container's endpoint of credentials."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        document = {
            "AccessKeyId": "of",
            "SecretAccessKey": "the",
            "Token": "container",
            "Expiration": "2099-01-01T00:00:00Z",
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    Credentials.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Credentials)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/credentials"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    clients.preload("s3", "logs", "s3", brief=["cloudwatch"])
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint)
    yield
    clients.forget()


def test_each_is_handed_out_once() -> None:
    waiting = list(ready._waiting["s3", ready.USUAL])
    taken = [clients.client("s3"), clients.client("s3", region="eu-west-3"), clients.client("s3")]
    assert taken[:2] == waiting[::-1]
    assert taken[2] not in waiting
    assert {(one.meta.endpoint_url, one.meta.region_name) for one in taken} == {("http://127.0.0.1:9", "eu-west-3")}
    assert all(one.meta.config.retries == taken[2].meta.config.retries for one in taken)


def test_metrics_take_the_one_that_waits_for_nobody() -> None:
    (waiting,) = ready._waiting["cloudwatch", ready.BRIEF]
    assert ready.take("cloudwatch", None) is None, "one that is more patient"
    assert CloudWatch()._client is waiting
    assert waiting.meta.config.retries["total_max_attempts"] == 1
    assert CloudWatch()._client is not waiting


def test_their_credentials_are_the_containers_and_are_fetched_when_a_call_needs_them() -> None:
    made = clients.client("logs")
    assert Credentials.asked == []
    assert made._request_signer._credentials.get_frozen_credentials() == ("of", "the", "container", None)
    assert clients.client("s3")._request_signer._credentials.token == "container"
    assert Credentials.asked == ["/credentials"], "one fetch for all"


def test_a_fork_does_not_wait_for_what_a_thread_of_its_parent_held() -> None:
    made = clients.client("logs")
    with made._request_signer._credentials._refresh_lock:
        pid = os.fork()
        if pid == 0:
            os._exit(7 if made._request_signer._credentials._refresh_lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:10"),
        ("AWS_ACCESS_KEY_ID", "AKIAOTHER"),
        ("AWS_CA_BUNDLE", "/other.pem"),
        ("HTTP_PROXY", "http://proxy"),
    ],
)
def test_not_in_another_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert ready.take("s3", None) is None


def test_not_in_another_region_nor_without_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ready.take("s3", "us-east-1") is None
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert ready.take("s3", None) is None
