"""The client of Airflow's REST API against a server that answers as Airflow 3.3 does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.password_sign_in import password_sign_in

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.local


class Airflow(BaseHTTPRequestHandler):
    """A few answers of Airflow 3.3; the first token expires at once."""

    tokens = 0
    seen: list[tuple[str, str, Any]] = []  # noqa: RUF012

    def log_message(self, *words: Any) -> None:
        pass

    def answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        type(self).seen.append((self.command, self.path, body))
        if self.path == "/auth/token":
            if body != {"username": "admin", "password": "right"}:
                return self.answer(401, {"detail": "Invalid credentials"})
            type(self).tokens += 1
            return self.answer(201, {"access_token": f"t{self.tokens}"})
        if self.headers["Authorization"] == "Bearer t1":
            return self.answer(401, {"detail": "expired"})
        if self.path.startswith("/api/v2/dags?"):
            offset = int(self.path.rpartition("=")[2])
            page = [{"dag_id": f"d{n}"} for n in range(offset, min(offset + 100, 150))]
            return self.answer(200, {"dags": page, "total_entries": 150})
        if self.path.endswith("/dagRuns") and self.command == "POST":
            return self.answer(200, {"dag_run_id": body["dag_run_id"]})
        if "taskInstances" in self.path:
            one = {
                "task_id": "a",
                "map_index": 3,
                "state": None,
                "queued_when": "2026-11-20T07:00:00Z",
                "start_date": "2026-11-20T07:00:01.500000Z",
                "duration": None,
                "try_number": 1,
            }
            return self.answer(200, {"task_instances": [one], "total_entries": 1})
        if "slow" in self.path:
            return self.answer(503, {"detail": "starting"})
        return self.answer(404, {"detail": "The Dag with ID `nope` was not found"})

    do_GET = do_POST = do_PATCH = handle_any


@pytest.fixture
def url() -> Iterator[str]:
    Airflow.tokens, Airflow.seen = 0, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Airflow)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_expired_token_is_renewed_and_pages_are_read_to_the_end(url: str) -> None:
    found = AirflowApi(url, password_sign_in(url, "admin", "right")).dags()
    assert len(found) == 150
    assert Airflow.tokens == 2


def test_a_run_is_triggered_with_the_present_as_its_logical_date(url: str) -> None:
    before = datetime.now(UTC)
    assert AirflowApi(url, password_sign_in(url, "admin", "right")).trigger("my dag", "run/1", {"a": 1}) == "run/1"
    method, path, body = Airflow.seen[-1]
    assert (method, path, body["dag_run_id"], body["conf"]) == (
        "POST",
        "/api/v2/dags/my%20dag/dagRuns",
        "run/1",
        {"a": 1},
    )
    assert before <= datetime.fromisoformat(body["logical_date"]) <= datetime.now(UTC)


def test_task_instances_have_their_start_delay(url: str) -> None:
    (line,) = AirflowApi(url, password_sign_in(url, "admin", "right")).task_lines("d", "r")
    assert (line.task_id, line.map_index, line.state, line.start_delay) == ("a", 3, "none", 1.5)


def test_airflows_refusals_keep_their_text(url: str) -> None:
    api = AirflowApi(url, password_sign_in(url, "admin", "right"))
    with pytest.raises(Refused, match="404 The Dag with ID `nope` was not found"):
        api.run_state("nope", "r")
    with pytest.raises(Unavailable, match="503 starting"):
        api.run_state("slow", "r")
    with pytest.raises(Refused, match="Invalid credentials"):
        AirflowApi(url, password_sign_in(url, "admin", "wrong")).dags()


def test_no_server_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        AirflowApi("http://127.0.0.1:9", lambda: "token", timeout=2).dags()
