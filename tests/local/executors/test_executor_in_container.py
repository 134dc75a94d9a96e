"""The container's command against Airflow's real execution API: what each exit code means."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.local.executor_api import ExecutionApi

from skylift.core.attempt import Exit
from skylift.executors.in_container import programs

pytestmark = pytest.mark.local


def ended(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str]:
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def until_state(api: ExecutionApi, task_id: str, state: str) -> None:
    until(lambda: api.state(task_id) == state)


@pytest.mark.parametrize(
    ("task_id", "code", "state"),
    [
        ("good", Exit.DONE, "success"),
        ("bad", Exit.DONE, "failed"),
        ("killed", 128 + signal.SIGKILL, "failed"),
        ("leaves", 3, "failed"),
        ("again", Exit.DONE, "up_for_reschedule"),
    ],
)
def test_what_airflow_was_told_is_not_told_again(api: ExecutionApi, task_id: str, code: int, state: str) -> None:
    got, output = ended(api.start(task_id))
    assert got == code, output
    assert api.state(task_id) == state


def test_a_task_instance_that_nobody_wants_any_more_is_not_run(api: ExecutionApi) -> None:
    api.set_state("unwanted", "failed")
    code, output = ended(api.start("unwanted"))
    assert code == Exit.NOT_OURS, output
    assert "must not run" not in output


def test_a_cleared_task_instance_ends_on_airflows_word(api: ExecutionApi) -> None:
    process = api.start("cleared")
    until_state(api, "cleared", "running")
    api.set_state("cleared", "restarting")
    code, output = ended(process)
    assert code == Exit.ENDED_BADLY, output


@pytest.mark.parametrize(
    ("task_id", "state"), [("asleep", "failed"), ("graceful", "failed"), ("graceful_again", "up_for_retry")]
)
def test_a_stop_that_airflow_did_not_ask_for_is_a_failure(api: ExecutionApi, task_id: str, state: str) -> None:
    """Also where ``on_kill`` makes ``execute`` return, and in a sleep. ``dumb-init`` signals the process group."""
    process = api.start(task_id)
    until((api.home / "dags" / f"{task_id}.began").exists)
    os.killpg(process.pid, signal.SIGTERM)
    code, output = ended(process)
    assert code == Exit.STOPPED_OUTSIDE, output
    assert api.state(task_id) == state
    assert "The container was told to stop" in output
    killed = api.home / "dags" / f"{task_id}.killed"
    assert not killed.exists() or killed.read_text() == "once "


def test_a_stop_that_airflow_asks_for_is_as_airflow_has_it(api: ExecutionApi) -> None:
    process = api.start("graceful_cleared")
    until((api.home / "dags" / "graceful_cleared.began").exists)
    api.set_state("graceful_cleared", "restarting")
    code, output = ended(process)
    assert code == Exit.ENDED_BADLY, output
    assert api.state("graceful_cleared") == "restarting"
    assert (api.home / "dags" / "graceful_cleared.killed").exists()
    assert "The container was told to stop" not in output


EXECUTORS = "elsewhere.First,batch:skylift.executors.batch.AwsBatchExecutor"


@pytest.mark.parametrize("named", ["batch", "AwsBatchExecutor", "skylift.executors.batch.AwsBatchExecutor"])
def test_a_dag_file_that_names_an_executor_of_the_scheduler_is_parsed(api: ExecutionApi, named: str) -> None:
    api.set_state("unwanted", "queued")
    file = api.home / "dags" / "d.py"
    text = file.read_text()
    file.write_text(text.replace("@task\n    def unwanted", f"@task(executor={named!r})\n    def unwanted"))
    try:
        code, output = ended(api.start("unwanted", words=programs.inline(EXECUTORS, api.workloads["unwanted"])[0]))
    finally:
        file.write_text(text)
    assert code == Exit.DONE, output
    assert api.state("unwanted") == "success", output


def test_an_image_without_skylift_may_say_which_executor_the_scheduler_has(api: ExecutionApi) -> None:
    """Schedulers and workers often share their settings; in the worker's image the executor's class is not
    installed."""
    api.set_state("unwanted", "queued")
    code, output = ended(api.start("unwanted", AIRFLOW__CORE__EXECUTOR="installed.elsewhere.Executor"))
    assert code == Exit.DONE, output
    assert api.state("unwanted") == "success"


@pytest.mark.parametrize("name", ["told", "untold"])
def test_a_callback_of_the_dag_bundle_runs_and_its_end_is_told(api: ExecutionApi, name: str) -> None:
    if name not in api.workloads:
        pytest.skip("Airflow 3.1 gives executors no callbacks")
    mark = api.home / "workloads.json.told"
    mark.unlink(missing_ok=True)
    code, output = ended(api.start(name))
    assert (code == Exit.DONE) is (name == "told"), output
    assert mark.exists() is (name == "told"), output


@pytest.mark.parametrize("inline", ["", "{"])
def test_what_cannot_read_its_workload_never_began(api: ExecutionApi, inline: str) -> None:
    code, output = ended(api.start("late", inline=inline))
    assert code == Exit.NEVER_BEGAN, output


@contextmanager
def listener(kind: str, home: Path) -> Iterator[int]:
    """A port: ``closed``; ``busy``, as a proxy without anything behind it; or one that speaks ``tls``."""
    if kind == "closed":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield port
        return
    server = HTTPServer(("127.0.0.1", 0), Busy)
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(home))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class Busy(BaseHTTPRequestHandler):
    def do_PATCH(self) -> None:
        self.send_error(503)

    def log_message(self, format: str, *args: object) -> None: ...


def self_signed(home: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = home / "tls.pem"
    file.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return file


@pytest.mark.parametrize(
    ("kind", "url", "code", "says"),
    [
        ("closed", "http://127.0.0.1:{port}/execution/", Exit.UNREACHABLE, "Connection refused"),
        ("closed", "http://nowhere.invalid:{port}/execution/", Exit.UNREACHABLE, "nowhere.invalid"),
        ("busy", "http://127.0.0.1:{port}/execution/", Exit.UNREACHABLE, "answered 503"),
        ("tls", "http://127.0.0.1:{port}/execution/", Exit.IS_TLS, "ConnectionError|Protocol|ReadError"),
        ("tls", "https://127.0.0.1:{port}/execution/", Exit.NOT_TRUSTED, "CERTIFICATE_VERIFY_FAILED"),
        ("busy", "https://127.0.0.1:{port}/execution/", Exit.NOT_TLS, "SSL"),
    ],
)
def test_an_api_that_cannot_be_used_is_told_by_code_and_line(
    api: ExecutionApi, kind: str, url: str, code: int, says: str
) -> None:
    with listener(kind, api.home) as port:
        url = url.format(port=port)
        got, output = ended(api.start("late", AIRFLOW__CORE__EXECUTION_API_SERVER_URL=url))
    assert got == code, output
    line = next(one for one in output.splitlines() if one.startswith("Airflow's API does not start"))
    assert f"PATCH {url}task-instances/" in line
    assert re.search(says, line), line


def test_a_url_without_execution_is_told_by_code_and_line(api: ExecutionApi) -> None:
    url = api.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].removesuffix("execution/")
    code, output = ended(api.start("late", AIRFLOW__CORE__EXECUTION_API_SERVER_URL=url))
    assert code == Exit.NO_EXECUTION_API, output
    assert f"PATCH {url}task-instances/" in output
    assert "answered 404" in output


def test_a_forged_token_is_told_by_its_code(api: ExecutionApi) -> None:
    workload = json.loads(api.workloads["late"]) | {"token": "forged"}
    code, output = ended(api.start("late", inline=json.dumps(workload)))
    assert code == Exit.NO_ACCESS, output


@pytest.mark.parametrize(("form", "code"), [(1, 0), (2, 0)])
def test_the_shorter_commands_run_their_workload(api: ExecutionApi, form: int, code: int) -> None:
    api.set_state("unwanted", "queued")
    got, output = ended(api.start("unwanted", words=programs.inline("a.B", api.workloads["unwanted"])[form]))
    assert got == code, output
    assert api.state("unwanted") == "success"


def test_the_short_program_takes_a_stop_from_outside_for_a_failure(api: ExecutionApi) -> None:
    api.set_state("asleep", "queued")
    (api.home / "dags" / "asleep.began").unlink(missing_ok=True)
    process = api.start("asleep", words=programs.inline("a.B", api.workloads["asleep"])[1])
    until((api.home / "dags" / "asleep.began").exists)
    process.send_signal(signal.SIGTERM)
    _, output = ended(process)
    assert api.state("asleep") == "failed"
    assert "The container was told to stop" in output


class Bucket(BaseHTTPRequestHandler):
    """Serves one object as S3 would, and deletes it when it may."""

    body = b""
    deletes = 204
    deleted: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/bucket/w.json" else 404, self.body)

    def do_DELETE(self) -> None:
        self.deleted.append(self.path)
        self.answer(self.deletes, b"" if self.deletes == 204 else b"<Error><Code>AccessDenied</Code></Error>")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.parametrize("deletes", [204, 403])
def test_the_workload_comes_by_reference_and_is_deleted_once_fetched(api: ExecutionApi, deletes: int) -> None:
    api.set_state("unwanted", "queued")
    program = programs.program("")
    Bucket.body, Bucket.deletes = program + api.workloads["unwanted"].encode(), deletes
    Bucket.deleted.clear()
    server = HTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        process = api.start(
            "unwanted",
            words=programs.fetching(len(program)),
            SKYLIFT_WORKLOAD="s3://bucket/w.json",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}",
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",
            AWS_REGION="us-east-1",
        )
        code, output = ended(process)
    finally:
        server.shutdown()
        server.server_close()
    assert code == Exit.DONE, output
    assert api.state("unwanted") == "success"
    assert Bucket.deleted == ["/bucket/w.json"]
    assert ("stays, with its token" in output) is (deletes == 403), output
