"""The program of a job's container: it waits while the fake's server is away, and takes a refusal at once."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from skylift.anyscale_fake.program import description

pytestmark = pytest.mark.unit


class Fake(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/good" else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"entrypoint": "true"}).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_a_job_that_begins_while_the_fake_is_away_waits_for_it() -> None:
    with socket.socket() as held:  # bound, so that nobody else gets the port; not listening, so that it refuses
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        found: list[dict[str, Any]] = []
        asking = threading.Thread(target=lambda: found.append(description(f"http://127.0.0.1:{port}/good", "token")))
        asking.start()
        time.sleep(0.2)
        assert not found
    with HTTPServer(("127.0.0.1", port), Fake) as server:
        server.timeout = 60
        server.handle_request()
        asking.join()
    assert found == [{"entrypoint": "true"}]


def test_a_wrong_key_is_not_asked_for_again() -> None:
    with HTTPServer(("127.0.0.1", 0), Fake) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            description(f"http://127.0.0.1:{server.server_address[1]}/bad", "token")
        answering.join()
