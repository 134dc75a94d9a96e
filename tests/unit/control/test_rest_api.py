"""InvokeRestApi against a server that answers as an environment's API server does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.unit.control.test_tokens import OneSecret

from skylift.control.api.rest_api import RestApi, Visitor
from skylift.control.api.tokens import TokenSigner
from skylift.core.roles import Role
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit


class ApiServer(BaseHTTPRequestHandler):
    """Signs everybody in; forgets its sessions when told so."""

    calls: list[tuple[str, str, Any]] = []  # noqa: RUF012
    sessions = 0
    forgotten = 0
    login_status = 200

    def log_message(self, *words: Any) -> None:
        pass

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mine = type(self)
        if self.path == "/aws_mwaa/login":
            assert parse_qs(body.decode())["token"][0].count(".") == 2
            mine.sessions += 1
            said = json.dumps({"message": "signed out of luck"}).encode()
            cookie = f"_token=s{mine.sessions}; HttpOnly; Path=/"
            return self.answer(mine.login_status, said, **({"Set_Cookie": cookie} if mine.login_status == 200 else {}))
        number = int(self.headers["Authorization"].removeprefix("Bearer s"))
        mine.calls.append((self.command, self.path, json.loads(body) if body else None))
        if number <= mine.forgotten:
            return self.answer(401, b'{"detail": "Token Expired"}')
        if self.path.endswith("/forbidden"):
            return self.answer(403, b'{"detail": "Forbidden"}')
        if self.path.endswith("/broken"):
            return self.answer(500, b"oh no")
        if self.command == "DELETE":
            return self.answer(204, b"")
        return self.answer(200, b'{"dags": [' + b"1," * 4_000_000 + b"1]}" if "large" in self.path else b'{"a": 1}')

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


class Caller:
    """A caller of InvokeRestApi whose policies allow the role User."""

    def __init__(self, address: str) -> None:
        secret = OneSecret()
        signer = TokenSigner(secret, lambda: 1_800_000_000.0)  # type: ignore[arg-type]
        signer.make_key()
        self.api = RestApi(signer)
        self.visitor = Visitor("flight", address, "user/anna", Role.USER)

    def call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        return self.api.call(self.visitor, {"Method": method, "Path": path, **more})

    def error(self, method: str, path: str) -> AwsError:
        with pytest.raises(AwsError) as caught:
            self.call(method, path)
        return caught.value


@pytest.fixture
def caller() -> Iterator[Caller]:
    ApiServer.calls, ApiServer.sessions, ApiServer.forgotten, ApiServer.login_status = [], 0, 0, 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Caller(f"127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_airflows_answer_is_passed_on(caller: Caller) -> None:
    assert caller.call(
        "GET", "/dags", QueryParameters={"limit": 3, "tags": ["a", "b c"], "paused": True, "x": None}
    ) == {
        "RestApiStatusCode": 200,
        "RestApiResponse": {"a": 1},
    }
    assert caller.call("DELETE", "/dags/x", Body={}) == {"RestApiStatusCode": 204, "RestApiResponse": {}}
    caller.call("POST", "/dags/a b/dagRuns", Body={"conf": {}})
    caller.call("PATCH", "/dags/a%20b")
    assert ApiServer.calls == [
        ("GET", "/api/v2/dags?limit=3&tags=a&tags=b+c&paused=true", None),
        ("DELETE", "/api/v2/dags/x", None),
        ("POST", "/api/v2/dags/a%20b/dagRuns", {"conf": {}}),
        ("PATCH", "/api/v2/dags/a%20b", None),
    ]
    assert ApiServer.sessions == 1, "one sign-in for all"


def test_paths_and_answers_may_be_longer_than_on_mwaa(caller: Caller) -> None:
    path = "/dags/" + "d" * 200 + "/large"
    assert len(caller.call("GET", path)["RestApiResponse"]["dags"]) == 4_000_001


def test_a_session_that_has_ended_is_renewed(caller: Caller) -> None:
    caller.call("GET", "/dags")
    ApiServer.forgotten = 1
    assert caller.call("GET", "/dags")["RestApiStatusCode"] == 200
    assert ApiServer.sessions == 2


def test_airflows_refusals_and_failures_are_told_apart(caller: Caller) -> None:
    error = caller.error("POST", "/forbidden")
    assert (error.code, error.members) == (
        "RestApiClientException",
        {"RestApiStatusCode": 403, "RestApiResponse": {"detail": "Forbidden"}},
    )
    error = caller.error("GET", "/broken")
    assert (error.code, error.members["RestApiResponse"]) == ("RestApiServerException", {"detail": "oh no"})


@pytest.mark.parametrize("path", ["dags", "/dags?limit=1", "http://elsewhere/", "/dags#x", "@elsewhere/"])
def test_a_path_is_a_path(caller: Caller, path: str) -> None:
    assert caller.error("GET", path).code == "ValidationException"
    assert ApiServer.calls == []


def test_a_line_break_in_a_path_makes_no_header(caller: Caller) -> None:
    caller.call("GET", "/dags/a\r\nX-Evil: 1")
    assert ApiServer.calls == [("GET", "/api/v2/dags/a%0D%0AX-Evil:%201", None)]


def test_another_sign_in_is_said(caller: Caller) -> None:
    ApiServer.login_status = 403
    error = caller.error("GET", "/dags")
    assert (error.code, error.message) == ("ValidationException", "signed out of luck")


def test_a_web_server_that_is_away_can_be_asked_again(caller: Caller) -> None:
    caller.visitor = Visitor("flight", "127.0.0.1:9", "user/anna", Role.USER)
    assert caller.error("GET", "/dags").status == 500
